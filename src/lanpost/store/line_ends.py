"""Line ends of stored mail: LF on disk as Maildir programs expect, CRLF on the wire; at C speed, in chunks.

A CR that stands before CRLF is kept as CRLF on disk and goes out as CRLF: the wire never gains a line by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class ToDisk:
    """Turns CRLF into LF and counts, so that both sizes are known at the end without a second look."""

    __slots__ = ("_ends_in_cr", "size_octets", "wire_octets")

    def __init__(self) -> None:
        self.size_octets = 0  # given out so far
        self.wire_octets = 0  # what they will be with CRLF line ends
        self._ends_in_cr = False

    def convert(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same text with LF line ends; chunks as they came, less what the CRs took."""
        held = b""
        for chunk in chunks:
            data = held + chunk
            held = b"\r" if data.endswith(b"\r") else b""
            yield self._counted((data[:-1] if held else data).replace(b"\r\n", b"\n"))
        if held:
            yield self._counted(held)

    def _counted(self, data: bytes) -> bytes:
        bare = data.count(b"\n") - data.count(b"\r\n") - (self._ends_in_cr and data.startswith(b"\n"))
        self.size_octets += len(data)
        self.wire_octets += len(data) + bare
        if data:
            self._ends_in_cr = data.endswith(b"\r")
        return data


def to_wire(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text with every LF preceded by a CR; what already is CRLF stays."""
    held = b""
    for chunk in chunks:
        data = held + chunk
        held = b"\r" if data.endswith(b"\r") else b""
        if held:
            data = data[:-1]
        if b"\r\n" in data:
            data = data.replace(b"\r\n", b"\n")
        if data:
            yield data.replace(b"\n", b"\r\n")
    if held:
        yield held
