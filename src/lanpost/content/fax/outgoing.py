"""The mail that carries a fax in simple mode (RFC 3965 §3, §4): headers, and one TIFF in base64, streamed."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime

from lanpost.errors import InvalidFax
from lanpost.model.address import MailAddress

LINE_OCTETS = 57  # which base64 writes as 76 characters (RFC 2045 §6.8)
BLOCK = LINE_OCTETS * 1024


@dataclass(frozen=True, slots=True)
class FaxHeaders:
    """What the headers say. The full fax number of an offramp's recipient is the envelope's alone (RFC 3965 §4)."""

    sender: MailAddress
    recipients: Sequence[MailAddress]
    subject: str
    at: datetime  # aware
    message_id: str  # with its angle brackets
    file_name: str  # ASCII
    disposition_to: MailAddress | None = None  # asks for an MDN (RFC 8098 §2.1)


def head(headers: FaxHeaders) -> bytes:
    """All header lines and the empty line, CRLF. UTF-8 only where an address needs it (RFC 6532)."""
    if not headers.file_name.isascii() or any(char in headers.file_name for char in '"\\\r\n'):
        raise InvalidFax(f"{headers.file_name!r} is no name for an attachment")
    subject = headers.subject if headers.subject.isascii() else Header(headers.subject, "utf-8", 66).encode("\r\n")
    lines = [
        f"Date: {format_datetime(headers.at)}",
        f"From: {headers.sender}",
        "To: " + ",\r\n ".join(map(shown, headers.recipients)),
        f"Subject: {subject}",
        f"Message-ID: {headers.message_id}",
    ]
    if headers.disposition_to is not None:
        lines.append(f"Disposition-Notification-To: {headers.disposition_to}")
    lines += [
        "MIME-Version: 1.0",
        f'Content-Type: image/tiff; application=faxbw; name="{headers.file_name}"',
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment; filename="{headers.file_name}"',
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def shown(address: MailAddress) -> str:
    """As it stands in To: of `FAX=+81...@gateway` the gateway alone, for privacy (RFC 3965 §5.2.6)."""
    if address.local[:4].lower() == "fax=":
        return f"fax@{address.domain}"
    return str(address)


def body(tiff: Iterable[bytes]) -> Iterator[bytes]:
    """Base64 in lines of 76 characters, in blocks; holds no more than one block."""
    held = b""
    for chunk in tiff:
        held += chunk
        whole = len(held) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            yield _lines(held[start : start + BLOCK])
        held = held[whole:]
    if held:
        yield _lines(held)


def _lines(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


def size_of_body(tiff_octets: int) -> int:
    """Octets of `body` for so many of a TIFF."""
    full, rest = divmod(tiff_octets, LINE_OCTETS)
    return full * 78 + (0 if not rest else (rest + 2) // 3 * 4 + 2)
