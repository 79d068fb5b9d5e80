"""The mail that warns the owner of a mailbox that is nearly full. Pure: the time is given."""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime

from lanpost.model.address import MailAddress


def nearly_full(owner: MailAddress, domain: str, used: int, quota: int, unique: str, now: datetime) -> bytes:
    """The whole mail, CRLF lines. `used`, `quota` in octets; `unique` names it and no other; `now` aware."""
    share = 100 * used // quota
    lines = (
        f"Date: {format_datetime(now)}",
        f"From: Mail server <postmaster@{domain}>",
        f"To: {owner}",
        f"Subject: Your mailbox is {share} % full",
        f"Message-ID: <{unique}@{domain}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        f"The mailbox of {owner} holds {_megabytes(used)} of the {_megabytes(quota)} it may hold.",
        "",
        "Once it is full, mail to you is refused and its senders are told so.",
        "Please delete what you no longer need, or let your mail program remove",
        "mail from the server after fetching it.",
        "",
    )
    return "\r\n".join(lines).encode("utf-8", "replace")


def _megabytes(octets: int) -> str:
    return f"{octets / 1_000_000:.1f} MB"
