"""What a POP3 session asks of its surroundings, and the answers it understands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Login:
    """Check a password and open the mailbox. Answer: Maildrop or Refused; "AUTH" counts as a wrong password."""

    login: str
    password: str


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send what is due, then negotiate TLS.

    Answer: None at the moment when all that is received is TLS, or Refused.
    """


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Give a mail to `send_content`, dot-stuffed. Answer: None at its end, or Refused."""

    index: int  # from 0
    body_lines: int | None = None  # TOP: the header and as many lines; None: the whole mail


@dataclass(frozen=True, slots=True)
class Commit:
    """QUIT: delete these mails, give the mailbox free. Answer: None when that is durable, or Refused."""

    indexes: tuple[int, ...]  # from 0


@dataclass(frozen=True, slots=True)
class Flush:
    """Send what is due and ask on. It takes no answer."""


Event = Login | StartTls | Retrieve | Commit | Flush


@dataclass(frozen=True, slots=True)
class Maildrop:
    """The mailbox as this session will see it: octets and unique id of each mail."""

    sizes: Sequence[int]
    unique_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Refused:
    """-ERR. `code` as in RFC 2449 §8.1.1 and RFC 3206: IN-USE, AUTH, SYS/TEMP, SYS/PERM, or none."""

    text: str
    code: str = ""
