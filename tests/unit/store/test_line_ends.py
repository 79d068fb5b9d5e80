"""Line ends of stored mail, however the text is cut into chunks."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from lanpost.store.line_ends import ToDisk, to_wire

TEXT = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b".", b"line"]), max_size=30).map(b"".join)


def cut(text: bytes, points: list[int]) -> list[bytes]:
    places = sorted({0, len(text), *(point % (len(text) + 1) for point in points)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def with_crlf(text: bytes) -> bytes:
    """Every LF that no CR precedes gets one: the slow, obvious way."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", text)


@given(TEXT, st.lists(st.integers(0, 200), max_size=8))
def test_disk_form_does_not_depend_on_the_cuts(text: bytes, points: list[int]) -> None:
    tally = ToDisk()
    stored = b"".join(tally.convert(cut(text, points)))
    assert stored == text.replace(b"\r\n", b"\n")
    assert tally.size_octets == len(stored)
    assert tally.wire_octets == len(with_crlf(stored))


@given(TEXT, st.lists(st.integers(0, 200), max_size=8))
def test_wire_form_does_not_depend_on_the_cuts(text: bytes, points: list[int]) -> None:
    assert b"".join(to_wire(cut(text, points))) == with_crlf(text)


@given(st.lists(st.binary().map(lambda line: re.sub(rb"[\r\n]", b"", line)), max_size=8))
def test_what_came_with_clean_crlf_goes_out_the_same(lines: list[bytes]) -> None:
    text = b"".join(line + b"\r\n" for line in lines)
    assert b"".join(to_wire(ToDisk().convert([text]))) == text


def test_a_converted_chunk_at_most_doubles() -> None:
    (chunk,) = to_wire([b"\n" * 1000])
    assert len(chunk) == 2000
