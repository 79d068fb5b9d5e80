"""Delivery status notifications: failure, delay, success (RFC 3461, RFC 6522, RFC 3464; RFC 6533 beyond ASCII).

Pure. What is returned of the original is bounded, whatever its size; the null sender never gets a report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from lanpost.content import report_text
from lanpost.content.dots import stuffed, unstuffed
from lanpost.content.report_text import Action, Notice, plain, xtext_decoded
from lanpost.errors import LocalProtocolError
from lanpost.model.envelope import Envelope, Recipient

__all__ = ["Action", "Notice", "Report", "Reporter", "report", "wants_whole"]

MAX_RETURNED = 1024 * 1024  # octets of a mail returned whole where RET=FULL asks for it
MAX_RETURNED_UNASKED = 50 * 1024  # where nothing was said
MAX_HEADERS = 64 * 1024  # octets of header section returned


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports."""

    hostname: str
    domain: str  # reports come from postmaster there


@dataclass(frozen=True, slots=True)
class Report:
    """A report, ready for the spool: content dot-stuffed."""

    envelope: Envelope
    content: tuple[bytes, ...]


def wants_whole(action: Action, envelope: Envelope, size: int) -> bool:
    """Return the original whole; else its header section (RFC 3461 §4.3: RET is about failures only)."""
    if action is not Action.FAILED or envelope.ret == "HDRS":
        return False
    return size <= (MAX_RETURNED if envelope.ret == "FULL" else MAX_RETURNED_UNASKED)


def report(
    reporter: Reporter,
    report_id: str,
    action: Action,
    notices: Sequence[Notice],
    envelope: Envelope,
    arrived: float,
    size: int,
    content: Iterable[bytes],
    now: datetime,
) -> Report:
    """One report on one mail, on recipients who share an action.

    `envelope`, `arrived` (seconds since the epoch), `size` and `content` (dot-stuffed, read no further than
    needed) are the original's; `report_id` the new mail's. LocalProtocolError: a null sender.
    """
    sender = envelope.sender
    if sender is None:
        raise LocalProtocolError("a null sender is never answered (RFC 5321 §4.5.5)")
    original = _original(content, whole=wants_whole(action, envelope, size))
    utf8 = (
        envelope.smtputf8
        or sender.needs_smtputf8
        or any(notice.recipient.address.needs_smtputf8 for notice in notices)
    )
    text = report_text.explanation(action, notices, reporter.hostname, envelope, arrived).encode()
    status = _status(reporter, notices, envelope, arrived, now, utf8=utf8)
    returned, kind = original.data, _returned_kind(original, utf8=utf8)
    boundary = _boundary(report_id, (text, status, returned))
    eight_bit = not (text.isascii() and status.isascii() and returned.isascii())
    encoding = "8bit" if eight_bit else "7bit"
    subject = report_text.subject(action, notices)
    head = (
        f"Date: {format_datetime(now)}\r\n"
        f"From: Mail Delivery System <postmaster@{reporter.domain}>\r\n"
        f"To: <{sender}>\r\n"
        f"Subject: {subject if utf8 else plain(subject)}\r\n"
        f"Message-ID: <{report_id}@{reporter.hostname}>\r\n"
        + (f"References: {original.message_id}\r\n" if original.message_id else "")
        + "Auto-Submitted: auto-replied\r\n"  # RFC 3834 §5
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status;\r\n"
        f'\tboundary="{boundary}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n"
        "\r\n"
        "This is a delivery report in MIME format.\r\n"
    ).encode()
    status_kind = "message/global-delivery-status" if utf8 else "message/delivery-status"
    parts = (
        _part(boundary, "text/plain; charset=utf-8", "Explanation", text),
        _part(boundary, status_kind, "Delivery report", status),
        _part(boundary, kind, "The mail reported on", returned),
        f"\r\n--{boundary}--\r\n".encode(),
    )
    return Report(
        Envelope(None, (Recipient(sender, frozenset({"NEVER"})),), body_8bit=eight_bit, smtputf8=utf8),
        tuple(stuffed((head, *parts))),
    )


