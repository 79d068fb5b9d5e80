"""A mail that waits in the spool, and what became of each recipient so far."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lanpost.model.envelope import Envelope, Recipient


class Waiting(StrEnum):
    """What a recipient's copy waits for."""

    DUE = "due"  # its next try, at `next_due`
    HELD = "held"  # the terminal's next registration


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """A recipient whose copy is still ours. One that is done is no longer in the mail's list."""

    recipient: Recipient
    waiting: Waiting = Waiting.DUE
    attempts: int = 0
    next_due: float = 0.0  # seconds since the epoch
    last_reply: str = ""  # why it waits, in words
    delay_told: bool = False  # the sender has had a delay notice


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail in the spool. `recipients` are those still open; the envelope's are those it came with."""

    id: str
    envelope: Envelope
    arrived: float  # seconds since the epoch
    size: int  # octets of content as kept
    recipients: tuple[QueuedRecipient, ...]
    frozen: bool = False  # held by the administrator: not tried until told
