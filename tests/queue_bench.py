"""A queue with everything real around it but the endpoints, which do as they are told. For its tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lanpost.app.delivery_reports import DeliveryReports
from lanpost.app.queue_runner import QueueRules, QueueRunner
from lanpost.app.threaded_chart import ThreadedChart
from lanpost.content.reports import Reporter
from lanpost.content.trace import mail_ids
from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.delivery import Outcome
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient
from lanpost.model.reply import OK
from lanpost.service.inquiry import Router, RoutingRules
from lanpost.service.ports import ContentReader, Sender
from lanpost.service.schedule import Schedule
from lanpost.store.chart_sqlite import SqliteChart
from lanpost.store.maildir import MaildirMailboxes
from lanpost.store.spool import JournalSpool

Behaviour = Callable[[Envelope, bytes], Awaitable[Sequence[Outcome]]]

QUICK = Schedule(first_retry=0.02, last_retry=0.1, delay_notice=3600, give_up=7200)
CONTENT = b"From: a@office.lan\r\nSubject: x\r\n\r\n..dot\r\n"


def address(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Sent:
    endpoint: Endpoint
    to: list[str]
    sender: str
    content: bytes


class ScriptedSender:
    """Takes every mail, except at endpoints told to behave otherwise; says of each attempt in `attempts`."""

    def __init__(self) -> None:
        self.attempts: asyncio.Queue[Sent] = asyncio.Queue()
        self.behaviours: dict[Endpoint, Behaviour] = {}
        self.under_way = 0
        self.most_under_way = 0

    async def send(self, endpoint: Endpoint, envelope: Envelope, content: ContentReader) -> Sequence[Outcome]:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            data = b""
            while chunk := await content.read():
                data += chunk
            to = [recipient.address.local for recipient in envelope.recipients]
            self.attempts.put_nowait(Sent(endpoint, to, str(envelope.sender or ""), data))
            if behaviour := self.behaviours.get(endpoint):
                return await behaviour(envelope, data)
            await asyncio.sleep(0)
            return [Outcome.of(recipient, OK, endpoint) for recipient in envelope.recipients]
        finally:
            self.under_way -= 1

    async def next(self) -> Sent:
        return await asyncio.wait_for(self.attempts.get(), 10)

    async def close(self) -> None:
        pass


class BreakableChart(ThreadedChart):
    """A chart that can be asked or not."""

    is_down = False
    inquiries = 0

    async def look_up(self, address: MailAddress, *, whole: bool = True) -> Entry | None:
        self.inquiries += 1
        if self.is_down:
            raise ChartUnavailable("down")
        return await super().look_up(address)


class QueueBench:
    """The queue under test and all that it uses, in one folder; `restart` as after a crash."""

    def __init__(self, folder: Path, schedule: Schedule, places: tuple[int, int], spool: str) -> None:
        self.spool_folder = folder / spool
        self.rules = QueueRules(schedule, *places)
        self.sender = ScriptedSender()
        self.sending: Sender = self.sender  # what the queue is given at the next start
        self.chart = BreakableChart(SqliteChart(folder / "chart.sqlite3"))
        self.mailboxes = MaildirMailboxes(
            folder / "mailboxes", domain="office.lan", quota=10**8, warning=90, clock=lambda: now().timestamp()
        )
        self.ids = mail_ids(0, now())
        self.start()

    def start(self) -> None:
        self.spool = JournalSpool(self.spool_folder)
        fallback = address("fallback") if self.mailboxes.has(address("fallback")) else None
        router = Router(RoutingRules("office.lan", fallback=fallback), self.chart, self.mailboxes, now)
        reports = DeliveryReports(Reporter("mail.office.lan", "office.lan"), self.spool, self.ids, now)
        self.queue = QueueRunner(
            self.rules, self.spool, router, self.sending, self.mailboxes, self.chart, reports, now, lambda: 0.5
        )
        self.running = asyncio.create_task(self.queue.run())

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await asyncio.to_thread(self.spool.close)

    async def restart(self) -> None:
        await self.stop()
        self.start()

    async def bind(self, name: str, endpoint: str) -> Endpoint:
        where = Endpoint.parse(endpoint)
        await self.chart.bind(Binding(address(name), where, now(), now() + timedelta(hours=1)))
        return where

    async def put(
        self, *to: str | Recipient, sender: str | None = "a@office.lan", content: bytes = CONTENT, age: float = 0
    ) -> QueuedMail:
        """A durable mail, not yet told to the queue."""
        recipients = tuple(each if isinstance(each, Recipient) else Recipient(address(each)) for each in to)
        mail = QueuedMail(
            next(self.ids),
            Envelope(address(sender) if sender else None, recipients),
            now().timestamp() - age,
            len(content),
            tuple(QueuedRecipient(each) for each in recipients),
        )
        await asyncio.wrap_future(self.spool.put(mail, [content]))
        return mail

    async def accept(self, *to: str | Recipient, age: float = 0, sender: str | None = "a@office.lan") -> QueuedMail:
        mail = await self.put(*to, age=age, sender=sender)
        self.queue.accept(mail)
        return mail

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what no event tells of."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def empty(self) -> None:
        await self.until(lambda: len(self.queue) == 0 and not self.queue.attempts_under_way)

    def mailbox(self, name: str) -> list[bytes]:
        session = self.mailboxes.open_session(address(name))
        try:
            return [b"".join(session.chunks(number)) for number in range(len(session.sizes()))]
        finally:
            session.close()


@asynccontextmanager
async def queue_bench(
    folder: Path, schedule: Schedule = QUICK, places: tuple[int, int] = (50, 5), spool: str = "spool"
) -> AsyncIterator[QueueBench]:
    bench = QueueBench(folder, schedule, places, spool)
    try:
        yield bench
    finally:
        await bench.stop()
        await bench.chart.close()
        bench.mailboxes.close()
