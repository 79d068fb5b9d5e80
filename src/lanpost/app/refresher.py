"""The registrar's refresh requests: everyone at each start and after a jump of the clock, the silent as they age.

Each request is sent three times within a second, since datagrams get lost; its number was stored before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from lanpost.app.certificates import FOLDER as KEYS_FOLDER
from lanpost.app.certificates import utc_now
from lanpost.app.settings import Settings
from lanpost.errors import InvalidRefresh, LanpostError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.net.broadcast import broadcast
from lanpost.service.ageing import Ageing, Call, batches, window_for
from lanpost.service.ports import Accounts, Chart, Clock
from lanpost.store.refresh_key import RefreshKey
from lanpost.store.refresh_numbers import RefreshNumbers
from lanpost.wire.refresh import MAX_TARGETS, RefreshRequest, SignedRefresh, server_id, target_of

log = structlog.get_logger()

COPIES = (0.0, 0.25, 0.5)  # seconds before each copy of a request
LONGEST_PAUSE, SHORTEST_PAUSE = 900.0, 1.0  # seconds between two looks at the chart
LOOKS_PER_SILENCE = 4  # while a binding is old and lives
TICK_SECONDS = 5.0
JUMP_SECONDS = 60.0  # by which the clock may run differently from the monotonic one between two ticks
AT_ONCE = 500  # entries looked at before others have their turn


@dataclass(frozen=True, slots=True)
class Sent:
    """What was asked, for people."""

    asked: int | None  # terminals by name; None: everyone
    window: float  # seconds within which they answer
    reached: tuple[str, ...]  # the links that it went to


class Refresher:
    """Makes refresh requests. `run` lasts as long as the server does."""

    def __init__(self, settings: Settings, chart: Chart, accounts: Accounts, clock: Clock = utc_now) -> None:
        """Raises StoreError."""
        self._chart = chart
        self._accounts = accounts
        self._clock = clock
        self._key = RefreshKey.open(settings.data / KEYS_FOLDER)
        self._numbers = RefreshNumbers(settings.data, int(clock().timestamp()))
        self._server = server_id(self._key.public)
        self._copying: set[asyncio.Task[None]] = set()
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Ask by these settings from now on."""
        registrar = settings.registrar
        self._is_on = registrar.refresh
        self._port = registrar.refresh_port
        self._further = tuple(Endpoint.of(host, self._port) for host in registrar.refresh_to)
        share = registrar.refresh_after / 100
        self._ageing = Ageing(share)
        pause = registrar.lifetime * (1 - share) / LOOKS_PER_SILENCE
        self._pause = min(max(pause, SHORTEST_PAUSE), LONGEST_PAUSE)

    @property
    def public_key(self) -> bytes:
        """What terminals know our requests by: Ed25519, raw."""
        return self._key.public

    async def run(self) -> None:
        """Ask whom it is time to ask, until cancelled. Failures are logged and made good later."""
        loop = asyncio.get_running_loop()
        due, why, trouble = loop.time(), "started", ""
        wall, steady = time.time(), time.monotonic()
        while True:
            if abs((time.time() - wall) - (time.monotonic() - steady)) > JUMP_SECONDS:
                due, why = loop.time(), why or "the clock jumped"
            wall, steady = time.time(), time.monotonic()
            if self._is_on and loop.time() >= due:
                try:
                    await self._look(why)
                    due, why, trouble = loop.time() + self._pause, "", ""
                except LanpostError as error:
                    due = loop.time() + TICK_SECONDS
                    if trouble != str(error):  # said once
                        trouble = str(error)
                        log.warning("terminals not asked to register", reason=trouble)
            await asyncio.sleep(min(max(0.05, due - loop.time()), TICK_SECONDS))

    async def refresh(self, addresses: Collection[MailAddress] = ()) -> Sent:
        """Ask these terminals, or everyone, now. Raises ChartUnavailable, StoreError, LanpostError: no link."""
        if not addresses:
            await self._walk()
            return await self._ask(None, await self._window_for_everyone(), "asked for")
        for address in addresses:
            accounts = self._accounts
            if accounts.terminal(address) or accounts.renamed(address):  # it may not have heard of its new name
                continue
            if await self._chart.look_up(address) is None:
                raise LanpostError(f"{address} is no terminal that is known here; `lanpost chart list` shows them")
        return await self._ask(tuple(addresses), window_for(len(addresses)), "asked for")

    async def learn(self, datagram: bytes) -> None:
        """A terminal shows the last request that it obeyed: one of ours, so we must not count below it. StoreError.

        Nobody else can make one: an endless number would make all later requests worthless.
        """
        try:
            shown = SignedRefresh.read(datagram)
        except InvalidRefresh:
            return
        if shown.request.server != self._server or shown.request.number <= self._numbers.last:
            return
        if not self._key.made(shown.signature, shown.signed):
            return
        if await asyncio.to_thread(self._numbers.raise_above, shown.request.number):
            log.warning("refresh requests had been counted further than known here", epoch=self._numbers.last[0])

    async def close(self) -> None:
        """Send no more copies."""
        for task in self._copying:
            task.cancel()
        await asyncio.gather(*self._copying, return_exceptions=True)

    async def _look(self, why: str) -> None:
        call = await self._walk()
        if why:
            await self._ask(None, await self._window_for_everyone(), why)
        elif call is not None:
            await self._ask(call.addresses, call.window, "silent for long")

    async def _walk(self) -> Call | None:
        ageing, now = self._ageing, self._clock()
        ageing.begin()
        batch = []
        async for entry in self._chart.entries():
            batch.append(entry)
            if len(batch) >= AT_ONCE:
                ageing.see(batch, now)
                batch.clear()
                await asyncio.sleep(0)
        ageing.see(batch, now)
        return ageing.end()

    async def _window_for_everyone(self) -> float:
        """A chart that was lost knows fewer terminals than are enrolled, and than will answer."""
        enrolled = await asyncio.to_thread(self._accounts.terminal_count)
        return window_for(max(self._ageing.listening, enrolled))

    async def _ask(self, addresses: Sequence[MailAddress] | None, window: float, why: str) -> Sent:
        named: list[Sequence[MailAddress]] = [()] if addresses is None else list(batches(addresses, MAX_TARGETS))
        epoch, sequence = await asyncio.to_thread(self._numbers.next, len(named))
        datagrams = [
            RefreshRequest(
                self._server,
                epoch,
                sequence + place,
                window,
                tuple(target_of(self._server, address.key) for address in batch),
            ).encode(self._key.sign)
            for place, batch in enumerate(named)
        ]
        reached = self._send(datagrams)
        if not reached:
            raise LanpostError("no link to ask terminals on: has this machine an address?")
        task = asyncio.ensure_future(self._copy(datagrams))
        self._copying.add(task)
        task.add_done_callback(self._copying.discard)
        log.info(
            "terminals asked to register",
            asked="everyone" if addresses is None else len(addresses),
            why=why,
            within=round(window, 1),
            number=f"{epoch}.{sequence}",
            links=reached,
        )
        return Sent(None if addresses is None else len(addresses), window, tuple(reached))

    async def _copy(self, datagrams: Sequence[bytes]) -> None:
        for pause in COPIES[1:]:
            await asyncio.sleep(pause)
            self._send(datagrams)

    def _send(self, datagrams: Sequence[bytes]) -> list[str]:
        reached: dict[str, None] = {}
        for datagram in datagrams:
            reached |= dict.fromkeys(broadcast(datagram, self._port, self._further))
        return list(reached)
