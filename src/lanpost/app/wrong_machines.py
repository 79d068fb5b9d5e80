"""Another machine answers at a terminal's address: it is told in the log, and the terminal is asked where it is.

Nothing was given to that machine. The terminal hears the request wherever it is now, and its mail follows as soon
as it has registered.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

import structlog

from lanpost.errors import LanpostError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint

REST_SECONDS = 60.0  # an agent answers no sooner again
MAX_REMEMBERED = 1024  # terminals

log = structlog.get_logger()

Ask = Callable[[Sequence[MailAddress]], Awaitable[object]]


class WrongMachines:
    """`met` is called for each attempt that met one; `ask` has terminals asked to register."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._asked: OrderedDict[MailAddress, float] = OrderedDict()  # loop time, oldest first
        self._tasks: set[asyncio.Task[None]] = set()

    def met(self, endpoint: Endpoint, addresses: Sequence[MailAddress]) -> None:
        """Tell, and ask each terminal once a minute at most. Does not wait."""
        now = asyncio.get_running_loop().time()
        fresh = [each for each in addresses if now - self._asked.get(each, -REST_SECONDS) >= REST_SECONDS]
        if not fresh:
            return
        for address in fresh:
            self._asked.pop(address, None)
            self._asked[address] = now
        while len(self._asked) > MAX_REMEMBERED:
            self._asked.popitem(last=False)
        log.warning(
            "another machine has a terminal's address",
            endpoint=str(endpoint),
            terminals=[str(each) for each in fresh],
        )
        task = asyncio.ensure_future(self._have_asked(fresh))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ask nobody any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _have_asked(self, addresses: Sequence[MailAddress]) -> None:
        try:
            await self._ask(addresses)
        except LanpostError as error:
            log.warning("terminals not asked to register", reason=str(error))
