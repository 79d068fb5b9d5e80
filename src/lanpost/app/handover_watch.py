"""Watches over the chart that no endpoint leads to two terminals, whoever writes it: registrars of other processes,
terminals that register with the directory itself, people with `lanpost chart set` or an editor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from lanpost.app.registration_watch import watch_registrations
from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.service.handover import settle, shared_endpoints
from lanpost.service.ports import Chart, Clock

log = structlog.get_logger()

LOOK_SECONDS = 60.0  # at least, from one look at the whole chart to the next
AT_ONCE = 256  # entries
IDLE_SHARE = 9.0  # of the time that these took: it works a tenth of the time


def log_dropped(binding: Binding, why: str) -> None:
    """The event that tells of a binding taken away."""
    log.info(
        "binding dropped",
        address=str(binding.address),
        endpoint=str(binding.endpoint),
        source=binding.source.value,
        why=why,
    )


class HandoverWatch:
    """`run` until cancelled. Only one process of a server needs one."""

    def __init__(self, chart: Chart, clock: Clock) -> None:
        self._chart = chart
        self._clock = clock
        self._bound: dict[MailAddress, None] = {}  # to be looked at
        self._more = asyncio.Event()
        self._missed = asyncio.Event()  # some may have been bound unseen

    async def run(self) -> None:
        """Follow the chart, and settle each address that is bound."""
        async with asyncio.TaskGroup() as duties:
            duties.create_task(watch_registrations(self._chart, self._missed.set, self._note))
            duties.create_task(self._settle())
            duties.create_task(self._look_at_all())

    async def _settle(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._bound:
                address = next(iter(self._bound))
                del self._bound[address]
                try:
                    await settle(self._chart, address, self._clock(), log_dropped)
                except ChartUnavailable:  # the watch says so, and begins anew
                    self._missed.set()
                except Exception:
                    log.exception("chart cannot be watched")
                await asyncio.sleep(0)  # a chart in memory never waits

    async def _look_at_all(self) -> None:
        """When the watch has begun: for what was written while nobody watched."""
        while True:
            await self._missed.wait()
            self._missed.clear()
            try:
                for address in await shared_endpoints(_unhurried(self._chart.entries()), self._clock()):
                    self._note(address)
            except ChartUnavailable:
                self._missed.set()
            except Exception:
                log.exception("chart cannot be watched")
            await asyncio.sleep(LOOK_SECONDS)

    def _note(self, address: MailAddress) -> None:
        self._bound[address] = None
        self._more.set()


async def _unhurried(entries: AsyncIterator[Entry]) -> AsyncIterator[Entry]:
    """The same, with pauses: a million entries must not keep mail waiting."""
    loop = asyncio.get_running_loop()
    began, count = loop.time(), 0
    async for entry in entries:
        yield entry
        count += 1
        if not count % AT_ONCE:
            await asyncio.sleep(IDLE_SHARE * (loop.time() - began))
            began = loop.time()


@asynccontextmanager
async def watching_handovers(chart: Chart, clock: Clock) -> AsyncIterator[None]:
    """While this is entered."""
    task = asyncio.create_task(HandoverWatch(chart, clock).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
