"""What the server's SMTP session tells its caller, and the terms it is run on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.reply import Reply
from lanpost.wire.smtp_login import Credentials


class Signal(Enum):
    """Events that carry nothing."""

    START_CONTENT = "start of content"
    END_CONTENT = "end of content"
    RESET = "reset"
    START_TLS = "start TLS"


@dataclass(frozen=True, slots=True)
class Refused:
    """The mail under way will never be complete, and why."""

    reply: Reply


Event = Envelope | Recipient | bytes | Signal | Refused | Credentials


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """What one client may take. Octets count their line ends."""

    mail_size: int = 50_000_000  # octets (RFC 1870)
    recipients: int = 1000  # of one mail; at least 100 (RFC 5321 §4.5.3.1.8)
    errors: int = 20  # refused commands and recipients since the last accepted mail
    commands: int = 10_000  # since the last accepted mail
    command_octets: int = 2048  # of one line; 512 and the extensions' share (RFC 5321 §4.5.3.1.4)


@dataclass(frozen=True, slots=True)
class SmtpTerms:
    """What all sessions of one service have in common."""

    hostname: str  # what we call ourselves
    default_domain: str = ""  # what a bare terminal name is completed with
    limits: SmtpLimits = SmtpLimits()
    authentication: bool = False  # AUTH is offered, where a password may cross the wire
    submission: bool = False  # no mail without AUTH (RFC 6409 §4.3)
