"""Mail taken on the terminal itself, into a Maildir, by the same SMTP server core as the mail server's.

It takes mail for the terminal's own address only, asks no chart and relays nothing.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from pathlib import Path

import structlog

from lanpost.app.settings import Settings
from lanpost.app.terminal_intake import (
    DRAIN_SECONDS,
    Terminal,
    TerminalIntake,
    hostname_of,
    listener_of,
    nobody_of_that_name,
    places_of,
)
from lanpost.errors import StoreError, StoreFull
from lanpost.model import reply as replies
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Client, Envelope, Recipient
from lanpost.model.proof import Proof
from lanpost.model.reply import Reply
from lanpost.net.listener import Listener
from lanpost.store.maildir_drop import IncomingMail, MaildirDrop
from lanpost.store.terminal_key import TerminalKey

log = structlog.get_logger()


class Receiver(TerminalIntake["TerminalMail"]):
    """One address, one Maildir. Mail is answered 250 when it is on disk, not before."""

    def __init__(self, terminal: Terminal, drop: MaildirDrop) -> None:
        super().__init__(terminal, drop)
        self.drop = drop

    def receive(self, client: Client, envelope: Envelope, mail_id: str) -> TerminalMail:
        return TerminalMail(self, client, envelope, mail_id)


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
        own = self._receiver.terminal.address
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
        head = here.head(self._client, self._envelope, self._id)
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
    terminal = Terminal(address, hostname_of(settings), settings.limits.free_disk)
    listener = listener_of(settings, Receiver(terminal, drop), terminal, key)
    try:
        await listener.start()
    except BaseException:
        drop.close()
        raise
    log.info("taking mail", address=str(address), at=places_of(listener), folder=str(drop.folder))
    return ReceivingService(listener, drop, key.proof)
