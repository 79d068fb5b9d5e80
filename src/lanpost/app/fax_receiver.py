"""The receiving fax machine: mail for this terminal is looked at whole before its end is answered (RFC 3965).

250 means that the fax is a folder on disk: mail, TIFF, PDF, PNGs, fax.json. 554 5.6.1 means that nothing of it was
kept, and says why: its sender learns so at once, by his own mail server.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from lanpost.app import enrolment
from lanpost.app.fax_decoding import FaxDecoding, Found
from lanpost.app.fax_output import FaxOutput, output_of
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
from lanpost.content.mdn import Notified, wanted_by
from lanpost.content.report_text import printable
from lanpost.errors import InvalidFax, StoreError, StoreFull
from lanpost.model import reply as replies
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Client, Envelope, Recipient
from lanpost.model.proof import Proof
from lanpost.model.reply import Reply
from lanpost.net.listener import Listener
from lanpost.net.registration_client import server_hosts
from lanpost.service.fax_numbers import fax_number, is_same, subaddress_of
from lanpost.store.fax_folders import FaxFolders, IncomingFax
from lanpost.store.terminal_key import TerminalKey

MAX_REASON = 400  # characters of a refusal; a reply line holds 512 octets (RFC 5321 §4.5.3.1.5)
BUSY = Reply(451, "4.3.2", "Busy with other faxes, try again later")

log = structlog.get_logger()


class FaxReceiver(TerminalIntake["FaxMail"]):
    """One address, one folder of faxes; `number` is the fax number that it answers to besides, if any."""

    def __init__(
        self, terminal: Terminal, folders: FaxFolders, decoding: FaxDecoding, output: FaxOutput, number: str = ""
    ) -> None:
        super().__init__(terminal, folders)
        self.folders = folders
        self.decoding = decoding
        self.output = output
        self.number = number

    def receive(self, client: Client, envelope: Envelope, mail_id: str) -> FaxMail:
        return FaxMail(self, client, envelope, mail_id)

    def is_own(self, given: MailAddress, reached: str) -> bool:
        """Its address, its name at the IP that was `reached`, or its number at either."""
        own = self.terminal.address
        here = given.is_literal and given.literal_host == reached
        if given == own or (here and given.local.lower() == own.local.lower()):
            return True
        number = fax_number(given) if self.number else None
        at = given.key.rpartition("@")[2]
        homes = (own.key.rpartition("@")[2], own.key.replace("@", "."))
        return number is not None and is_same(number.number, self.number) and (here or at in homes)


class FaxMail:
    """Satisfies MailTransaction: one mail for this fax machine."""

    def __init__(self, receiver: FaxReceiver, client: Client, envelope: Envelope, mail_id: str) -> None:
        self._receiver = receiver
        self._client = client
        self._envelope = envelope
        self._id = mail_id
        self._recipient: Recipient | None = None
        self._arrived = receiver.terminal.clock()
        self._fax: IncomingFax | None = None

    async def add_recipient(self, recipient: Recipient) -> Reply:
        """This terminal's own address or number; another one is refused."""
        receiver, given = self._receiver, recipient.address
        if not receiver.is_own(given, self._client.local_host):
            log.info("recipient refused", mail=self._id, client=self._client.host, recipient=str(given))
            return nobody_of_that_name(receiver.terminal.address, given)
        self._recipient = self._recipient or recipient  # named twice, it is one fax all the same
        return replies.RECIPIENT_OK

    def start_content(self) -> Reply | None:
        name = f"{self._arrived.astimezone():%Y%m%d-%H%M%S}-{self._id}"
        self._fax = self._receiver.folders.receive(name)
        return None

    def write(self, chunk: bytes) -> Future[None] | None:
        assert self._fax, "content without a beginning"
        return self._fax.write(chunk)

    async def finish(self) -> Reply:
        """250 when the fax is a folder, on disk."""
        assert self._fax, "an end without a beginning"
        fax = self._fax
        try:
            reply = await self._finish(fax)
        except StoreFull as error:
            reply = self._refused(replies.STORAGE_FULL, str(error))
        except StoreError as error:
            reply = self._refused(replies.LOCAL_ERROR, str(error))
        except InvalidFax as error:
            reason = printable(str(error))[:MAX_REASON].encode("ascii", "replace").decode("ascii")
            reply = self._refused(Reply(554, "5.6.1", f"This fax cannot be taken: {reason}"), str(error))
        except BaseException:
            fax.discard()
            raise
        if not reply.is_positive:
            with contextlib.suppress(StoreError):  # we are being stopped; the next start clears up
                await asyncio.wrap_future(fax.discard())
        return reply

    def abort(self) -> None:
        if self._fax:
            self._fax.discard()

    async def _finish(self, fax: IncomingFax) -> Reply:
        here, sender = self._receiver, self._envelope.sender
        assert self._recipient
        head = here.head(self._client, self._envelope, self._id)
        await asyncio.wrap_future(fax.finish_mail(head))
        about = {
            "id": self._id,
            "received": self._arrived.isoformat(timespec="seconds"),
            "sender": str(sender or ""),
            "recipient": str(here.terminal.address),
            "subaddress": subaddress_of(self._recipient),
            "client": self._client.host,
        }
        found = await here.decoding.look(fax.work, about)
        if found is None:
            return self._refused(BUSY, "others are being looked at")
        todo = here.output.todo(fax.name, self._notified(found), self._arrived, fax.size_octets)
        todo.mdn_to = wanted_by(found.headers, sender) if here.output.sends_mdn else None
        folder = await asyncio.wrap_future(fax.keep(todo.dump() if todo.steps else b""))
        damaged = sum(found.damaged_lines)
        log.info(
            "fax received",
            **self._shown(),
            pages=len(found.damaged_lines),
            octets=fax.size_octets,
            folder=str(folder),
            **({"damaged_lines": damaged} if damaged else {}),
        )
        if todo.steps:
            here.output.start(todo)
        pages = _counted(len(found.damaged_lines), "page")
        return Reply(250, "2.0.0", f"Ok: fax of {pages} stored as {self._id}{_damage(found.damaged_lines)}")

    def _notified(self, found: Found) -> Notified:
        headers = dict(reversed(found.headers))
        assert self._recipient
        return Notified(self._recipient, self._envelope, headers.get("message-id", ""), headers.get("subject", ""))

    def _refused(self, reply: Reply, reason: str) -> Reply:
        tell = log.warning if reply.is_permanent else log.error
        tell("fax not taken", **self._shown(), reason=reason, reply=str(reply))
        return reply

    def _shown(self) -> dict[str, str]:
        return {"mail": self._id, "client": self._client.host, "sender": str(self._envelope.sender or "<>")}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _damage(damaged_lines: Iterable[int]) -> str:
    """What the answer says of it: the sender may want to send those pages again."""
    pages = [str(number) for number, lines in enumerate(damaged_lines, 1) if lines]
    if not pages:
        return ""
    lines = _counted(sum(damaged_lines), "damaged line")
    named = ", ".join(itertools.islice(pages, 20)) + (", ..." if len(pages) > 20 else "")
    return f"; {lines} on page{'' if len(pages) == 1 else 's'} {named}"


