"""A waiting mail as `lanpost queue` shows it: plain values, the same from a running server and from its files."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from lanpost.model.address import MailAddress
from lanpost.model.queued import QueuedMail


def describe(mail: QueuedMail, under_way: Collection[MailAddress] = ()) -> dict[str, Any]:
    """`under_way`: recipients being tried right now."""
    return {
        "id": mail.id,
        "arrived": _time(mail.arrived),
        "size": mail.size,
        "sender": str(mail.envelope.sender or ""),
        "on_hold": mail.frozen,
        "recipients": [
            {
                "address": str(each.recipient.address),
                "state": "under way" if each.recipient.address in under_way else each.waiting.value,
                "attempts": each.attempts,
                "next": _time(each.next_due) if each.next_due else None,
                "last_reply": each.last_reply,
                "delay_told": each.delay_told,
            }
            for each in mail.recipients
        ],
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
