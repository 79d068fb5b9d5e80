"""The words of a delivery report: what became of the mail, in the endpoint's words and ours, and what to do now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum

from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.reply import Reply

MAX_WORDS = 800  # octets of a far server's words; with the field's name well below a line's 998

_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\Z")

# What to do, by enhanced status code without its class (RFC 3463); the longest match counts.
_REMEDIES = {
    "1.1": "Check the address: nobody here has it. It may have been misspelt or removed.",
    "1.": "Check the address.",
    "2.1": "The mailbox is closed. Reach the recipient some other way.",
    "2.2": "The mailbox is full. Ask its owner to make room, then send the mail again.",
    "2.3": "The mail is too big for the recipient. Send it in smaller parts.",
    "3.4": "The mail is too big for the terminal. Send it in smaller parts.",
    "3.": "The terminal has a fault of its own, or no room. See to it there, then send the mail again.",
    "4.1": "Check that the terminal is switched on and connected, then send the mail again.",
    "4.2": "The connection broke off. Check the terminal and its network, then send the mail again.",
    "4.6": "The mail went in a circle. Tell the administrator: the chart or a forwarding is wrong.",
    "4.7": "Check that the terminal is switched on, connected and registered, then send the mail again.",
    "6.": "The terminal cannot take mail of this kind. Send it in a simpler format.",
    "7.": "The terminal refuses mail from you or from this server. Ask whoever looks after it.",
}


class Action(StrEnum):
    """RFC 3464 §2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"  # taken by an endpoint that will not report what became of it


@dataclass(frozen=True, slots=True)
class Notice:
    """What the sender is to be told of one recipient."""

    action: Action
    recipient: Recipient
    reply: Reply  # the endpoint's words, or ours
    endpoint: Endpoint | None = None  # who said them; None: we
    expired: bool = False  # failed because it waited too long
    retry_until: float | None = None  # seconds since the epoch, for DELAYED


def status_of(notice: Notice) -> str:
    """The Status field (RFC 3464 §2.3.4): always there, always of the action's class."""
    if notice.expired:
        return "4.4.7"  # RFC 3463 §3.5: delivery time expired
    if _STATUS.match(notice.reply.status):
        return notice.reply.status
    return f"{notice.reply.code // 100}.0.0"


def subject(action: Action, notices: Sequence[Notice]) -> str:
    what = {
        Action.FAILED: "Mail not delivered",
        Action.DELAYED: "Mail delayed, still trying",
        Action.DELIVERED: "Mail delivered",
        Action.RELAYED: "Mail handed on",
    }[action]
    more = f" and {len(notices) - 1} more" if len(notices) > 1 else ""
    return f"{what}: {notices[0].recipient.address}{more}"


def explanation(
    action: Action, notices: Sequence[Notice], hostname: str, envelope: Envelope, arrived: float
) -> str:
    """The part that people read, lines ended by CRLF."""
    when = format_datetime(datetime.fromtimestamp(arrived, UTC))
    opening = {
        Action.FAILED: "could not be delivered to the following address. It is not tried again.",
        Action.DELAYED: "has not been delivered yet to the following address. It is still being tried:\r\n"
        "you need not send it again.",
        Action.DELIVERED: "has been delivered to the following address.",
        Action.RELAYED: "has been handed on for the following address. What took it sends no delivery reports:\r\n"
        "you will hear no more of it.",
    }[action]
    if len(notices) > 1:
        opening = opening.replace("address", "addresses")
    lines = [f"This is the mail server {hostname}.", "", f"Your mail of {when}", opening]
    for notice in notices:
        lines += ["", f"  {notice.recipient.address}", *_words(notice)]
    lines += ["", f"Envelope sender: {envelope.sender}", ""]
    return "\r\n".join(lines)


def printable(text: str) -> str:
    """On one line, without control characters, bounded."""
    shown = "".join(char if char.isprintable() else " " for char in text[:MAX_WORDS])
    return shown.encode("utf-8", "replace")[:MAX_WORDS].decode("utf-8", "ignore").strip()


def plain(text: str) -> str:
    """The same in ASCII."""
    return printable(text).encode("ascii", "replace").decode("ascii")


def xtext(text: str) -> str:
    """As a parameter of MAIL or RCPT (RFC 3461 §4)."""
    return "".join(char if "!" <= char <= "~" and char not in "+=" else _hex(char) for char in text)


def _hex(char: str) -> str:
    return "".join(f"+{octet:02X}" for octet in char.encode())


def xtext_decoded(text: str) -> str:
    """What an xtext stands for (RFC 3461 §4)."""
    raw = _XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
    try:
        return raw.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return raw


def _words(notice: Notice) -> list[str]:
    said = printable(str(notice.reply))
    if notice.action is Action.DELIVERED:
        return ["    It is in the recipient's mailbox."]
    if notice.action is Action.RELAYED:
        return [f"    {notice.endpoint} has taken it, and said: {said}"]
    lines = [f"    {notice.endpoint} said: {said}" if notice.endpoint else f"    {said}"]
    if notice.expired:
        lines.append("    It was tried until its time was up.")
    if notice.retry_until is not None:
        until = format_datetime(datetime.fromtimestamp(notice.retry_until, UTC))
        lines.append(f"    It will be tried until {until}.")
    elif remedy := _remedy(status_of(notice)):
        lines.append(f"    {remedy}")
    return lines


def _remedy(status: str) -> str:
    rest = status.partition(".")[2]
    fitting = [key for key in _REMEDIES if rest == key or (key.endswith(".") and rest.startswith(key))]
    return _REMEDIES[max(fitting, key=len)] if fitting else ""
