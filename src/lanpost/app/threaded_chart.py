"""A synchronous chart made asynchronous: inquiries straight, writes by one thread that shares out each fsync.

Satisfies the port `Chart` for a store whose reads take microseconds and whose writes wait for the disk.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from lanpost.errors import ChartUnavailable, StoreBusy, StoreError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import Change, ChartStore

MAX_WAITING = 10_000  # writes not yet taken up; one more is refused
MAX_GROUP = 1_000  # writes that share a transaction
SETTLED_AT_ONCE = 4  # callers who go on in one round of the event loop: mail has its turn in between
IMPORT_BATCH = 25_000  # bindings in a transaction of their own: other writes wait up to half a second for one
ENTRIES_PAGE = 128  # read at a time
FEED_PAGE = 256  # changes told at a time
POLL_SECONDS = 0.05  # how late a change made by another process is seen
READ_PAUSES = (0.001, 0.005, 0.02, 0.1, 0.3, 0.6, 1.0)  # seconds; while another process recovers the file

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Write:
    """One caller's change, and where he waits for it."""

    perform: Callable[..., object]  # a method of the store
    values: tuple[object, ...]
    done: asyncio.Future[Any]


def _nobody(_done: int) -> None:
    """For those who do not ask how far a long work has come."""


class ThreadedChart:
    """The ports `Chart` and `ChangeFeed` over a ChartStore, which it owns. For one event loop.

    A caller who is cancelled while he waits for a write cannot know whether it happened.
    """

    def __init__(self, store: ChartStore) -> None:
        self._store = store
        self._waiting: queue.Queue[_Write | None] = queue.Queue(MAX_WAITING)  # None: the end
        self._thread: threading.Thread | None = None
        self._changed = asyncio.Event()
        self._closed = False

    async def look_up(self, address: MailAddress, *, whole: bool = True) -> Entry | None:  # noqa: ARG002 - all of it costs no more
        try:
            return self._store.look_up(address)
        except StoreBusy:
            return await self._read(self._store.look_up, address)
        except StoreError as error:
            raise ChartUnavailable(str(error)) from error

    def look_up_now(self, address: MailAddress) -> Entry | None:
        """The inquiry without waiting. StoreBusy where that is not possible just now, StoreError."""
        return self._store.look_up(address)

    def version_now(self) -> int:
        """Another number whenever anybody may have changed anything. StoreBusy, StoreError."""
        return self._store.version()

    async def bind(self, binding: Binding) -> None:
        await self._write(self._store.bind, binding)

    async def bind_many(self, bindings: Iterable[Binding], progress: Callable[[int], object] = _nobody) -> int:
        """Bind all, in batches that are durable one by one: what fails half way is made good by doing it again.

        `bindings` is read in another thread, and what it raises comes out here.
        """
        source = iter(bindings)
        total = 0
        while batch := await asyncio.to_thread(lambda: list(islice(source, IMPORT_BATCH))):
            total += await self._write(self._store.bind_many, batch)
            progress(total)
        return total

    async def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool:
        return await self._write(self._store.unbind, address, at)

    async def add(self, address: MailAddress) -> bool:
        return await self._write(self._store.add, address)

    async def describe(self, address: MailAddress, details: Details) -> bool:
        return await self._write(self._store.describe, address, details)

    async def remove(self, address: MailAddress) -> bool:
        return await self._write(self._store.remove, address)

    async def entries(self, after: str = "") -> AsyncIterator[Entry]:
        """All entries by key; what changes meanwhile is told as it is when its turn comes, each once at most."""
        while page := await self._read(self._store.entries, after, ENTRIES_PAGE):
            after = page[-1].address.key
            waiting = [*reversed(page)]
            del page  # a reader may stop for long: nothing is held that he has had
            while waiting:
                yield waiting.pop()
            await asyncio.sleep(0)

    async def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]:
        return await self._read(self._store.bound_to, endpoint)

    async def watch(self) -> AsyncIterator[MailAddress]:
        """Our own changes at once, those of other processes within POLL_SECONDS; ends when the chart is closed."""
        seen = await self._read(self._store.last_change)
        while not self._closed:
            changed = self._changed  # taken before asking: what comes after the answer sets this one
            changes = await self._read(self._store.changes_since, seen)
            for _, address in changes:
                yield address
            if changes:
                seen = changes[-1][0]
                await asyncio.sleep(0)  # an import is hundreds of pages, and nothing else here lets others go on
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await changed.wait()

    @property
    def generation(self) -> str:
        return self._store.generation()

    async def position(self) -> int:
        return await self._read(self._store.last_change)

    async def changes_after(self, number: int, limit: int = FEED_PAGE) -> Sequence[Change] | None:
        return await self._read(self._store.feed, number, limit)

    async def wait_after(self, number: int) -> None:
        """Our own changes at once, those of other processes within POLL_SECONDS; at once when it is closed."""
        while not self._closed:
            changed = self._changed
            if await self._read(self._store.last_change) > number:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await changed.wait()

    async def lapsed(
        self, after: datetime, until: datetime, key: str = "", limit: int = FEED_PAGE
    ) -> Sequence[Entry]:
        return await self._read(self._store.lapsed, after, until, key, limit)

    async def close(self) -> None:
        """Do what waits, then let go. Idempotent; concurrent calls all wait for the end."""
        self._closed = True
        self._tell_watchers()
        await asyncio.shield(asyncio.to_thread(self._finish))

    async def _read(self, ask: Callable[..., Result], *values: object) -> Result:
        try:
            for pause in READ_PAUSES:
                try:
                    return ask(*values)
                except StoreBusy:
                    await asyncio.sleep(pause)
            return ask(*values)
        except StoreError as error:
            raise ChartUnavailable(str(error)) from error

    async def _write(self, perform: Callable[..., Result], *values: object) -> Result:
        if self._closed:
            raise ChartUnavailable(f"{self._store.file}: the chart is closed")
        loop = asyncio.get_running_loop()
        write = _Write(perform, values, loop.create_future())
        try:
            self._waiting.put_nowait(write)
        except queue.Full:
            raise ChartUnavailable(f"{self._store.file}: {MAX_WAITING} changes wait to be written") from None
        if self._thread is None:
            # A daemon: what was answered is on disk, so a program that forgets to close loses nothing.
            self._thread = threading.Thread(target=self._write_groups, args=(loop,), name="chart", daemon=True)
            self._thread.start()
        result: Result = await write.done
        return result

    def _write_groups(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread: until the end is announced, do all that waits in one transaction, and tell."""
        ended = False
        while not ended:
            group = [self._waiting.get()]
            with suppress(queue.Empty):
                while len(group) < MAX_GROUP and group[-1] is not None:
                    group.append(self._waiting.get_nowait())
            ended = group[-1] is None
            writes = [write for write in group if write is not None and not write.done.cancelled()]
            if writes:
                results = self._perform(writes)
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._settle, writes, results)

    def _perform(self, writes: Sequence[_Write]) -> Sequence[object]:
        """The result of each; an exception for all of them where their transaction failed."""
        try:
            with self._store.transaction():
                return [write.perform(*write.values) for write in writes]
        except StoreError as error:
            return [ChartUnavailable(str(error)) for _ in writes]
        except Exception as error:
            if len(writes) == 1:
                return [error]
            return [self._perform([write])[0] for write in writes]  # the others are not to blame

    def _settle(self, writes: Sequence[_Write], results: Sequence[object], at: int = 0) -> None:
        upto = len(writes) if self._closed else at + SETTLED_AT_ONCE
        for write, result in zip(writes[at:upto], results[at:upto], strict=True):
            if write.done.done():
                continue
            if isinstance(result, Exception):
                write.done.set_exception(result)
            else:
                write.done.set_result(result)
        if upto < len(writes):
            asyncio.get_running_loop().call_soon(self._settle, writes, results, upto)
        else:
            self._tell_watchers()

    def _tell_watchers(self) -> None:
        told, self._changed = self._changed, asyncio.Event()
        told.set()

    def _finish(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
        self._store.close()
