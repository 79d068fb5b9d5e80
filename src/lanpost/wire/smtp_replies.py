"""SMTP replies read from the wire (RFC 5321 §4.2, RFC 2034 §4): bytes in, `Reply` out, in order.

The peer is a stranger: whatever it sends is a reply or a fault, and neither can grow without bound. Never raises.
"""

from __future__ import annotations

import re
from functools import lru_cache

from lanpost.model.reply import Reply

MAX_LINE = (
    2048  # octets, line end included; RFC 5321 §4.5.3.1.5 says 512, and servers that explain at length say more
)
MAX_LINES = 200  # of one reply; the longest lawful ones answer EHLO and HELP
MAX_TEXT = 4000  # characters of one reply's text that are kept: it goes into logs, reports and our own replies

_LINE = re.compile(
    rb"([2-5][0-9][0-9])"
    rb"(?:([ -])(?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|(?=\r*\n)))?([^\n]*))?"
    rb"\r*\n\Z"
)

_NOTHING_KNOWN = {2: "2.0.0", 3: "", 4: "4.0.0", 5: "5.0.0"}  # RFC 3463 §3.1, where the peer gives no status

_Line = tuple[int, bool, str, str]  # code, last of its reply, enhanced status or "", text


class ReplyReader:
    """Replies as they come in. After a `fault` there are none any more."""

    __slots__ = ("_buffer", "_lines", "_scanned", "_start", "_status", "fault")

    def __init__(self) -> None:
        self.fault = ""  # what is wrong with what the peer sent; "": nothing
        self._buffer = b""
        self._start = 0  # of what has not been read yet
        self._scanned = 0  # there is no line end before this
        self._lines: list[str] = []  # of a reply that goes on
        self._status = ""

    def receive_data(self, data: bytes) -> None:
        if self.fault:
            return
        if self._start == len(self._buffer):
            self._buffer = data
            self._start = self._scanned = 0
        else:
            self._buffer = self._buffer[self._start :] + data
            self._scanned -= self._start
            self._start = 0

    @property
    def has_pending(self) -> bool:
        """Something was received beyond the last reply that was read, complete or not."""
        return self._start < len(self._buffer) or bool(self._lines)

    def next_reply(self) -> Reply | None:
        """The next whole reply; None: more data is needed, or there was a fault."""
        while not self.fault:
            end = self._buffer.find(b"\n", self._scanned) + 1
            if not end:
                self._scanned = len(self._buffer)
                if self._scanned - self._start > MAX_LINE:
                    self._fail(f"a reply line longer than {MAX_LINE} octets")
                return None
            if end - self._start > MAX_LINE:
                self._fail(f"a reply line longer than {MAX_LINE} octets")
                return None
            raw = self._buffer[self._start : end]
            self._start = self._scanned = end
            line = _read_line(raw)
            if line is None:
                self._fail(f"{_shown(raw)}, which is no SMTP reply")
                return None
            code, last, status, text = line
            if last and not self._lines:
                return Reply(code, status or _NOTHING_KNOWN[code // 100], text)
            if len(self._lines) == MAX_LINES:
                self._fail(f"a reply of more than {MAX_LINES} lines")
                return None
            self._lines.append(text)
            self._status = self._status or status
            if last:
                # RFC 5321 §4.2.1: all lines bear one code; where they do not, the last one is the verdict.
                unknown = _NOTHING_KNOWN[code // 100]
                status = self._status if self._status[:1] == unknown[:1] else unknown
                reply = Reply(code, status, "\n".join(self._lines)[:MAX_TEXT])
                self._lines = []
                self._status = ""
                return reply
        return None

    def _fail(self, fault: str) -> None:
        self.fault = fault
        self._buffer = b""
        self._start = self._scanned = 0
        self._lines = []


@lru_cache(maxsize=256)  # "250 2.1.5 Ok" again and again
def _read_line(raw: bytes) -> _Line | None:
    found = _LINE.match(raw)
    if not found:
        return None
    code, divider, status, text = found.groups()
    shown_status = status.decode() if status and status[0] == code[0] else ""
    return int(code), divider != b"-", shown_status, _printable(text or b"")


def _printable(text: bytes) -> str:
    """What may be shown, logged and passed on: no line ends, no control characters."""
    shown = text.rstrip(b"\r").decode("utf-8", "replace")
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else " " if char == "\t" else "?" for char in shown)
    return shown[:MAX_TEXT]


def _shown(raw: bytes) -> str:
    text = _printable(raw.rstrip(b"\r\n"))
    return repr(text if len(text) <= 60 else text[:57] + "...")


def greeting_name(greeting: Reply) -> str:
    """The name by which a server greets, in lower case: the first word (RFC 5321 §4.2)."""
    return (greeting.text.split(maxsplit=1) or [""])[0].lower()
