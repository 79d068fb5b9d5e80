"""One attempt to hand on a spooled mail, to an endpoint or a mailbox here. Every failure becomes an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import structlog

from lanpost.app.spooled_content import SpooledContent
from lanpost.content import trace
from lanpost.content.dots import unstuffed
from lanpost.errors import ContentAborted, DeliveryError, StoreError, WrongMachine
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome, Verdict
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Recipient
from lanpost.model.queued import QueuedMail
from lanpost.model.reply import OK, Reply
from lanpost.service.delivery import mailbox_failure, outcomes_of
from lanpost.service.ports import Mailboxes, Sender, Spool

log = structlog.get_logger()

Destination = Endpoint | MailAddress  # the latter: a mailbox here


@dataclass(frozen=True, slots=True)
class Attempted:
    """An outcome for each recipient; `unreachable` where nobody, or another machine, answered at the endpoint."""

    outcomes: Sequence[Outcome]
    unreachable: DeliveryError | None = None


class Attempts:
    """Makes them."""

    def __init__(self, spool: Spool, sender: Sender, mailboxes: Mailboxes) -> None:
        self._spool = spool
        self._sender = sender
        self._mailboxes = mailboxes

    async def make(self, mail: QueuedMail, destination: Destination, recipients: Sequence[Recipient]) -> Attempted:
        """Raises nothing. Cancelled: the connection is dropped before the end of the mail."""
        try:
            if isinstance(destination, MailAddress):
                return Attempted([await self._store(mail, destination, each) for each in recipients])
            return Attempted(await self._send(mail, destination, recipients))
        except DeliveryError as error:
            assert isinstance(destination, Endpoint)
            outcomes = outcomes_of(error, recipients, destination)
            return Attempted(
                outcomes, error if error.status == "4.4.1" or isinstance(error, WrongMachine) else None
            )
        except (ContentAborted, StoreError, KeyError) as error:
            log.error("content cannot be read", mail=mail.id, why=str(error))
            return Attempted([Outcome.of(each, Reply(451, "4.3.0", str(error))) for each in recipients])
        except Exception as error:
            # Our own bug, and no reason to lose a mail: unknown failures are temporary.
            log.exception("attempt failed unexpectedly", mail=mail.id, destination=str(destination))
            return Attempted([Outcome.of(each, Reply(451, "4.3.0", repr(error))) for each in recipients])

    async def _content(self, mail: QueuedMail) -> Iterator[bytes]:
        reading = self._spool.content(mail.id)
        return reading.result() if reading.done() else await asyncio.wrap_future(reading)

    async def _send(
        self, mail: QueuedMail, endpoint: Endpoint, recipients: Sequence[Recipient]
    ) -> Sequence[Outcome]:
        chunks = await self._content(mail)
        envelope = replace(mail.envelope, recipients=tuple(recipients))
        return await self._sender.send(endpoint, envelope, SpooledContent(chunks, mail.size))

    async def _store(self, mail: QueuedMail, mailbox: MailAddress, recipient: Recipient) -> Outcome:
        chunks = await self._content(mail)
        final = chain((trace.return_path(mail.envelope.sender),), unstuffed(chunks))
        try:
            await asyncio.wrap_future(self._mailboxes.deliver(mailbox, final))
        except StoreError as error:
            return mailbox_failure(recipient, error)
        return Outcome(recipient, Verdict.DELIVERED, OK)
