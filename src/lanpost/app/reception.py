"""What happens to a mail that comes in (DESIGN.md, "What happens to a mail"): the Intake of our own listeners.

The rule that all of this serves: the end of data is answered 250 only when every recipient's copy has been
accepted by its endpoint or is durable here, in a mailbox or in the spool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Protocol

import structlog

from lanpost.app.cut_through import Attempt, CutThrough
from lanpost.app.growing_content import ContentFolder, GrowingContent
from lanpost.content import trace
from lanpost.content.dots import unstuffed
from lanpost.content.report_text import xtext
from lanpost.errors import ContentAborted, StoreError, StoreFull
from lanpost.model import reply
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome, Route, Verdict, Way
from lanpost.model.envelope import Client, Envelope, Recipient
from lanpost.model.networks import Network, is_within
from lanpost.model.queued import QueuedMail, QueuedRecipient, Waiting
from lanpost.model.reply import Reply
from lanpost.service.delivery import mailbox_failure
from lanpost.service.inquiry import Router
from lanpost.service.ports import Clock, Mailboxes, MailTransaction, Sender, Spool

log = structlog.get_logger()


class Queue(Protocol):
    """What reception needs of the queue runner."""

    def accept(self, mail: QueuedMail, under_way: Collection[MailAddress] = ()) -> None: ...
    def settle(self, mail_id: str, outcomes: Sequence[Outcome]) -> None: ...


@dataclass(frozen=True, slots=True)
class ReceptionRules:
    """The parts of the configuration that reception needs."""

    hostname: str
    relay_networks: tuple[Network, ...] = ()
    cut_through: bool = True
    cut_through_timeout: float = 5.0  # seconds, from the end of data


@dataclass(slots=True)
class Counters:
    """What the metrics show of reception."""

    received: int = 0
    cut_through: int = 0
    to_mailbox: int = 0
    spooled: int = 0
    refused: int = 0


class Reception:
    """Makes a transaction for each mail, with all that it needs."""

    def __init__(
        self,
        rules: ReceptionRules,
        router: Router,
        sender: Sender,
        mailboxes: Mailboxes,
        spool: Spool,
        queue: Queue,
        folder: ContentFolder,
        ids: Iterator[str],
        clock: Clock,
        authenticate: Callable[[Client, str, str], Awaitable[Reply]],
        has_room: Callable[[], bool],
    ) -> None:
        self.rules = rules
        self.router = router
        self.sender = sender
        self.mailboxes = mailboxes
        self.spool = spool
        self.queue = queue
        self.folder = folder
        self.ids = ids
        self.clock = clock
        self.counters = Counters()
        self._authenticate = authenticate
        self._has_room = has_room
        self._late: set[asyncio.Task[Sequence[Outcome]]] = set()  # attempts that have outlived their answer

    async def authenticate(self, client: Client, login: str, password: str) -> Reply:
        return await self._authenticate(client, login, password)

    def begin(self, client: Client, envelope: Envelope) -> MailTransaction | Reply:
        if not self._has_room():
            log.error("no room for mail", client=client.host, remedy="free space on the disk of the data folder")
            return reply.STORAGE_FULL
        may_relay = bool(client.login) or is_within(client.host, self.rules.relay_networks)
        return Transaction(self, client, envelope, may_relay=may_relay)

    def go_on_behind(self, attempt: Attempt, told: Callable[[Attempt], object]) -> None:
        """An attempt outlives the answer to its sender; `told` of its end."""
        self._late.add(attempt.task)
        attempt.when_over(told)
        attempt.task.add_done_callback(self._late.discard)

    async def drain(self, seconds: float) -> None:
        """Leave attempts that have outlived their answer so long to finish: ended now, they would be made again."""
        if self._late:
            await asyncio.wait(self._late, timeout=seconds)


class Transaction:
    """One mail: recipients routed at RCPT, content forwarded while it comes, everything reckoned at its end."""

    __slots__ = (
        "_client",
        "_content",
        "_cut_through",
        "_envelope",
        "_id",
        "_may_relay",
        "_reception",
        "_routes",
        "_started",
    )

    def __init__(self, reception: Reception, client: Client, envelope: Envelope, *, may_relay: bool) -> None:
        self._reception = reception
        self._client = client
        self._envelope = envelope
        self._may_relay = may_relay
        self._routes: dict[MailAddress, tuple[Recipient, Route]] = {}
        self._cut_through = CutThrough(reception.sender, reception.rules.cut_through_timeout)
        self._content: GrowingContent | None = None
        self._id = ""
        self._started = 0.0

    async def add_recipient(self, recipient: Recipient) -> Reply:
        route = await self._reception.router.route(recipient.address, may_relay=self._may_relay)
        if route.refusal is not None:
            self._reception.counters.refused += 1
            log.info(
                "recipient refused",
                client=self._client.host,
                sender=str(self._envelope.sender or "<>"),
                to=str(recipient.address),
                reply=str(route.refusal),
            )
            return route.refusal
        if route.instead is not None:
            # The terminal knows its own address alone; reports name the one that the sender gave (RFC 3461 §4.2).
            given = recipient.orcpt or f"rfc822;{xtext(str(recipient.address))}"
            recipient = replace(recipient, address=route.instead, orcpt=given)
        # The same address twice is one recipient: it gets one copy.
        self._routes.setdefault(recipient.address, (recipient, route))
        return reply.RECIPIENT_OK

    def start_content(self) -> Reply | None:
        reception = self._reception
        self._id = next(reception.ids)
        self._started = time.monotonic()
        recipients = [recipient for recipient, _ in self._routes.values()]
        self._envelope = replace(self._envelope, recipients=tuple(recipients))
        self._content = GrowingContent(reception.folder)
        self._content.write(
            trace.received(
                self._client,
                reception.rules.hostname,
                self._id,
                reception.clock(),
                smtputf8=self._envelope.smtputf8,
                recipient=str(recipients[0].address) if len(recipients) == 1 else "",
            )
        )
        if reception.rules.cut_through:
            self._cut_through.start(self._envelope, self._content, self._routes.values())
        return None

    def write(self, chunk: bytes) -> Future[None] | None:
        assert self._content is not None
        return self._content.write(chunk)

    def abort(self) -> None:
        if self._content is not None:
            self._give_up("the client left before the end of the mail")

    async def finish(self) -> Reply:
        try:
            return await self._finish()
        except BaseException:
            # Our own bug: the client is told to come again, so nobody else may go on with this mail.
            self._give_up("an internal error")
            raise

    async def _finish(self) -> Reply:
        content = self._content
        assert content is not None
        size = content.size
        if trace.hops(content.head) > trace.MAX_HOPS:
            self._give_up("the mail is in a loop")
            return reply.TOO_MANY_HOPS
        try:
            await content.finish()
        except ContentAborted as error:
            self._give_up(str(error))
            log.error("mail refused", mail=self._id, why=str(error))
            return reply.STORAGE_FULL
        self._reception.counters.received += 1
        deliveries = self._deliver_to_mailboxes(content)
        await self._cut_through.settled_or_timeout()
        outcomes, late = self._cut_through.reckon()
        for recipient, done in deliveries:
            outcomes.append(await self._mailbox_outcome(recipient, done))
        answer = await self._answer(content, outcomes, late)
        if not late:
            content.close()
        self._log(answer, outcomes, late, size)
        return answer

    def _give_up(self, why: str) -> None:
        """Nobody gets this mail; endpoints that are being told of it never see its end."""
        assert self._content is not None
        self._content.abort(why)
        self._cut_through.cancel()
        self._content.close()

    def _deliver_to_mailboxes(self, content: GrowingContent) -> list[tuple[Recipient, Future[None]]]:
        return [
            (recipient, self._reception.mailboxes.deliver(route.mailbox, self._final(content)))
            for recipient, route in self._routes.values()
            if route.mailbox is not None and "SUCCESS" not in recipient.notify
        ]

    def _final(self, content: GrowingContent) -> Iterator[bytes]:
        """The content as final delivery stores it: `Return-Path:` on top, dots unstuffed."""
        return chain((trace.return_path(self._envelope.sender),), unstuffed(content.chunks()))

    async def _mailbox_outcome(self, recipient: Recipient, done: Future[None]) -> Outcome:
        try:
            await asyncio.wrap_future(done)
        except StoreError as error:
            return mailbox_failure(recipient, error)
        self._reception.counters.to_mailbox += 1
        return Outcome(recipient, Verdict.DELIVERED, reply.OK)

    async def _answer(self, content: GrowingContent, outcomes: list[Outcome], late: list[Attempt]) -> Reply:
        delivered = {each.recipient.address for each in outcomes if each.verdict is Verdict.DELIVERED}
        counters = self._reception.counters
        counters.cut_through += sum(1 for each in outcomes if each.verdict is Verdict.DELIVERED and each.endpoint)
        if len(delivered) == len(self._routes):
            return Reply(250, "2.0.0", f"Ok: delivered as {self._id}")
        failed = [each for each in outcomes if each.verdict is Verdict.FAILED]
        if len(failed) == len(self._routes):
            # The client still has the mail: it is told at once, and no report is needed.
            return replace(failed[0].reply, text=f"{failed[0].endpoint} said: {failed[0].reply.text}")
        mail = self._to_spool(content, delivered)
        try:
            await asyncio.wrap_future(self._reception.spool.put(mail, content.chunks()))
        except StoreError as error:
            self._cut_through.cancel()
            late.clear()
            log.error("mail not taken", mail=self._id, why=str(error))
            return reply.STORAGE_FULL if isinstance(error, StoreFull) else reply.LOCAL_ERROR
        counters.spooled += 1
        known = [each for each in outcomes if each.recipient.address not in delivered]
        under_way = {each.recipient.address for each in known}
        under_way |= {recipient.address for attempt in late for recipient in attempt.recipients}
        self._reception.queue.accept(mail, under_way)
        if known:
            self._reception.queue.settle(mail.id, known)
        for attempt in late:
            self._reception.go_on_behind(attempt, partial(self._settle_late, content, late))
        return Reply(250, "2.0.0", f"Ok: queued as {self._id}")

    def _settle_late(self, content: GrowingContent, late: list[Attempt], attempt: Attempt) -> None:
        """An attempt that outlived the answer is over: the queue is told, so that nothing is sent twice."""
        # First of all: whatever else failed here, its recipients would be waited for for ever.
        self._reception.queue.settle(self._id, attempt.outcomes())
        late.remove(attempt)
        if not late:
            content.close()

    def _to_spool(self, content: GrowingContent, delivered: set[MailAddress]) -> QueuedMail:
        now = self._reception.clock().timestamp()
        waiting = []
        for recipient, route in self._routes.values():
            if recipient.address in delivered:
                continue
            held = route.way is Way.HOLD
            waiting.append(
                QueuedRecipient(
                    recipient,
                    waiting=Waiting.HELD if held else Waiting.DUE,
                    next_due=now,
                    last_reply="waits for the terminal to register" if held else "",
                )
            )
        return QueuedMail(self._id, self._envelope, now, content.size, tuple(waiting))

    def _log(self, answer: Reply, outcomes: list[Outcome], late: list[Attempt], size: int) -> None:
        log.info(
            "mail received" if answer.is_positive else "mail refused",
            mail=self._id,
            client=self._client.host,
            **({"login": self._client.login} if self._client.login else {}),
            sender=str(self._envelope.sender or "<>"),
            to=[str(address) for address in self._routes],
            size=size,
            outcome=[f"{each.verdict} {each.endpoint or 'here'}: {each.reply}" for each in outcomes]
            + [f"under way {attempt.endpoint}" for attempt in late],
            reply=str(answer),
            seconds=round(time.monotonic() - self._started, 4),
        )
