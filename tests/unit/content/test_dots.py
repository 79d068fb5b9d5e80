"""Dot-stuffing: what goes in comes out, however the chunks are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.dots import stuffed, unstuffed

TEXTS = st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"..", b"\r\n."]), max_size=30).map(b"".join)


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(edges)]


def by_lines(text: bytes, *, stuff: bool) -> bytes:
    """The same, the slow and obvious way."""
    lines = text.split(b"\r\n")
    return b"\r\n".join((b"." + line if stuff else line[1:]) if line.startswith(b".") else line for line in lines)


@given(TEXTS, st.lists(st.integers(0, 100)))
def test_stuffing_does_not_depend_on_the_cuts(text: bytes, places: list[int]) -> None:
    assert b"".join(stuffed(cut(text, places))) == by_lines(text, stuff=True)


@given(TEXTS, st.lists(st.integers(0, 100)))
def test_unstuffing_does_not_depend_on_the_cuts(text: bytes, places: list[int]) -> None:
    assert b"".join(unstuffed(cut(text, places))) == by_lines(text, stuff=False)


@given(TEXTS, st.lists(st.integers(0, 100)), st.lists(st.integers(0, 200)))
def test_unstuffing_undoes_stuffing(text: bytes, places: list[int], other: list[int]) -> None:
    there = b"".join(stuffed(cut(text, places)))
    assert b"".join(unstuffed(cut(there, other))) == text
    assert b"\r\n.\r\n" not in b"\r\n" + there + b"\r\n"
