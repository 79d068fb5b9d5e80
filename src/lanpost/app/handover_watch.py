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
from lanpost.model.binding import Binding
from lanpost.service.handover import settle, shared_endpoints
from lanpost.service.ports import Chart, Clock

log = structlog.get_logger()

LOOK_SECONDS = 60.0  # at least, from one look at the whole chart to the next


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
        self._all = False  # so is the whole chart: some may have been missed
        self._looked = float("-inf")  # when it was last, by the loop's clock
        self._more = asyncio.Event()

    async def run(self) -> None:
        """Follow the chart, and settle each address that is bound."""
        loop = asyncio.get_running_loop()
        watching = asyncio.create_task(watch_registrations(self._chart, self._began, self._note))
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._looked + LOOK_SECONDS if self._all else None):
                        await self._more.wait()
                self._more.clear()
                try:
                    if self._all and loop.time() >= self._looked + LOOK_SECONDS:
                        await self._look_at_all()
                    await self._settle()
                except ChartUnavailable:  # the watch says so, and begins anew
                    self._all = True
                except Exception:
                    log.exception("chart cannot be watched")
        finally:
            watching.cancel()

    async def _look_at_all(self) -> None:
        self._all, self._looked = False, asyncio.get_running_loop().time()
        for address in await shared_endpoints(self._chart.entries(), self._clock()):
            self._bound[address] = None

    async def _settle(self) -> None:
        while self._bound:
            address = next(iter(self._bound))
            await settle(self._chart, address, self._clock(), log_dropped)
            self._bound.pop(address, None)
            await asyncio.sleep(0)  # a chart in memory never waits

    def _began(self) -> None:
        self._all = True
        self._more.set()

    def _note(self, address: MailAddress) -> None:
        self._bound[address] = None
        self._more.set()


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
