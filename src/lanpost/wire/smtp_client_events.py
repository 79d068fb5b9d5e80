"""What a client session of SMTP tells its caller; it never raises for what the peer does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lanpost.model.reply import Reply


@dataclass(frozen=True, slots=True)
class Ready:
    """The next mail may begin."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """TLS begins now; `tls_started` when it has, and the peer has shown the certificate that it must have."""


@dataclass(frozen=True, slots=True)
class ContentWanted:
    """The peer said 354, and at least one recipient is accepted: `write` the content, then `end`."""


@dataclass(frozen=True, slots=True)
class MailDone:
    """The mail is over. `replies`: the verdict for each recipient, in the envelope's order."""

    replies: Sequence[Reply]


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is no good any more, and no mail under way has a verdict; drop it. Never for good.

    `reply` is the peer's refusal of the whole session, None where it said nothing lawful.
    """

    text: str  # follows the endpoint's name: "10.0.0.7:25 closed the connection"
    status: str  # RFC 3463
    reply: Reply | None = None
    wrong_machine: bool = False  # it did not prove to be the terminal that is expected there


Event = Ready | StartTls | ContentWanted | MailDone | Closed

READY = Ready()
START_TLS = StartTls()
CONTENT_WANTED = ContentWanted()
