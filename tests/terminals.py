"""Terminals for tests of whole programs: scripted endpoints in a thread of their own, so that the test may block.

with Terminals() as terminals:
    fax1 = terminals.listen(program.new_endpoint())
    ...
    program.wait_until(lambda: len(fax1.mails) == 1, "the mail")
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.sessions.scripted_endpoint import Mail, ScriptedEndpoint

PATIENCE = 30.0  # seconds that the thread may take for anything asked of it

Result = TypeVar("Result")


class Terminals:
    """All endpoints of one test."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="terminals")
        self._listening: dict[int, AsyncExitStack] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stack in self._listening.values():
            self._do(stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def listen(self, at: tuple[str, int], endpoint: ScriptedEndpoint | None = None) -> ScriptedEndpoint:
        """An endpoint at that address and port, taking everything unless it is told otherwise."""
        return self._do(self._listen(at, endpoint or ScriptedEndpoint()))

    def switch_off(self, endpoint: ScriptedEndpoint) -> None:
        """From now on connections to it are refused; those it had are lost."""
        self._do(self._listening.pop(id(endpoint)).aclose())

    def let_go(self, endpoint: ScriptedEndpoint) -> None:
        """It waits no longer where it `waits_at`."""
        self._loop.call_soon_threadsafe(endpoint.go_on.set)

    async def _listen(self, at: tuple[str, int], endpoint: ScriptedEndpoint) -> ScriptedEndpoint:
        stack = AsyncExitStack()
        await stack.enter_async_context(endpoint.listening(*at))
        self._listening[id(endpoint)] = stack
        return endpoint

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


def subjects(mails: Iterable[Mail]) -> list[str]:
    """By these the tests tell their mails apart; in the order of arrival."""
    return [
        line.partition(b":")[2].strip().decode()
        for mail in mails
        for line in mail.content.partition(b"\r\n\r\n")[0].split(b"\r\n")
        if line.lower().startswith(b"subject:")
    ]
