"""What comes back to a fax's sender: delivery reports (RFC 3464) and disposition notices (RFC 8098), in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.parser import HeaderParser

from lanpost.content.report_text import printable, xtext_decoded
from lanpost.errors import InvalidAddress
from lanpost.model.address import MailAddress

MAX_RECEIPT = 1024 * 1024  # octets of a report that are looked at
_ACTIONS = {
    "delivered": "delivered",
    "relayed": "handed on to a machine that tells nothing further",
    "expanded": "handed on to several",
    "delayed": "still waiting; it is tried again",
    "failed": "not delivered",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one recipient's copy. `final`: nothing further is to be waited for."""

    recipient: str  # as the sender wrote it, where the report says so
    good: bool
    final: bool
    words: str

    def is_of(self, address: MailAddress) -> bool:
        try:
            return MailAddress.parse(self.recipient, address.domain) == address
        except InvalidAddress:
            return False


def receipts(mail: bytes, envelope_id: str, message_id: str) -> Iterator[Receipt]:
    """Those of a mail that are about the fax of this ENVID and Message-ID. Raises nothing, whatever the mail."""
    if b"report" not in mail[:65536].lower():
        return
    report = message_from_bytes(mail[:MAX_RECEIPT])
    if report.get_content_type() != "multipart/report" or not report.is_multipart():
        return
    parts = _parts(report)
    for part in parts:
        kind = part.get_content_type()
        if kind in ("message/delivery-status", "message/global-delivery-status"):
            message, *recipients = _blocks(part) or [{}]
            about = xtext_decoded(message.get("original-envelope-id", ""))
            if about == envelope_id or (not about and _returned_id(parts) == message_id):
                yield from map(_delivery, recipients)
        elif kind in ("message/disposition-notification", "message/global-disposition-notification"):
            for fields in _blocks(part):
                if fields.get("original-message-id", "").strip() == message_id:
                    yield _disposition(fields)


def _blocks(part: Message) -> list[dict[str, str]]:
    """Groups of fields, by their names in lower case."""
    return [{name.lower(): " ".join(str(value).split()) for name, value in group.items()} for group in _parts(part)]


def _parts(whole: Message) -> list[Message]:
    parts = whole.get_payload()
    return [part for part in parts if isinstance(part, Message)] if isinstance(parts, list) else []


def _returned_id(parts: Iterable[Message]) -> str:
    """The Message-ID of what the report is about; of an ENVID a server without DSN knows nothing."""
    for part in parts:
        if part.get_content_type() in ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers"):
            inner = _parts(part) or [HeaderParser().parsestr(str(part.get_payload()))]
            return str(inner[0].get("message-id", "")).strip()
    return ""


def _delivery(fields: dict[str, str]) -> Receipt:
    action = fields.get("action", "").lower()
    whom = fields.get("original-recipient") or fields.get("final-recipient", "")
    said = fields.get("diagnostic-code", "").partition(";")[2].strip()
    words = _ACTIONS.get(action, action)
    if said:
        words += f": {printable(said)}"
    elif status := fields.get("status", ""):
        words += f" ({printable(status)})"
    return Receipt(_address(whom), action in ("delivered", "relayed", "expanded"), action != "delayed", words)


def _disposition(fields: dict[str, str]) -> Receipt:
    whom = fields.get("original-recipient") or fields.get("final-recipient", "")
    disposition = fields.get("disposition", "").partition(";")[2].strip().lower()
    good = "error" not in disposition and "failed" not in disposition and not disposition.startswith("deleted")
    if disposition.startswith("dispatched"):
        words = "the machine has it: printed or passed on"
    elif disposition.startswith("displayed"):
        words = "somebody has looked at it"
    elif good and disposition.startswith("processed"):
        words = "the machine has processed it"
    else:
        words = f"the machine could not process it ({printable(disposition)})"
    if reason := fields.get("error") or fields.get("failure"):
        words += f": {printable(reason)}"
    return Receipt(_address(whom), good, True, words)


def _address(field: str) -> str:
    return printable(xtext_decoded(field.partition(";")[2].strip()))
