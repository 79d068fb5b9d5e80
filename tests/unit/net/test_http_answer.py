"""What is read as an HTTP answer, and what is not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanpost.net.http_answer import HttpAnswer, NoHttpAnswer, read_answer

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("received", "answer"),
    [
        (OK + b"\r\n", HttpAnswer(200, {}, b"")),
        (OK + b"\r\nto the end", HttpAnswer(200, {}, b"to the end")),
        (OK + b"Content-Length:  2 \r\n\r\nabc", HttpAnswer(200, {"content-length": "2"}, b"ab")),
        (b"HTTP/1.0 503\r\nRetry-After: 7\r\n\r\n", HttpAnswer(503, {"retry-after": "7"}, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\nx", HttpAnswer(204, {}, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\nx", HttpAnswer(200, {}, b"x")),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA;name=value\r\n0123456789\r\n0\r\n\r\n",
            HttpAnswer(200, {"transfer-encoding": "chunked"}, b"ab0123456789"),
        ),
    ],
)
def test_answers_are_read_however_their_end_is_told(received: bytes, answer: HttpAnswer) -> None:
    assert read_answer(received) == answer


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"220 hello\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        OK,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"Content-Length: 3\r\n\r\nab",
        OK + b"Content-Length: -1\r\n\r\nab",
        OK + "Content-Length: ²\r\n\r\nab".encode("latin-1"),
        OK + b"Content-Length: 99999999999999999999\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_is_cut_short_or_something_else_is_no_answer(received: bytes) -> None:
    with pytest.raises(NoHttpAnswer):
        read_answer(received)


@given(st.binary(max_size=200), st.integers(0, 3))
@example(b"1\r\nx", 2)
def test_no_octets_however_odd_do_more_than_make_no_answer(octets: bytes, begun: int) -> None:
    heads = [b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n", OK + b"Content-Length: 1\r\n"]
    with contextlib.suppress(NoHttpAnswer):
        assert len(read_answer(heads[begun] + octets).content) <= 200
