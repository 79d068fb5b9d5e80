"""What every receiver on a terminal does alike, into whatever it then puts the mail: room, refusals, listening."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog

from lanpost.app.setting_values import Listen
from lanpost.app.settings import Settings
from lanpost.content import trace
from lanpost.errors import StoreError
from lanpost.model import reply as replies
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Client, Envelope
from lanpost.model.reply import Reply
from lanpost.net.listener import ConnectionLimits, Listener
from lanpost.net.smtp_in import REFUSAL, SmtpService
from lanpost.service.ports import Intake, MailTransaction
from lanpost.store.terminal_key import TerminalKey
from lanpost.wire.smtp_events import SmtpLimits, SmtpTerms

DRAIN_SECONDS = 2.0  # for mail that is arriving when we stop; its sender tries again

Mail = TypeVar("Mail", bound=MailTransaction, covariant=True)

log = structlog.get_logger()


class Place(Protocol):
    """Where mail goes on this terminal's disk."""

    @property
    def folder(self) -> Path: ...

    def free_octets(self) -> int:
        """Room left on its disk. Raises StoreError."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Who takes mail here."""

    address: MailAddress
    hostname: str
    free_disk: int  # octets; with less room than that no mail is taken
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class TerminalIntake(ABC, Generic[Mail]):
    """Satisfies Intake: one terminal, any sender, as long as there is room."""

    def __init__(self, terminal: Terminal, place: Place) -> None:
        self.terminal = terminal
        self._place = place
        self._ids = trace.mail_ids(0, terminal.clock())

    @abstractmethod
    def receive(self, client: Client, envelope: Envelope, mail_id: str) -> Mail:
        """One mail begins."""

    async def authenticate(self, client: Client, login: str, password: str) -> Reply:  # noqa: ARG002
        """Nobody has a password here."""
        return Reply(535, "5.7.8", "This terminal knows no passwords")

    def begin(self, client: Client, envelope: Envelope) -> Mail | Reply:
        """Any sender may send here, as long as there is room."""
        try:
            if self._place.free_octets() < self.terminal.free_disk + (envelope.size or 0):
                log.warning("mail refused: the disk is nearly full", folder=str(self._place.folder))
                return replies.STORAGE_FULL
        except StoreError as error:
            log.error("mail refused", client=client.host, reason=str(error))
            return replies.LOCAL_ERROR
        return self.receive(client, envelope, next(self._ids))

    def head(self, client: Client, envelope: Envelope, mail_id: str) -> bytes:
        """The trace fields of a mail that has come."""
        here = self.terminal
        return trace.return_path(envelope.sender) + trace.received(
            client, here.hostname, mail_id, here.clock(), smtputf8=envelope.smtputf8, recipient=str(here.address)
        )


def nobody_of_that_name(own: MailAddress, wanted: MailAddress) -> Reply:
    """What a terminal answers to another address than its own.

    Another one of its domain is put off, not refused for good: this machine may have got that terminal's IP
    address, or been renamed and not heard of it yet.
    """
    if wanted.key.rpartition("@")[2] == own.key.rpartition("@")[2]:
        return Reply(450, "4.1.1", f"This is {own}, and nobody else is here now")
    return Reply(550, "5.1.1", f"This is {own}, and nobody else is here")


def hostname_of(settings: Settings) -> str:
    """What the terminal calls itself; never the "fully qualified" name: that would ask DNS."""
    return settings.hostname or socket.gethostname()


def listener_of(settings: Settings, intake: Intake, terminal: Terminal, key: TerminalKey) -> Listener:
    """Where the terminal takes mail, with STARTTLS; not started yet."""
    limits = settings.limits
    terms = SmtpTerms(
        terminal.hostname,
        terminal.address.domain,
        SmtpLimits(limits.mail_size, limits.recipients, limits.errors, limits.commands, limits.command_octets),
    )
    return Listener(
        "agent",
        settings.agent.listen or _everywhere(settings.agent.port),
        SmtpService(intake, terms, limits.command_timeout, limits.mail_timeout),
        ConnectionLimits(limits.connections, limits.connections_per_client),
        refusal=REFUSAL,
        tls=key.context,
    )


def places_of(listener: Listener) -> str:
    """Where it listens, for people."""
    return ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in listener.addresses)


def _everywhere(port: int) -> tuple[Listen, ...]:
    """Every address of this machine, as a listener wants it."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:  # a kernel without IPv6
        return (Listen("0.0.0.0", port),)  # noqa: S104
    return (Listen("0.0.0.0", port), Listen("::", port))  # noqa: S104
