"""Dot-stuffing of a mail's content in chunks, at the speed of `bytes.replace` (RFC 5321 §4.5.2).

Chunks may be cut anywhere. Only CRLF begins a line. The terminator is no part of either form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BORDER = 2  # octets of a line's beginning, CR LF, that decide about the dot behind them


def unstuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The text that dot-stuffed chunks stand for: the first dot of each line that begins with one is gone."""
    return _replaced(chunks, b"\r\n.", b"\r\n")


def stuffed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A text as SMTP carries it: a dot before each line that begins with one."""
    return _replaced(chunks, b"\r\n.", b"\r\n..")


def _replaced(chunks: Iterable[bytes], old: bytes, new: bytes) -> Iterator[bytes]:
    held = b"\r\n"  # the text's beginning is a line's beginning; these two octets are not given out
    virtual = _BORDER
    for chunk in chunks:
        if not chunk:
            continue
        data = held + chunk
        if data.endswith(b"\r\n"):
            end = len(data) - 2
        elif data.endswith(b"\r"):
            end = len(data) - 1
        else:
            end = len(data)
        held = data[end:]
        # Replaced before the virtual CRLF is cut off: it may be what makes a dot the first of its line.
        ready = data[:end].replace(old, new)[virtual:]
        if end >= virtual:
            virtual = 0
        if ready:
            yield ready
    if held[virtual:]:
        yield held[virtual:]
