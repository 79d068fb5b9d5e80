"""An HTTP/1.1 answer that has come whole, on a connection that is closed behind it (RFC 9112).

For the agent: http.client would bring `email` and a dozen more modules onto a small device. Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?: |\Z)")


class NoHttpAnswer(ValueError):
    """This is no HTTP answer, or not all of it."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Names of header fields are in lower case; of a field that came more than once the last value is kept."""

    status: int
    fields: dict[str, str]
    content: bytes


def read_answer(received: bytes) -> HttpAnswer:
    """The final answer, past any interim ones. Raises NoHttpAnswer, never anything else."""
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        found = _STATUS_LINE.match(first)
        if not found or not end:
            raise NoHttpAnswer(f"it begins with {first[:40]!r}")
        status = int(found[1])
        if status >= HTTPStatus.OK:
            break
        received = rest
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.decode("latin-1").lower()] = value.decode("latin-1").strip()
    return HttpAnswer(status, fields, _content(status, fields, rest))


def _content(status: int, fields: dict[str, str], rest: bytes) -> bytes:
    """RFC 9112 §6.3, without the answers to HEAD and CONNECT."""
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return b""
    if fields.get("transfer-encoding", "").lower() == "chunked":
        return _unchunked(rest)
    length = fields.get("content-length")
    if length is None:
        return rest
    if not (length.isascii() and length.isdigit()) or len(length) > 9 or int(length) > len(rest):
        raise NoHttpAnswer("its content is cut short")
    return rest[: int(length)]


def _unchunked(rest: bytes) -> bytes:
    content: list[bytes] = []
    while True:
        line, _, rest = rest.partition(b"\r\n")
        size = re.match(rb"[0-9A-Fa-f]{1,8}", line)
        if not size or int(size[0], 16) > len(rest):
            raise NoHttpAnswer("a chunk is cut short")
        length = int(size[0], 16)
        if not length:
            return b"".join(content)
        content.append(rest[:length])
        rest = rest[length + 2 :]