@dataclass(frozen=True, slots=True)
class _Original:
    data: bytes
    whole: bool
    message_id: str


def _original(content: Iterable[bytes], *, whole: bool) -> _Original:
    """As much of the original as is returned, unstuffed."""
    data = bytearray()
    end = -1
    for chunk in unstuffed(content):
        start = max(0, len(data) - 3)
        data += chunk
        end = data.find(b"\r\n\r\n", start) if end < 0 else end
        if not whole and (end >= 0 or len(data) > MAX_HEADERS):
            break
    headers = bytes(data[: end + 2] if end >= 0 else data)[:MAX_HEADERS]
    headers = headers[: headers.rfind(b"\r\n") + 2]  # whole lines only
    return _Original(bytes(data) if whole else headers, whole, _message_id(headers))


def _message_id(headers: bytes) -> str:
    for line in headers.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"message-id":
            found = value.strip()
            if found.isascii() and found.startswith(b"<") and found.endswith(b">") and len(found) < 500:
                return plain(found.decode("ascii"))
    return ""


def _returned_kind(original: _Original, *, utf8: bool) -> str:
    if utf8:
        return "message/global" if original.whole else "message/global-headers"
    return "message/rfc822" if original.whole else "text/rfc822-headers"


def _part(boundary: str, kind: str, description: str, body: bytes) -> bytes:
    encoding = "7bit" if body.isascii() else "8bit"
    head = (
        f"\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Description: {description}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode() + body


def _boundary(seed: str, parts: Sequence[bytes]) -> str:
    """A boundary that is in none of the parts, whoever wrote them."""
    while True:
        seed = hashlib.sha256(seed.encode()).hexdigest()
        boundary = f"=_{seed[:32]}"
        if not any(boundary.encode() in part for part in parts):
            return boundary


def _status(
    reporter: Reporter, notices: Sequence[Notice], envelope: Envelope, arrived: float, now: datetime, *, utf8: bool
) -> bytes:
    """The fields of RFC 3464 §2.2 and §2.3."""
    fields = [f"Original-Envelope-Id: {plain(xtext_decoded(envelope.envid))}"] if envelope.envid else []
    fields.append(f"Reporting-MTA: dns; {reporter.hostname}")
    fields.append(f"Arrival-Date: {format_datetime(datetime.fromtimestamp(arrived, UTC))}")
    for notice in notices:
        fields.append("")
        fields += _recipient_fields(notice, now, utf8=utf8)
    return ("\r\n".join(fields) + "\r\n").encode()


def _recipient_fields(notice: Notice, now: datetime, *, utf8: bool) -> list[str]:
    recipient = notice.recipient
    fields = []
    if recipient.orcpt:
        kind, _, address = recipient.orcpt.partition(";")
        fields.append(f"Original-Recipient: {plain(kind)}; {_text(xtext_decoded(address), utf8=utf8)}")
    kind = "utf-8" if recipient.address.needs_smtputf8 else "rfc822"  # RFC 6533 §3
    fields.append(f"Final-Recipient: {kind}; {recipient.address}")
    fields.append(f"Action: {notice.action.value}")
    fields.append(f"Status: {report_text.status_of(notice)}")
    if notice.endpoint is not None:
        fields.append(f"Remote-MTA: dns; {notice.endpoint.literal}")
    said = "smtp" if notice.endpoint is not None else "x-lanpost"  # not the words of an SMTP server
    fields.append(f"Diagnostic-Code: {said}; {_text(str(notice.reply), utf8=utf8)}")
    fields.append(f"Last-Attempt-Date: {format_datetime(now)}")
    if notice.action is Action.DELAYED and notice.retry_until is not None:
        fields.append(f"Will-Retry-Until: {format_datetime(datetime.fromtimestamp(notice.retry_until, UTC))}")
    return fields


def _text(value: str, *, utf8: bool) -> str:
    return report_text.printable(value) if utf8 else plain(value)
