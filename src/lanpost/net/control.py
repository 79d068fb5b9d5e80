"""The control socket: how commands on this machine ask the running server, one JSON line each way at a time.

A request is `{"command": NAME, "arguments": {...}}`. The answer is a line `{"item": ...}` for each item, then
`{"done": true}` or `{"error": "..."}`. Command and server may be of two versions: what either does not know of the
other's lines it leaves aside, and a command that the server does not know it refuses. Only the server's own user
can open the socket (mode 0600).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from lanpost.errors import LanpostError, ServerNotRunning, StoreError

log = structlog.get_logger()

Command = Callable[[Mapping[str, Any]], Awaitable[Iterable[Any]]]

MAX_REQUEST = 64 * 1024  # octets
MAX_CLIENTS = 16  # at a time; further ones wait in the backlog
REQUEST_SECONDS = 10.0  # for a request to come, and for each part of the answer to be read
ANSWER_SECONDS = 60.0  # that a command waits for the server's next line


class ControlListener:
    """Serves commands by name. A command raises LanpostError to refuse; what it returns is sent item by item."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._places = asyncio.Semaphore(MAX_CLIENTS)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. StoreError where the socket cannot be made."""
        try:
            if self._path.exists() and stat.S_ISSOCK(self._path.stat().st_mode):
                self._path.unlink()  # a killed server's: the spool's lock says that there is only one
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                os.fchmod(listening.fileno(), 0o600)  # what bind gives to the file
                with _short(self._path) as name:
                    listening.bind(name)
                self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MAX_REQUEST)
            except BaseException:
                listening.close()
                raise
        except OSError as error:
            raise StoreError(f"the control socket {self._path} cannot be made: {error.strerror}") from None

    async def stop(self) -> None:
        """Listen no more; commands under way are broken off. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with self._places, asyncio.timeout(REQUEST_SECONDS):
                line = await reader.readline()
            await self._answer(line, writer)
        except (OSError, TimeoutError, ValueError, asyncio.CancelledError):
            log.debug("control client gone")
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            for item in await self._perform(line):
                writer.write(_line({"item": item}))
                async with asyncio.timeout(REQUEST_SECONDS):
                    await writer.drain()
            writer.write(_line({"done": True}))
        except LanpostError as error:
            writer.write(_line({"error": str(error)}))

    async def _perform(self, line: bytes) -> Iterable[Any]:
        try:
            request = json.loads(line)
            command, arguments = request["command"], request.get("arguments", {})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise LanpostError("not a control request") from None
        if not isinstance(command, str) or not isinstance(arguments, dict):
            raise LanpostError("not a control request")
        if command not in self._commands:
            raise LanpostError(f"the running server does not know {command!r}; it may be of another version")
        log.debug("control", command=command)
        return await self._commands[command](arguments)


def ask(path: Path, command: str, **arguments: Any) -> Iterator[Any]:
    """Ask the running server from a program that has no event loop; the items come as they are sent.

    ServerNotRunning: nobody answers there. LanpostError: the server refuses, or this user may not ask.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            with _short(path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise ServerNotRunning(
                f"no server is running with {path.parent}; start it with `lanpost serve`"
            ) from None
        except PermissionError:
            raise LanpostError(f"{path}: permission denied; ask as the user that the server runs as") from None
        except OSError as error:
            raise LanpostError(f"{path}: the server cannot be asked: {error}") from None
        try:
            connection.sendall(_line({"command": command, "arguments": arguments}))
            yield from _items(connection)
        except OSError as error:
            raise LanpostError(f"the server stopped answering: {error}") from None


def _items(connection: socket.socket) -> Iterator[Any]:
    with connection.makefile("rb") as lines:
        for line in lines:
            answer = json.loads(line)
            if "error" in answer:
                raise LanpostError(answer["error"])
            if "done" in answer:
                return
            if "item" in answer:
                yield answer["item"]
    raise LanpostError("the server stopped in the middle of its answer; try again")


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name of the socket short enough for the system, which takes 107 octets, wherever `data` is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
