"""The chart as an XML document on a document server: WebDAV (RFC 4918), or any that takes GET and PUT with ETags.

Every inquiry asks whether the document has changed (If-None-Match); those that come meanwhile share the next
question. Writes that wait share one PUT. So that two mail servers lose nothing of each other's: the document is
locked where the server can lock, read, and put back with If-Match, and all again on 412. The lock is for servers
that test If-Match and write a moment later, as mod_dav does; If-Match is for those who take no locks.

Every method raises ChartUnavailable; those that write, InvalidValue for what XML cannot hold.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import structlog

from lanpost.errors import ChartUnavailable, InvalidValue, StoreError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.net.chart_resource import ChartResource, Stored
from lanpost.service.chart_document import ChartDocument, Draft, text_of
from lanpost.service.ports import Change

log = structlog.get_logger()

POLL_SECONDS = 1.0  # how late a watcher sees what others have changed
MAX_GROUP = 1_000  # writes that share a PUT
MAX_WAITING = 10_000  # writes; one more is refused
IMPORT_BATCH = 25_000  # bindings in a PUT
WRITE_SECONDS = 30.0  # for a group, other people's locks included
TRIES = 20  # of a PUT that others come before
PAUSES = (0.01, 0.2)  # seconds between them, by chance
SMALL = 64 * 1024  # octets that are read in a moment; larger documents in a thread

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Write:
    """One caller's change, and where he waits for it."""

    perform: Callable[[Draft], object]
    done: asyncio.Future[Any]


def _nobody(_done: int) -> None:
    """For those who do not ask how far a long work has come."""


