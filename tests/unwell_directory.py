"""Stands before a real directory and makes it slow, or busy, and well again.

    with Slapd() as slapd, UnwellDirectory(slapd) as directory:
        directory.be("slow")
        directory.be("well")

Has what a test needs to know of a directory (`url`, `base`, `bind_dn`, `password`); `slapd` is the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

from lanpost.wire.ldap_buffer import LdapBuffer
from lanpost.wire.ldap_encode import encode_operation
from lanpost.wire.ldap_messages import Result, ResultCode, SearchDone, SearchRequest
from tests.slapd import Slapd

PATIENCE = 30.0  # seconds that the thread may take for anything asked of it
HOLD = 60.0  # seconds that a slow directory needs for an answer: longer than anybody waits
CODES = {"busy": ResultCode.BUSY, "unavailable": ResultCode.UNAVAILABLE}


class UnwellDirectory:
    """It is `well` at first. `slow`: every answer is held back; `busy`, `unavailable`: searches are answered so."""

    def __init__(self, slapd: Slapd) -> None:
        self.slapd = slapd
        self.base, self.bind_dn, self.password = slapd.base, slapd.bind_dn, slapd.password
        self.refused = 0  # searches answered with busy or unavailable
        self.held = 0  # pieces of answers held back
        self._code: int | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="unwell directory")
        self._quick = asyncio.Event()
        self._quick.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def be(self, how: str) -> None:
        """From now on: `well`, `slow`, `busy` or `unavailable`."""

        async def become() -> None:
            self._code = CODES.get(how)
            self._quick.clear() if how == "slow" else self._quick.set()

        asyncio.run_coroutine_threadsafe(become(), self._loop).result(PATIENCE)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"ldap://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there, back = await asyncio.open_connection(self.slapd.host, self.slapd.port)
        except OSError:  # it is stopped
            writer.close()
            return
        answers = asyncio.ensure_future(self._answers(there, writer))
        try:
            with contextlib.suppress(ConnectionError):
                await self._requests(reader, writer, back)
        finally:
            answers.cancel()
            back.close()
            writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        buffer = LdapBuffer()
        while data := await reader.read(65536):
            buffer.append(data)
            while (message := buffer.next_message(1 << 20)) is not None:
                if self._code is not None and isinstance(message.operation, SearchRequest):
                    self.refused += 1
                    writer.write(encode_operation(message.id, SearchDone(Result(self._code))))
                else:
                    back.write(encode_operation(message.id, message.operation, message.controls))

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await there.read(65536):
                if not self._quick.is_set():
                    self.held += 1
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._quick.wait(), HOLD)
                writer.write(data)
        writer.close()
