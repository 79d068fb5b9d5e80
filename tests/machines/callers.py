"""Clients that come one after another, whatever the server is doing: how each fared is kept."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.lab.network import PATIENCE

Call = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


@dataclass
class Caller:
    """One port, called every `pause` seconds by a new client each time."""

    host: str
    port: int
    call: Call
    pause: float
    tls: ssl.SSLContext | None = None
    waited: list[float] = field(default_factory=list)  # seconds, of those who got what they came for
    failed: list[str] = field(default_factory=list)  # why the others did not

    async def run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as clients:
            number = 0
            while not stop.is_set():
                clients.create_task(self._come(number))
                number += 1
                await asyncio.sleep(self.pause)

    async def _come(self, number: int) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
                try:
                    await self.call(reader, writer, number)
                finally:
                    writer.close()
            self.waited.append(time.monotonic() - began)
        except (OSError, EOFError, AssertionError) as error:
            self.failed.append(f"client {number}, after {time.monotonic() - began:.2f} s: {error!r}")


class Callers:
    """Several of them, at work within a `with`, in a thread of their own."""

    def __init__(self, *callers: Caller) -> None:
        self._callers = callers
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(2 * PATIENCE)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await asyncio.gather(*(caller.run(self._stop) for caller in self._callers))


async def hand_in_a_mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """To anna, with its number as subject."""
    await _reply(reader, b"220")
    for line, code in (
        (b"EHLO client", b"250"),
        (b"MAIL FROM:<me@office.lan>", b"250"),
        (b"RCPT TO:<anna@office.lan>", b"250"),
        (b"DATA", b"354"),
        (b"Subject: %d\r\n\r\nx\r\n." % number, b"250"),
        (b"QUIT", b"221"),
    ):
        writer.write(line + b"\r\n")
        await _reply(reader, code)


async def be_greeted_by_pop3(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
    line = await reader.readline()
    assert line.startswith(b"+OK"), line
    writer.write(b"QUIT\r\n")
    line = await reader.readline()
    assert line.startswith(b"+OK"), line


async def ask_for_health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    line = await reader.readline()
    assert line.startswith(b"HTTP/1.1 200"), line


async def read_the_root_of_ldap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _number: int) -> None:
    """A search of the root entry, for nothing of it (RFC 4511 s.4.5.1, attribute "1.1")."""
    limits = b"\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00"
    search = b"\x04\x00" + limits + b"\x87\x0bobjectClass\x30\x05\x04\x031.1"
    request = b"\x02\x01\x01\x63" + bytes([len(search)]) + search
    writer.write(b"\x30" + bytes([len(request)]) + request)
    answer = await reader.read(1000)
    assert b"\x02\x01\x01\x64" in answer, answer


async def _reply(reader: asyncio.StreamReader, code: bytes) -> None:
    while True:
        line = await reader.readline()
        assert line.startswith(code), line
        if line[3:4] == b" ":
            return