class WebdavChart:
    """The ports `Chart` and `ChangeFeed` over a document, made if need be. For one event loop.

    `replica`: while the server cannot be asked, inquiries are answered from the last good copy, in memory.
    A caller who is cancelled while he waits for a write cannot know whether it happened.
    """

    def __init__(
        self, resource: ChartResource, default_domain: str, timeout_seconds: float, *, replica: bool = False
    ) -> None:
        self._resource = resource
        self._default_domain = default_domain
        self._timeout = timeout_seconds
        self._replica = replica
        self._document = ChartDocument()
        self._stored: Stored | None = None  # what `_document` was read from, or written to; None: not known yet
        self._began = 0  # the number of the newest change when it was first known
        self._turn = asyncio.Lock()  # one exchange after the other: an older answer must not overtake a newer one
        self._asking: asyncio.Task[None] | None = None
        self._asking_next: asyncio.Task[None] | None = None
        self._waiting: list[_Write] = []
        self._writer: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._on_copy = False
        self._closed = False

    async def look_up(self, address: MailAddress, *, whole: bool = True) -> Entry | None:  # noqa: ARG002 - all of it costs no more
        await self._ask()
        return self._document.look_up(address)

    async def bind(self, binding: Binding) -> None:
        await self._write(lambda draft: draft.bind(binding))

    async def bind_many(self, bindings: Iterable[Binding], progress: Callable[[int], object] = _nobody) -> int:
        """Bind all, in batches that are stored one by one: what fails half way is made good by doing it again.

        `bindings` is read in another thread, and what it raises comes out here.
        """
        source = iter(bindings)
        total = 0
        while batch := await asyncio.to_thread(lambda: list(islice(source, IMPORT_BATCH))):
            total += await self._write(lambda draft, batch=batch: draft.bind_many(batch))  # type: ignore[misc]
            progress(total)
        return total

    async def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool:
        return await self._write(lambda draft: draft.unbind(address, at))

    async def add(self, address: MailAddress) -> bool:
        return await self._write(lambda draft: draft.add(address))

    async def describe(self, address: MailAddress, details: Details) -> bool:
        return await self._write(lambda draft: draft.describe(address, details))

    async def remove(self, address: MailAddress) -> bool:
        return await self._write(lambda draft: draft.remove(address))

    async def entries(self, after: str = "") -> AsyncIterator[Entry]:
        """All entries by key; what changes meanwhile is told as it is when its turn comes, each once at most."""
        await self._ask()
        while page := self._document.entries(after):
            for entry in page:
                yield entry
            after = page[-1].address.key
            await asyncio.sleep(0)

    async def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]:
        await self._ask()
        return self._document.bound_to(endpoint)

    async def watch(self) -> AsyncIterator[MailAddress]:
        """Our own changes at once, others' within POLL_SECONDS; ends when the chart is closed."""
        if self._stored is None:
            await self._look()
            seen = self._began
        else:
            seen = self._document.last_change
        while not self._closed:
            changed = self._changed
            changes = self._document.changes_since(seen)
            for number, address in changes:
                seen = number
                yield address
            if not changes:
                await self._wait_for(changed)

    @property
    def generation(self) -> str:
        return self._document.generation

    async def position(self) -> int:
        await self._ask()
        return self._document.last_change

    async def changes_after(self, number: int, limit: int = 256) -> Sequence[Change] | None:
        return self._document.feed(number, limit)

    async def lapsed(self, after: datetime, until: datetime, key: str = "", limit: int = 256) -> Sequence[Entry]:
        return self._document.lapsed(after, until, key, limit)

    async def wait_after(self, number: int) -> None:
        """Our own changes at once, others' within POLL_SECONDS; at once when it is closed."""
        while not self._closed:
            changed = self._changed
            if self._document.last_change > number:
                return
            await self._wait_for(changed)

    async def close(self) -> None:
        """Do what waits, then let go. Idempotent; concurrent calls all wait for the end."""
        self._closed = True
        self._tell_watchers()
        if self._writer:
            await asyncio.wait({self._writer})
        if asking := {task for task in (self._asking, self._asking_next) if task}:
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)
        await self._resource.close()

    # --- asking --------------------

    async def _ask(self) -> None:
        """Have the document as it is now, or the last copy where that is wanted."""
        try:
            await self._ask_server()
        except ChartUnavailable as error:
            if not self._replica or self._stored is None or self._closed:
                raise
            if not self._on_copy:
                self._on_copy = True
                log.warning("chart answered from the last copy", why=str(error))
            return
        if self._on_copy:
            self._on_copy = False
            log.info("chart can be asked again")

    async def _ask_server(self) -> None:
        if self._closed:
            raise self._unavailable_when_closed()
        if self._asking_next is None:
            self._asking_next = asyncio.create_task(self._ask_after(self._asking))
            self._asking_next.add_done_callback(_retrieved)
        try:
            async with asyncio.timeout(self._timeout):
                # Those who come while a question is under way share the next: its answer may be older than they.
                await asyncio.shield(self._asking_next)
        except TimeoutError:
            raise self._unavailable_for_time() from None
        except asyncio.CancelledError:
            if self._closed:
                raise self._unavailable_when_closed() from None
            raise

    async def _ask_after(self, former: asyncio.Task[None] | None) -> None:
        if former and not former.done():
            await asyncio.wait({former})
        self._asking, self._asking_next = self._asking_next, None
        async with self._turn:
            await self._fetch()
            missing = self._stored is not None and not self._stored.exists
        if missing:
            await self._commit([])

    async def _fetch(self, *, locked: bool = False) -> None:
        """Bring the document up to date. `locked`: it is ours alone, and read without relying on its ETag."""
        former = None if locked else self._stored
        for tries_left in (2, 1, 0):
            stored = await self._resource.get(former)
            if stored is former:
                return
            try:
                if not (self._stored and stored.exists and stored.body == self._stored.body):
                    await self._adopt(stored)
                    if self._stored is None:
                        self._began = self._document.last_change
                self._stored = stored
                return
            except InvalidValue as error:
                # Some servers show a document half written.
                if not tries_left:
                    raise ChartUnavailable(f"{self._resource}, {error}") from None
                await asyncio.sleep(random.uniform(*PAUSES) / 2)  # noqa: S311

    async def _adopt(self, stored: Stored) -> None:
        if not stored.exists:
            if self._stored and self._stored.exists:
                raise ChartUnavailable(f"{self._resource} is gone; put it back, or start anew with an empty chart")
            self._document.adopt({})
        elif not stored.body and self._stored and not self._stored.exists:
            pass  # somebody's lock has made it of nothing (RFC 4918 §7.3): the document is about to come
        else:
            now = stored.modified or datetime.now(UTC)
            read = self._document.reading(stored.body, self._default_domain, now)
            self._document.adopt(read() if len(stored.body) < SMALL else await asyncio.to_thread(read))
        self._tell_watchers()

    async def _wait_for(self, changed: asyncio.Event) -> None:
        """Until something is changed here, or a look at the server is due, with that look."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await changed.wait()
                return
        await self._look()

    async def _look(self) -> None:
        """Ask the server for the watchers' sake; being closed meanwhile is no error."""
        try:
            await self._ask_server()
        except ChartUnavailable:
            if not self._closed:
                raise

    # --- writing --------------------

    async def _write(self, perform: Callable[[Draft], Result]) -> Result:
        if self._closed:
            raise self._unavailable_when_closed()
        if len(self._waiting) >= MAX_WAITING:
            raise ChartUnavailable(f"{self._resource}: {MAX_WAITING} changes wait to be written")
        write = _Write(perform, asyncio.get_running_loop().create_future())
        self._waiting.append(write)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_groups())
        result: Result = await write.done
        return result

    async def _write_groups(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # who asks in the same moment comes along
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            group = [write for write in group if not write.done.done()]
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self._commit(group)
            except TimeoutError:
                _fail(group, ChartUnavailable(f"{self._resource} could not be written within {WRITE_SECONDS:g} s"))
            except ChartUnavailable as error:
                _fail(group, error)
            except StoreError as error:
                _fail(group, ChartUnavailable(f"{self._resource}: {error}"))
            except Exception as error:  # a bug: for those who wait to tell
                _fail(group, error)
            self._tell_watchers()

    async def _commit(self, group: Sequence[_Write]) -> None:
        for _ in range(TRIES):
            async with self._turn:
                await self._fetch()  # a lock upon what is gone would make an empty document
            # A lock for each try: of two that are asked for at once mod_dav grants both, and knows one of them.
            token = await self._resource.lock()
            try:
                async with self._turn:
                    results = await self._put(group, token)
            finally:
                if token:
                    await asyncio.shield(self._resource.unlock(token))
            if results is not None:
                _settle(group, results)
                return
            await asyncio.sleep(random.uniform(*PAUSES))  # noqa: S311
        raise ChartUnavailable(f"{self._resource}: others came before us {TRIES} times; try again")

    async def _put(self, group: Sequence[_Write], token: str) -> Sequence[object] | None:
        """Apply the group to the newest document and put that. None: somebody else has come before."""
        await self._fetch(locked=bool(token))
        draft, results = _applied(group, self._document)
        assert self._stored
        if draft.changed or not self._stored.body:
            stored = await self._resource.put(text_of(self._document.lines(draft)), self._stored, token)
            if stored is None:
                return None
            self._document.take(draft)
            self._stored = stored
        return results

    def _tell_watchers(self) -> None:
        told, self._changed = self._changed, asyncio.Event()
        told.set()

    def _unavailable_for_time(self) -> ChartUnavailable:
        return ChartUnavailable(f"{self._resource} does not answer within {self._timeout:g} s")

    def _unavailable_when_closed(self) -> ChartUnavailable:
        return ChartUnavailable(f"{self._resource}: the chart is closed")


def _applied(group: Sequence[_Write], document: ChartDocument) -> tuple[Draft, Sequence[object]]:
    """The draft of all that can be done, and what came of each; one caller's mistake is his alone."""
    wrong: dict[int, Exception] = {}
    while True:
        draft = document.draft()
        results: list[object] = []
        for number, write in enumerate(group):
            if number in wrong:
                results.append(wrong[number])
                continue
            try:
                results.append(write.perform(draft))
            except Exception as error:
                wrong[number] = error
                break
        else:
            return draft, results


def _settle(group: Iterable[_Write], results: Sequence[object]) -> None:
    for write, result in zip(group, results, strict=True):
        if write.done.done():
            continue
        if isinstance(result, Exception):
            write.done.set_exception(result)
        else:
            write.done.set_result(result)


def _fail(group: Iterable[_Write], error: Exception) -> None:
    for write in group:
        if not write.done.done():
            write.done.set_exception(error)


def _retrieved(task: asyncio.Task[None]) -> None:
    """Those who asked may all have left."""
    if not task.cancelled():
        task.exception()
