"""An SMTP endpoint that does what a test tells it to: answers, stalls, drops, at any command."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
import uvloop

from lanpost.model.endpoint import Endpoint

STALL = b"<stall>"  # no answer, ever
DROP = b"<drop>"  # the connection is reset
CLOSE = b"<close>"  # the connection is closed
PLAIN = (b"terminal",)
PIPELINING = (b"terminal", b"PIPELINING", b"SIZE 1000000", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES", b"DSN")
CHUNKING = (*PIPELINING, b"CHUNKING")


def on_both_loops(test: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """Runs a test on asyncio's loop and on uvloop's, which is the one in use."""

    @pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    @functools.wraps(test)
    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: object) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(**arguments))

    signature = inspect.signature(test)
    new_loop = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*signature.parameters.values(), new_loop]
    vars(run)["__signature__"] = signature.replace(parameters=parameters)  # what pytest asks for arguments by
    return cast("Callable[..., None]", run)


@dataclass
class Mail:
    sender: bytes
    recipients: list[bytes]
    content: bytes  # dot-stuffed as it came by DATA


@dataclass
class ScriptedEndpoint:
    """`answers`: to a verb, "greeting", "content" (its end) or "amid" (its first octets); `at` once it listens."""

    offers: tuple[bytes, ...] = PIPELINING
    answers: dict[str, bytes] = field(default_factory=dict)
    decide: Callable[[str, int], bytes | None] = lambda verb, connection: None
    waits_at: str = ""  # before it answers this, it waits until `go_on` is set
    reads_one_command_at_a_time: bool = False  # what is pipelined behind a command is lost
    max_connections: int = 1000
    mails: list[Mail] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0
    at: Endpoint = field(default_factory=lambda: Endpoint("127.0.0.1", 1))
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with self.changed:
            await self.changed.wait_for(reached)

    async def _note(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[ScriptedEndpoint]:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)

        server = await asyncio.start_server(serve, host, port, limit=2**22)
        self.at = Endpoint.of(host, server.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        number = self.connections
        self.writers.append(writer)
        try:
            await self._note()
            if self.open > self.max_connections:
                await self._answer(reader, writer, b"421 4.7.0 too many connections")
                return
            await self._session(reader, writer, number)
        finally:
            self.open -= 1
            self.writers.remove(writer)
            writer.close()
            await self._note()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        default = {
            "greeting": b"220 terminal ready",
            "EHLO": b"\r\n".join(
                b"250%c%s" % (b" -"[n < len(self.offers) - 1], offer) for n, offer in enumerate(self.offers)
            ),
            "HELO": b"250 terminal",
            "MAIL": b"250 2.1.0 sender ok",
            "RCPT": b"250 2.1.5 recipient ok",
            "DATA": b"354 go ahead",
            "BDAT": b"250 2.0.0 taken",
            "content": b"250 2.0.0 taken",
            "RSET": b"250 2.0.0 reset",
            "QUIT": b"221 2.0.0 bye",
        }
        default.update(self.answers)

        async def answer(verb: str) -> bool:
            """False: the session is over."""
            if verb == self.waits_at:
                await self.go_on.wait()
            said = self.decide(verb, number) or default.get(verb, b"500 5.5.1 what?")
            return await self._answer(reader, writer, said)

        if not await answer("greeting"):
            return
        mail = Mail(b"", [], b"")
        while line := await reader.readline():
            command = line.rstrip(b"\r\n")
            self.commands.append(command)
            await self._note()
            verb = command.split(b" ")[0].decode().upper()
            if self.reads_one_command_at_a_time and verb != "BDAT":
                reader._buffer.clear()  # type: ignore[attr-defined]
            if verb == self.waits_at:
                await self.go_on.wait()
            if verb == "MAIL":
                mail = Mail(command[10:], [], b"")
            elif verb == "BDAT":
                mail.content += await reader.readexactly(int(command.split(b" ")[1]))
            said = self.decide(verb, number) or default.get(verb, b"500 5.5.1 what?")
            if verb == "RCPT" and said[:1] == b"2":
                mail.recipients.append(command[8:])
            if verb in ("DATA", "BDAT") and not mail.recipients and said[:1] in b"23":
                said = b"554 5.5.1 no recipients"
            if verb == "BDAT" and said[:1] == b"2":
                self.mails.append(mail)
            if not await self._answer(reader, writer, said) or verb == "QUIT":
                return
            if verb == "DATA" and said[:1] == b"3":
                if "amid" in self.answers:
                    await reader.readexactly(1)
                    if not await answer("amid"):
                        return
                content = bytearray(b"\r\n" + await reader.readuntil(b".\r\n"))
                while not content.endswith(b"\r\n.\r\n"):
                    content += await reader.readuntil(b".\r\n")
                mail.content = bytes(content[2:-3])
                if (self.decide("content", number) or default["content"])[:1] == b"2":
                    self.mails.append(mail)
                if not await answer("content"):
                    return
            await self._note()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes) -> bool:
        if said == STALL:
            while await reader.read(65536):
                pass
            return False
        if said == DROP:
            writer.transport.abort()
            return False
        if said == CLOSE:
            return False
        writer.write(said + b"\r\n")
        await writer.drain()
        return not said.startswith(b"421")
