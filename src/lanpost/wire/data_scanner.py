"""Finds the end of a mail's content, and the tricks by which one mail could pass for two.

Never line by line: only `find`, `count` and `replace` over whole chunks. Whatever it gives out is in one form,
CRLF lines, dot-stuffed, without the terminator, whether it came by DATA or by BDAT. Never raises.
"""

from __future__ import annotations

END_OF_DATA = b"\r\n.\r\n"  # and nothing else (RFC 5321 §4.1.1.4)

FEW_DOTS = 64  # looked at one by one, at the speed of memchr; where there are more, whole patterns are searched for

# What a chunk may end with and only the next one can tell the meaning of; longest first.
_OPEN_ENDS_DATA = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r", b"\n")
_OPEN_ENDS_BDAT = (b"\r\n", b"\r", b"\n")


class DataScanner:
    """One mail's content, from behind DATA (or the first BDAT) on.

    `smuggles` becomes true when the content holds a bare CR or LF beside a dot, where a lax endpoint could see the
    end of the mail (CVE-2023-51764). `size` is the octets so far as RFC 1870 §5 counts them, stuffed dots left out.
    `end` is, after `feed`, where in its data the mail ended; -1 while it goes on.
    """

    __slots__ = ("_held", "_skip", "end", "size", "smuggles")

    def __init__(self) -> None:
        self._held = b"\r\n"  # DATA's own line end counts for a dot that comes first (RFC 5321 §4.1.1.4) ...
        self._skip = 2  # ... and is no part of the content
        self.size = 0
        self.smuggles = False
        self.end = -1

    def feed(self, data: bytes, at: int = 0) -> bytes:
        """What of `data` from `at` on is surely content, as sent by DATA."""
        held = self._held
        joined = held + data[at:]
        found = joined.find(END_OF_DATA) if b"." in joined else -1
        if found >= 0:
            stop = found + 2
            self.end = at + found + len(END_OF_DATA) - len(held)
        else:
            stop = len(joined) - _open_end(joined, _OPEN_ENDS_DATA)
            self._held = joined[stop:]
        return self._checked(joined, stop)

    def feed_chunk(self, data: bytes) -> bytes:
        """The same for a piece of a BDAT chunk: dots are stuffed here, every octet is content (RFC 3030 §2)."""
        joined = (self._held + data).replace(b"\r\n.", b"\r\n..")
        stop = len(joined) - _open_end(joined, _OPEN_ENDS_BDAT)
        self._held = joined[stop:]
        return self._checked(joined, stop)

    def finish_chunks(self) -> bytes:
        """The rest behind BDAT LAST; a mail without a final CRLF gets one."""
        rest = self._held[self._skip :]
        if self._held != b"\r\n":
            rest += b"\r\n"
        self.size += len(rest)
        return rest

    def _checked(self, joined: bytes, stop: int) -> bytes:
        if not stop:
            return b""
        skip, self._skip = self._skip, 0
        self.size += stop - skip
        dot = joined.find(b".", 0, stop)
        for _ in range(FEW_DOTS):  # those of a header; attachments in base64 have none
            if dot < 0:
                return joined[skip:stop]
            if dot and joined[dot - 1] in b"\r\n":
                break
            dot = joined.find(b".", dot + 1, stop)
        if dot >= 0:
            self._look_beside_dots(joined, max(dot - 2, 0), stop)
        return joined[skip:stop]

    def _look_beside_dots(self, joined: bytes, start: int, stop: int) -> None:
        if joined.find(b"\n.", start, stop) >= 0:
            dots = joined.count(b"\r\n.", start, stop)
            self.size -= dots
            if (
                joined.count(b"\n.", start, stop) != dots
                or joined.find(b"\r\n.\n", start, stop) >= 0
                # A CRLF.CR here has no LF behind it: that would be the end, or still held back.
                or joined.find(b"\r\n.\r", start, stop) >= 0
            ):
                self.smuggles = True
        if joined.find(b"\r.", start, stop) >= 0:
            self.smuggles = True


def _open_end(data: bytes, ends: tuple[bytes, ...]) -> int:
    if data[-1:] not in (b"\r", b"\n", b".") or data.endswith(b"\r\n.\n"):
        return 0  # the last of these is known for a trick already, and must be seen whole
    return next((len(end) for end in ends if data.endswith(end)), 0)