class FaxService:
    """A fax machine that listens. Satisfies MailService."""

    def __init__(self, listener: Listener, folders: FaxFolders, output: FaxOutput, proof: Proof) -> None:
        self.proof = proof
        self.output = output
        self._listener = listener
        self._folders = folders

    @property
    def ports(self) -> tuple[int, ...]:
        """The real ports."""
        return self._listener.ports

    async def stop(self) -> None:
        """Let clients finish, and stop; what is still to be printed and told is taken up at the next start."""
        await self._listener.drain(DRAIN_SECONDS)
        await self.output.stop()
        await asyncio.to_thread(self._folders.close)


def _registrar(folder: Path) -> str:
    """The IP of the mail server that this terminal is enrolled with, wherever that was found last."""
    held = enrolment.load(folder)
    moved = urlsplit(held.moved_to.url).hostname if held.moved_to else None
    return moved or server_hosts(held.token)[0]


async def start_fax_receiver(settings: Settings, address: MailAddress, folder: Path) -> FaxService:
    """Take faxes for `address` into `[fax] folder`, relative to `data`.

    `folder` is the agent's: it holds the terminal's key and enrolment. Raises ConfigurationError where it cannot be
    listened, or a setting cannot be used; StoreError where a folder cannot be made.
    """
    key = await asyncio.to_thread(TerminalKey.open, folder)
    folders = await asyncio.to_thread(FaxFolders, settings.data / settings.fax.folder)
    hostname = hostname_of(settings)
    terminal = Terminal(address, hostname, settings.limits.free_disk)
    try:
        output = output_of(settings, folders, hostname, address.domain, _registrar(folder))
        decoding = FaxDecoding(settings.fax)
        receiver = FaxReceiver(terminal, folders, decoding, output, settings.fax.number)
        listener = listener_of(settings, receiver, terminal, key)
        await listener.start()
    except BaseException:
        folders.close()
        raise
    await output.resume()
    log.info("taking faxes", address=str(address), at=places_of(listener), folder=str(folders.folder))
    return FaxService(listener, folders, output, key.proof)
