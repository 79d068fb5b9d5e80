"""Sender, recipients and options of one mail, as SMTP carries them (RFC 5321, RFC 3461, RFC 6531)."""

from __future__ import annotations

from dataclasses import dataclass

from lanpost.model.address import MailAddress


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT: the address and what its sender wants to be told of it (RFC 3461 §4.1, §4.2)."""

    address: MailAddress
    notify: frozenset[str] = frozenset()  # of NEVER, SUCCESS, FAILURE, DELAY; empty: not said
    orcpt: str = ""  # "rfc822;xtext", as given; "": not said

    @property
    def wants_failure(self) -> bool:
        return not self.notify or "FAILURE" in self.notify

    @property
    def wants_delay(self) -> bool:
        return not self.notify or "DELAY" in self.notify


@dataclass(frozen=True, slots=True)
class Envelope:
    """What SMTP says of a mail beside its content. `sender` None is the null return path: never answered."""

    sender: MailAddress | None
    recipients: tuple[Recipient, ...] = ()
    body_8bit: bool = False  # BODY=8BITMIME (RFC 6152)
    smtputf8: bool = False  # RFC 6531
    ret: str = ""  # FULL, HDRS or "" (RFC 3461 §4.3)
    envid: str = ""  # xtext as given (RFC 3461 §4.4)
    size: int | None = None  # octets, as the client declared (RFC 1870)


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end of a receiving connection."""

    host: str  # canonical IP literal
    port: int
    local_host: str = ""  # the address of ours that it reached
    submission: bool = False  # on a port that wants authentication
    hello: str = ""  # what it called itself
    extended: bool = False  # it said EHLO
    tls: str = ""  # protocol and cipher, "" in the clear
    login: str = ""  # account it proved itself with, "" for none
