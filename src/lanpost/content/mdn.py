"""Disposition notifications: who wants one, and what it says (RFC 8098). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.utils import format_datetime, getaddresses

from lanpost.content.dots import stuffed
from lanpost.content.report_text import plain, printable, xtext_decoded
from lanpost.errors import InvalidAddress
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient

MAX_MESSAGE_ID = 500  # octets; a longer one is not repeated
MAX_OPTIONS = 1000

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Disposition:
    """What became of a mail. `error` in words: `processed/error`; "": `dispatched` (RFC 8098 §3.2.6.2)."""

    error: str = ""

    def __str__(self) -> str:
        # By itself, without a person: a fax machine prints (RFC 3249 §4.4.1.2).
        return "automatic-action/MDN-sent-automatically; " + ("processed/error" if self.error else "dispatched")


def wanted_by(headers: Headers, sender: MailAddress | None) -> MailAddress | None:
    """Who is to be sent a notification of this mail; None: nobody, or nobody who may be sent one unasked.

    `headers` as they came, `sender` of the envelope. Never of a notification or report, nor of what has the null
    sender or comes from a list or a robot; only to one address, and to that of the envelope's sender, since else a
    forged request would make us write to a third party (RFC 8098 §2.1).
    """
    if sender is None:
        return None
    named = _all(headers, "disposition-notification-to")
    if len(named) != 1:
        return None
    kind = " ".join(_all(headers, "content-type")).lower()
    if kind.startswith(("multipart/report", "message/disposition-notification", "message/delivery-status")):
        return None
    robots = _all(headers, "auto-submitted")
    if any(value.split(";")[0].strip().lower() != "no" for value in robots) or _all(headers, "list-id"):
        return None
    if any("required" in value.lower() for value in _all(headers, "disposition-notification-options")):
        return None  # it requires an extension, and we know none (§2.2)
    try:
        (one,) = [address for _, address in getaddresses(named) if address]
        wanted = MailAddress.parse(one)
    except (ValueError, HeaderParseError, InvalidAddress):
        return None
    return wanted if wanted == sender else None


@dataclass(frozen=True, slots=True)
class Notified:
    """The mail that a notification is about."""

    recipient: Recipient  # as the envelope had it
    envelope: Envelope
    message_id: str  # with its brackets, or ""
    subject: str


@dataclass(frozen=True, slots=True)
class Notification:
    """Ready to be sent: content dot-stuffed."""

    envelope: Envelope
    content: tuple[bytes, ...]


def notification(
    about: Notified, to: MailAddress, disposition: Disposition, notice_id: str, hostname: str, now: datetime
) -> Notification:
    """The mail that says so. `notice_id` is new; `hostname` is what this terminal calls itself."""
    own = about.recipient.address
    utf8 = to.needs_smtputf8 or own.needs_smtputf8
    title = _shortened(printable(about.subject) if utf8 else plain(about.subject))
    if disposition.error:
        words = f"Your fax to {own} arrived, but could not be put out there: {disposition.error}"
    else:
        words = f"Your fax to {own} arrived and has been put out there. Whether anybody has read it is not known."
    text = _lines(words, "", f"Subject: {title}") if title else _lines(words)
    fields = [f"Reporting-UA: {plain(hostname)}; lanpost"]
    if about.recipient.orcpt:
        kind, _, address = about.recipient.orcpt.partition(";")
        fields.append(f"Original-Recipient: {plain(kind)}; {plain(xtext_decoded(address))}")
    fields.append(f"Final-Recipient: {'utf-8' if own.needs_smtputf8 else 'rfc822'}; {own}")
    if message_id := _usable(about.message_id):
        fields.append(f"Original-Message-ID: {message_id}")
    fields.append(f"Disposition: {disposition}")
    if disposition.error:
        fields.append(f"Error: {_shortened(plain(disposition.error))}")
    status = _lines(*fields)
    boundary = "mdn-" + hashlib.sha256(f"{notice_id} {text} {status}".encode()).hexdigest()[:24]
    subject = "Fax not put out" if disposition.error else "Fax received"
    eight_bit = not (text.isascii() and status.isascii())
    encoding = "8bit" if eight_bit else "7bit"
    status_kind = "message/global-disposition-notification" if utf8 else "message/disposition-notification"
    head = [
        f"Date: {format_datetime(now)}",
        f"From: <{own}>",
        f"To: <{to}>",
        f"Subject: {subject}: {own}",
        f"Message-ID: <{notice_id}@{hostname}>",
        *([f"In-Reply-To: {message_id}", f"References: {message_id}"] if message_id else []),
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=disposition-notification;\r\n\tboundary="{boundary}"',
        f"Content-Transfer-Encoding: {encoding}",
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Transfer-Encoding: {encoding}",
        "",
        text,
        f"--{boundary}",
        f"Content-Type: {status_kind}",
        f"Content-Transfer-Encoding: {encoding}",
        "",
        status,
        f"--{boundary}--",
    ]
    # The null sender, and no report about the report (RFC 8098 §3).
    envelope = Envelope(None, (Recipient(to, frozenset({"NEVER"})),), body_8bit=eight_bit, smtputf8=utf8)
    return Notification(envelope, tuple(stuffed((_lines(*head).encode(),))))


def _all(headers: Headers, name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


def _usable(message_id: str) -> str:
    found = message_id.strip()
    usable = found.startswith("<") and found.endswith(">") and found.isascii() and len(found) <= MAX_MESSAGE_ID
    return plain(found) if usable else ""


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…" if not text.isascii() else text[:197] + "..."


def _lines(*lines: str) -> str:
    return "\r\n".join(lines) + "\r\n"
