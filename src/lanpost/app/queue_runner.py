"""The queue: hands on what waits in the spool, each try with a fresh inquiry, none of them holding up another.

One supervised task (`run`), which starts an inquiry for each mail that is due and then an attempt for each
endpoint or mailbox that the inquiry named. What became of a recipient is written to the spool before anything else
is done about it; a report to the sender is durable before the recipient it is about is forgotten.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from lanpost.app.attempts import Attempts, Destination
from lanpost.app.delivery_reports import DeliveryReports
from lanpost.app.queue_counters import QueueCounters
from lanpost.app.registration_watch import watch_registrations
from lanpost.content.reports import Action, Notice
from lanpost.errors import DeliveryError, StoreError
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome, Route, Way
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Recipient
from lanpost.model.queued import QueuedMail
from lanpost.model.reply import Reply
from lanpost.service.delivery import Result, outcomes_of, result_of_route, settle
from lanpost.service.inquiry import Router
from lanpost.service.lanes import Lanes
from lanpost.service.ports import Chart, Clock, Mailboxes, Sender, Spool
from lanpost.service.schedule import Schedule
from lanpost.service.waiting import NOW, Entry, Slot, WaitingMail

log = structlog.get_logger()

MAX_INQUIRIES = 200  # mails being asked for at a time
INQUIRIES_PER_MAIL = 50  # recipients of one mail being asked for at a time
MAX_RECIPIENTS = 100  # of one attempt: what every server must take (RFC 5321 §4.5.3.1.8)
ROUTE_AGE = 1.0  # seconds; who waited longer for his turn is asked for again before he is served
MOVED_GRACE = 2.0  # seconds that an attempt is left to finish once its terminal has registered elsewhere
LONGEST_NAP = 60.0  # seconds; however the clock is set meanwhile, the queue is looked at
REPORT_PAUSE = 60.0  # seconds until a report is tried again for which the spool had no room

MOVED = Reply(451, "4.4.1", "The terminal has registered elsewhere meanwhile")


@dataclass(frozen=True, slots=True)
class QueueRules:
    """The parts of the configuration that the queue needs."""

    schedule: Schedule
    attempts: int = 500  # at a time
    attempts_per_destination: int = 20


@dataclass(slots=True, eq=False)
class _Job:
    """Recipients of one mail who share a destination, in its lane or being served."""

    entry: Entry
    destination: Destination
    members: list[tuple[Slot, Route]]
    asked: float  # when their inquiry was answered, by the loop's clock
    task: asyncio.Task[None] | None = None  # once it is served
    sending: bool = False
    moved: bool = False  # its terminal is elsewhere: the attempt is to be broken off


class QueueRunner:
    """Delivers what is in the spool. For one event loop; made before, used while it runs."""

    def __init__(
        self,
        rules: QueueRules,
        spool: Spool,
        router: Router,
        sender: Sender,
        mailboxes: Mailboxes,
        chart: Chart,
        reports: DeliveryReports,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.counters = QueueCounters()
        self._rules = rules
        self._spool = spool
        self._attempts = Attempts(spool, sender, mailboxes)
        self._router = router
        self._chart = chart
        self._reports = reports
        self._clock = clock
        self._chance = chance
        self._waiting = WaitingMail()
        self._lanes: Lanes[Destination, _Job] = Lanes(rules.attempts, rules.attempts_per_destination)
        self._jobs: dict[Slot, _Job] = {}
        self._inquiries = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._stopping = False
        for mail in spool.mails():
            self._waiting.add(mail, fresh=False)

    # For reception.

    def accept(self, mail: QueuedMail, under_way: Collection[MailAddress] = ()) -> None:
        """Deliver a mail that is in the spool. Recipients in `under_way` are left alone until `settle`."""
        self._waiting.add(mail, under_way)
        self._look.set()

    def settle(self, mail_id: str, outcomes: Sequence[Outcome]) -> None:
        """What became of recipients that were under way when the mail was accepted."""
        entry = self._waiting.get(mail_id)
        if entry is not None:
            self._start(self._settle(entry, [Result(outcome) for outcome in outcomes]))

    # For the administrator.

    def list(self) -> Sequence[QueuedMail]:
        """All that waits, oldest first."""
        return sorted((entry.mail for entry in self._waiting), key=lambda mail: (mail.arrived, mail.id))

    def show(self, mail_id: str) -> QueuedMail | None:
        entry = self._waiting.get(mail_id)
        return entry.mail if entry else None

    def under_way(self, mail_id: str) -> Collection[MailAddress]:
        """The recipients being tried right now."""
        entry = self._waiting.get(mail_id)
        return [slot.queued.recipient.address for slot in entry.slots.values() if slot.busy] if entry else []

    def retry(self, mail_id: str | None = None) -> int:
        """Try one mail at once, also one on hold; or all but those on hold. Returns how many."""
        if mail_id is None:
            entries = [entry for entry in self._waiting if not entry.mail.frozen]
        else:
            entries = [entry] if (entry := self._waiting.get(mail_id)) else []
        for entry in entries:
            if entry.mail.frozen:
                self._spool.update(replace(entry.mail, frozen=False))
            self._waiting.retry(entry)
        self._look.set()
        return len(entries)

    def hold(self, mail_id: str, *, frozen: bool = True) -> bool:
        """Not to be tried until told, or to be tried again. What is under way goes on. False: no such mail."""
        entry = self._waiting.get(mail_id)
        if entry is None:
            return False
        self._waiting.freeze(entry, frozen=frozen)
        self._spool.update(entry.mail)
        self._look.set()
        return True

    def remove(self, mail_id: str) -> bool:
        """Forget a mail; its sender is not told. False: no such mail."""
        entry = self._waiting.get(mail_id)
        if entry is None:
            return False
        self._waiting.remove(entry)
        self._spool.remove(mail_id)
        log.info("mail removed", mail=mail_id)
        return True

    @property
    def attempts_under_way(self) -> int:
        return self._lanes.served

    def __len__(self) -> int:
        return len(self._waiting)

    # Running.

    async def run(self) -> None:
        """Until `rest` or `drain`; cancelled, attempts are broken off, and made again after the next start."""
        watching = asyncio.create_task(watch_registrations(self._chart, self._look_at_held, self._registered))
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping:
                self._look.clear()
                now = self._now()
                while self._inquiries < MAX_INQUIRIES and (found := self._waiting.take_due(now)):
                    self._inquiries += 1
                    self._start(self._inquire(*found))
                while turn := self._lanes.next():
                    self._serve(turn[1])
                due = self._waiting.next_due()
                if self._inquiries >= MAX_INQUIRIES or due is None:
                    nap = LONGEST_NAP
                else:
                    nap = min(LONGEST_NAP, max(0.0, due - self._now()))
                timer = loop.call_later(nap, self._look.set)
                try:
                    await self._look.wait()
                finally:
                    timer.cancel()
        finally:
            watching.cancel()
            if not self._stopping:
                await self._break_off()

    def rest(self) -> None:
        """Begin nothing new; what is under way goes on, and can be settled. `run` ends."""
        self._stopping = True
        self._look.set()

    async def drain(self, seconds: float) -> None:
        """Begin nothing new; leave what is under way so long to finish, then break it off. `run` ends."""
        self.rest()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        await self._break_off()

    async def _break_off(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("queue: internal error", exc_info=error)
        self._look.set()

    def _now(self) -> float:
        return self._clock().timestamp()

    # Inquiry.

    async def _inquire(self, entry: Entry, slots: Sequence[Slot]) -> None:
        try:
            routes = await self._routes(slots)
        except Exception:
            log.exception("inquiry failed unexpectedly", mail=entry.mail.id)
            routes = [Route(slot.queued.recipient.address, Way.UNANSWERED) for slot in slots]
        finally:
            self._inquiries -= 1
        await self._dispatch(entry, slots, routes)

    async def _routes(self, slots: Sequence[Slot]) -> Sequence[Route]:
        if len(slots) == 1:
            return [await self._route(slots[0])]
        routes: list[Route] = []
        for first in range(0, len(slots), INQUIRIES_PER_MAIL):
            routes += await asyncio.gather(*map(self._route, slots[first : first + INQUIRIES_PER_MAIL]))
        return routes

    async def _route(self, slot: Slot) -> Route:
        # Whether its sender may send outside was decided when the mail was taken.
        return await self._router.route(slot.queued.recipient.address, may_relay=True)

    async def _dispatch(self, entry: Entry, slots: Sequence[Slot], routes: Sequence[Route]) -> None:
        """Each recipient into its destination's lane; the others are settled by their route alone."""
        asked = asyncio.get_running_loop().time()
        groups: dict[Destination, list[tuple[Slot, Route]]] = {}
        results = []
        for slot, route in zip(slots, routes, strict=True):
            if route.way is not Way.UNANSWERED:
                self._waiting.lead(slot.queued.recipient.address, route.terminal)
            destination = self._destination(entry, route)
            if destination is None:
                results.append(result_of_route(slot.queued.recipient, route))
            else:
                groups.setdefault(destination, []).append((slot, route))
        for destination, members in groups.items():
            for first in range(0, len(members), MAX_RECIPIENTS):
                job = _Job(entry, destination, members[first : first + MAX_RECIPIENTS], asked)
                self._jobs.update((slot, job) for slot, _ in job.members)
                self._lanes.join(destination, job)
        self._look.set()
        if results:
            await self._settle(entry, results)

    def _destination(self, entry: Entry, route: Route) -> Destination | None:
        if route.way is Way.UNANSWERED:
            # Reception has used the fallback mailbox already; what is here waits for the chart, but not for ever.
            waited = self._rules.schedule.is_delayed(self._now(), entry.mail.arrived)
            return route.mailbox if waited else None
        return route.mailbox or route.endpoint

    # Attempts.

    def _serve(self, job: _Job) -> None:
        job.task = self._start(self._attempt(job))

    async def _attempt(self, job: _Job) -> None:
        try:
            members = await self._still_there(job)
            results = await self._try(job, members) if members else ()
        except Exception:
            # Our own bug, and no reason to leave recipients busy for ever: those still with the job go later.
            log.exception("queue: internal error", mail=job.entry.mail.id)
            left = [slot.queued.recipient for slot, _ in job.members if self._jobs.get(slot) is job]
            self._waiting.postpone(job.entry, left, self._now() + REPORT_PAUSE)
            results = ()
        finally:
            self._lanes.leave(job.destination)
            self._release(job)
        if results:
            await self._settle(job.entry, results)

    def _release(self, job: _Job) -> Sequence[tuple[Slot, Route]]:
        """It no longer stands for its recipients; those for whom it did until now."""
        members = [(slot, route) for slot, route in job.members if self._jobs.get(slot) is job]
        for slot, _ in members:
            del self._jobs[slot]
        return members

    async def _still_there(self, job: _Job) -> Sequence[tuple[Slot, Route]]:
        """Those of the job who are still bound to its destination; the others go where they belong."""
        members = [member for member in job.members if self._jobs.get(member[0]) is job]
        if self._waiting.get(job.entry.mail.id) is not job.entry:
            return ()
        if not members or asyncio.get_running_loop().time() - job.asked < ROUTE_AGE:
            return members
        slots = [slot for slot, _ in members]
        fresh = list(zip(slots, await self._routes(slots), strict=True))
        moved = [item for item in fresh if self._destination(job.entry, item[1]) != job.destination]
        if moved:
            await self._dispatch(job.entry, [slot for slot, _ in moved], [route for _, route in moved])
        return [item for item in fresh if item not in moved]

    async def _try(self, job: _Job, members: Sequence[tuple[Slot, Route]]) -> Sequence[Result]:
        destination = job.destination
        recipients = [slot.queued.recipient for slot, _ in members]
        job.sending = True
        try:
            attempted = await self._attempts.make(job.entry.mail, destination, recipients)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not job.moved or self._stopping or task is None:
                raise
            task.uncancel()
            return [Result(Outcome.of(each, MOVED)) for each in recipients]
        finally:
            job.sending = False
        if attempted.unreachable is not None and isinstance(destination, Endpoint):
            self._start(self._pass_over(destination, attempted.unreachable))
        registered = _registered(members)
        final = isinstance(destination, MailAddress)
        return [
            Result(outcome, final=final, registered=registered.get(outcome.recipient))
            for outcome in attempted.outcomes
        ]

    async def _pass_over(self, endpoint: Endpoint, error: DeliveryError) -> None:
        """Nobody answers there: those who wait in its lane need not each find that out."""
        for job in self._lanes.clear(endpoint):
            members = self._release(job)
            outcomes = outcomes_of(error, [slot.queued.recipient for slot, _ in members], endpoint)
            if outcomes:
                since = _registered(members)
                results = [Result(each, registered=since.get(each.recipient)) for each in outcomes]
                await self._settle(job.entry, results)

    # What comes of it.

    async def _settle(self, entry: Entry, results: Sequence[Result]) -> None:
        try:
            await self._reckon(entry, results)
        except Exception:
            log.exception("queue: internal error", mail=entry.mail.id)
            recipients = [result.outcome.recipient for result in results]
            self._waiting.postpone(entry, recipients, self._now() + REPORT_PAUSE)

    async def _reckon(self, entry: Entry, results: Sequence[Result]) -> None:
        """Report, then write down, then forget or schedule."""
        now, chance, schedule = self._now(), self._chance(), self._rules.schedule
        settled = settle(entry.mail, results, now, schedule, chance)
        if settled.notices:
            results = await self._report(entry, settled.notices, results, now)
            # Once more, since another attempt for the same mail may have been settled meanwhile.
            settled = settle(entry.mail, results, now, schedule, chance)
        if self._waiting.get(entry.mail.id) is not entry:
            return  # removed by the administrator
        before, mail = entry.mail, settled.mail
        if self._waiting.apply(entry, mail, [result.outcome.recipient for result in results]):
            self._spool.update(mail)
        else:
            self._spool.remove(mail.id)
        for result in results:
            self.counters.tell(before, mail, result, now)
        self._look.set()

    async def _report(
        self, entry: Entry, notices: Sequence[Notice], results: Sequence[Result], now: float
    ) -> Sequence[Result]:
        """Those of the results that may be settled: nobody is forgotten whose failure could not be reported."""
        told: set[Action] = set()
        try:
            async for action, report in self._reports.write(entry.mail, notices):
                told.add(action)
                self.counters.reports += 1
                self.accept(report)
        except StoreError as error:
            log.error("report not written", mail=entry.mail.id, why=str(error))
            if Action.FAILED in told:
                return results
            lost = {notice.recipient for notice in notices if notice.action is Action.FAILED}
            self._waiting.postpone(entry, lost, now + REPORT_PAUSE)
            return [result for result in results if result.outcome.recipient not in lost]
        return results

    # Registrations.

    def _look_at_held(self) -> None:
        self._waiting.wake_held()
        self._look.set()

    def _registered(self, address: MailAddress) -> None:
        asked_afresh = set()
        for entry, slot in self._waiting.wake(address):
            job = self._jobs.get(slot)
            if job is None:
                continue
            if job.task is None:
                # Still in a lane, perhaps a dead endpoint's: out of it, to be asked for again.
                del self._jobs[slot]
                slot.woken = False
                self._waiting.postpone(entry, [slot.queued.recipient], NOW)
            elif job not in asked_afresh:
                asked_afresh.add(job)
                self._start(self._end_if_moved(job, slot))
        self._look.set()

    async def _end_if_moved(self, job: _Job, slot: Slot) -> None:
        """An attempt at an address that the terminal has left may stall for minutes: it is ended in seconds."""
        route = await self._route(slot)
        if job.moved or route.endpoint is None or route.endpoint == job.destination:
            return
        job.moved = True
        await asyncio.sleep(MOVED_GRACE)
        if job.sending and job.task is not None:
            job.task.cancel()


def _registered(members: Sequence[tuple[Slot, Route]]) -> Mapping[Recipient, float]:
    """When each recipient's terminal last said where it is, seconds since the epoch."""
    return {slot.queued.recipient: route.binding.updated.timestamp() for slot, route in members if route.binding}
