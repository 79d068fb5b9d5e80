"""Mail taken on the terminal itself, into a Maildir, by the same SMTP server core as the mail server's.

It takes mail for the terminal's own address only, asks no chart and relays nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import structlog

from lanpost.app.setting_values import Listen
from lanpost.app.settings import Settings
from lanpost.content import trace
from lanpost.errors import StoreError, StoreFull
from lanpost.model import reply as replies
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Client, Envelope, Recipient
from lanpost.model.proof import Proof
from lanpost.model.reply import Reply
from lanpost.net.listener import ConnectionLimits, Listener
from lanpost.net.smtp_in import REFUSAL, SmtpService
from lanpost.store.maildir_drop import IncomingMail, MaildirDrop
from lanpost.store.terminal_key import TerminalKey
from lanpost.wire.smtp_events import SmtpLimits, SmtpTerms

DRAIN_SECONDS = 2.0  # for mail that is arriving when we stop; its sender tries again

log = structlog.get_logger()


class Receiver:
    """Satisfies Intake: one address, one Maildir. Mail is answered 250 when it is on disk, not before."""

    def __init__(
        self,
        address: MailAddress,
        drop: MaildirDrop,
        *,
        hostname: str,
        free_disk: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`free_disk` in octets: with less room than that no mail is taken."""
        self.address = address
        self.drop = drop
        self.hostname = hostname
        self.clock = clock
        self._free_disk = free_disk
        self._ids = trace.mail_ids(0, clock())

    async def authenticate(self, client: Client, login: str, password: str) -> Reply:  # noqa: ARG002
        """Nobody has a password here."""
        return Reply(535, "5.7.8", "This terminal knows no passwords")

    def begin(self, client: Client, envelope: Envelope) -> TerminalMail | Reply:
        """Any sender may send here, as long as there is room."""
        try:
            if self.drop.free_octets() < self._free_disk + (envelope.size or 0):
                log.warning("mail refused: the disk is nearly full", folder=str(self.drop.folder))
                return replies.STORAGE_FULL
        except StoreError as error:
            log.error("mail refused", client=client.host, reason=str(error))
            return replies.LOCAL_ERROR
        return TerminalMail(self, client, envelope, next(self._ids))


class TerminalMail:
    """Satisfies MailTransaction: one mail for this terminal."""

    def __init__(self, receiver: Receiver, client: Client, envelope: Envelope, mail_id: str) -> None:
        self._receiver = receiver
        self._client = client
        self._envelope = envelope
        self._id = mail_id
        self._mail: IncomingMail | None = None

    async def add_recipient(self, recipient: Recipient) -> Reply:
        """This terminal's own address, in whatever case."""
        own = self._receiver.address
        if recipient.address == own:
            return replies.RECIPIENT_OK
        log.info("recipient refused", mail=self._id, client=self._client.host, recipient=str(recipient.address))
        return nobody_of_that_name(own, recipient.address)

    def start_content(self) -> Reply | None:
        self._mail = self._receiver.drop.receive()
        return None

    def write(self, chunk: bytes) -> Future[None] | None:
        assert self._mail, "content without a beginning"
        return self._mail.write(chunk)

    async def finish(self) -> Reply:
        """250 when the mail is in `new`, on disk."""
        assert self._mail, "an end without a beginning"
        here = self._receiver
        head = trace.return_path(self._envelope.sender) + trace.received(
            self._client,
            here.hostname,
            self._id,
            here.clock(),
            smtputf8=self._envelope.smtputf8,
            recipient=str(here.address),
        )
        shown = {"mail": self._id, "client": self._client.host, "sender": str(self._envelope.sender or "<>")}
        try:
            await asyncio.wrap_future(self._mail.finish(head))
        except StoreFull as error:
            log.error("mail not stored", **shown, reason=str(error))
            return replies.STORAGE_FULL
        except StoreError as error:
            log.error("mail not stored", **shown, reason=str(error))
            return replies.LOCAL_ERROR
        log.info("mail stored", **shown, octets=self._mail.size_octets, folder=str(here.drop.folder))
        return Reply(250, "2.0.0", f"Ok: stored as {self._id}")

    def abort(self) -> None:
        if self._mail:
            self._mail.discard()


def nobody_of_that_name(own: MailAddress, wanted: MailAddress) -> Reply:
    """What a terminal answers to another address than its own.

    Another one of its domain is put off, not refused for good: this machine may have got that terminal's IP
    address, or been renamed and not heard of it yet.
    """
    if wanted.key.rpartition("@")[2] == own.key.rpartition("@")[2]:
        return Reply(450, "4.1.1", f"This is {own}, and nobody else is here now")
    return Reply(550, "5.1.1", f"This is {own}, and nobody else is here")


class ReceivingService:
    """A receiver that listens."""

    def __init__(self, listener: Listener, drop: MaildirDrop, proof: Proof) -> None:
        self.proof = proof  # by which it is known to be this terminal's
        self._listener = listener
        self._drop = drop

    @property
    def ports(self) -> tuple[int, ...]:
        """The real ports."""
        return self._listener.ports

    async def stop(self) -> None:
        """Let clients finish, and stop."""
        await self._listener.drain(DRAIN_SECONDS)
        await asyncio.to_thread(self._drop.close)


async def start_receiver(settings: Settings, address: MailAddress, folder: Path) -> ReceivingService:
    """Take mail for `address` into the Maildir that `[agent] receive` names, relative to `data`.

    `folder` holds the terminal's key. Raises ConfigurationError where it cannot be listened, StoreError where
    Maildir or key cannot be made.
    """
    key = await asyncio.to_thread(TerminalKey.open, folder)
    drop = await asyncio.to_thread(MaildirDrop, settings.data / settings.agent.receive)
    limits = settings.limits
    hostname = settings.hostname or socket.gethostname()  # never the "fully qualified" one: that would ask DNS
    terms = SmtpTerms(
        hostname,
        address.domain,
        SmtpLimits(limits.mail_size, limits.recipients, limits.errors, limits.commands, limits.command_octets),
    )
    receiver = Receiver(address, drop, hostname=hostname, free_disk=limits.free_disk)
    listener = Listener(
        "agent",
        settings.agent.listen or everywhere(settings.agent.port),
        SmtpService(receiver, terms, limits.command_timeout, limits.mail_timeout),
        ConnectionLimits(limits.connections, limits.connections_per_client),
        refusal=REFUSAL,
        tls=key.context,
    )
    try:
        await listener.start()
    except BaseException:
        drop.close()
        raise
    at = ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in listener.addresses)
    log.info("taking mail", address=str(address), at=at, folder=str(drop.folder))
    return ReceivingService(listener, drop, key.proof)


def everywhere(port: int) -> tuple[Listen, ...]:
    """Every address of this machine, as a listener wants it."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:  # a kernel without IPv6
        return (Listen("0.0.0.0", port),)  # noqa: S104
    return (Listen("0.0.0.0", port), Listen("::", port))  # noqa: S104
