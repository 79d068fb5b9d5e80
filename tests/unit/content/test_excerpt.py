"""The beginning of a mail, as TOP gives it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.excerpt import header_and_lines

HEADER = b"Subject: x\r\nTo: y\r\n\r\n"


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("lines", "body"),
    [(0, b""), (1, b"one\r\n"), (2, b"one\r\n\r\n"), (3, b"one\r\n\r\nthree"), (9, b"one\r\n\r\nthree")],
)
def test_header_and_so_many_lines(cut: int, lines: int, body: bytes) -> None:
    mail = HEADER + b"one\r\n\r\nthree"
    chunks = [mail[start : start + cut] for start in range(0, len(mail), cut)]
    assert b"".join(header_and_lines(chunks, lines)) == HEADER + body


@given(
    st.lists(st.sampled_from([b"\r\n", b"a", b"bc", b"\r", b"\n"]), max_size=20).map(b"".join),
    st.integers(0, 5),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_the_cuts_do_not_matter(mail: bytes, lines: int, points: list[int]) -> None:
    places = sorted({0, len(mail), *(point % (len(mail) + 1) for point in points)})
    chunks = [mail[start:end] for start, end in pairwise(places)]
    assert b"".join(header_and_lines(chunks, lines)) == b"".join(header_and_lines([mail], lines))


def test_no_more_is_read_than_needed() -> None:
    chunks = iter([HEADER, b"one\r\n", b"two\r\n"])
    assert b"".join(header_and_lines(chunks, 1)) == HEADER + b"one\r\n"
    assert list(chunks) == [b"two\r\n"]


def test_a_mail_without_a_header_and_one_without_a_body() -> None:
    assert b"".join(header_and_lines([b"\r\nbody\r\n"], 0)) == b"\r\n"
    assert b"".join(header_and_lines([b"Subject: x\r\n"], 5)) == b"Subject: x\r\n"
    assert b"".join(header_and_lines([], 5)) == b""
