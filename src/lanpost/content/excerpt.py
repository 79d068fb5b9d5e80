"""The beginning of a mail: its header and some lines of its body, in chunks cut anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain


def header_and_lines(chunks: Iterable[bytes], lines: int) -> Iterator[bytes]:
    """The header, the empty line behind it and `lines` lines of the body; less where the mail has no more.

    `chunks` has CRLF line ends; no more of it is read than needed.
    """
    source = iter(chunks)
    tail = b"\r\n"  # what was given out last; a mail that begins with an empty line has no header
    for chunk in source:
        window = tail + chunk
        blank = window.find(b"\r\n\r\n")
        if blank >= 0:
            end = blank + 4 - len(tail)
            yield chunk[:end]
            yield from _first_lines(chain((chunk[end:],), source), lines)
            return
        yield chunk
        tail = window[-3:]


def _first_lines(chunks: Iterable[bytes], lines: int) -> Iterator[bytes]:
    if lines == 0:
        return
    for chunk in chunks:
        here = chunk.count(b"\n")
        if here < lines:
            lines -= here
            yield chunk
            continue
        end = -1
        for _ in range(lines):
            end = chunk.find(b"\n", end + 1)
        yield chunk[: end + 1]
        return
