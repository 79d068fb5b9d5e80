"""Further processes of one server: they receive, deliver and serve mailboxes at the same ports as the first.

The first process is the registrar's; the others have a spool and a queue of their own, and share chart, accounts
and mailboxes. Each tells the first what it has done, by JSON lines on its standard output, and ends when that is
gone: its standard input is a pipe from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from lanpost.app.readiness import OF_THIS_PROCESS
from lanpost.app.settings import Settings
from lanpost.errors import LanpostError
from lanpost.net.listening_sockets import hand_on
from lanpost.store.program_file import own_command

log = structlog.get_logger()

RESTART_SECONDS = 1.0  # before a worker that has ended by itself is started again
REPORT_SECONDS = 1.0  # how old the figures of a worker may be
SILENT_SECONDS = 60.0  # a worker that has not reported for so long hangs; as long as systemd waits for the first
STOP_SECONDS = 40.0  # a worker that has not drained by then is killed
MAX_AUTO = 4  # more would be memory for nothing on a LAN
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None
MAX_LINE = 64 * 1024  # octets of one report


class Workers:
    """The further processes, numbered from 1. `run` keeps them alive until it is cancelled."""

    def __init__(
        self,
        count: int,
        file: Path | None,
        *,
        sockets: Callable[[int], Mapping[str, socket.socket]] = lambda _: {},
        gone: Callable[[int], object] = lambda _: None,
        back: Callable[[int], object] = lambda _: None,
    ) -> None:
        """`sockets`: those that a process listens at. `gone` is told of one that does not serve, yet or any
        more; `back` of one that does, at each of its reports.
        """
        # The very program that runs here, also where another version has been put in its place meanwhile.
        self._command = [*own_command(), "serve", *(["--config", str(file)] if file else [])]
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._latest: dict[int, dict[str, int]] = {}
        self._ended: dict[str, int] = {}  # what workers did that are no more
        self._numbers = range(1, count)
        self._stopping = asyncio.Event()
        self._sockets, self._gone, self._back = sockets, gone, back

    def total(self, name: str) -> int:
        """One figure of all of them together."""
        return self._ended.get(name, 0) + sum(latest.get(name, 0) for latest in self._latest.values())

    async def start(self) -> None:
        """Start all and wait until each serves. LanpostError where one cannot."""
        for number in self._numbers:
            self._gone(number)
        processes = {number: await self._spawn(number) for number in self._numbers}
        for number, process in processes.items():
            if not await self._first_report(number, process):
                raise LanpostError(f"worker {number} has ended at its start; its own message says why")
            self._back(number)

    async def run(self) -> None:
        """Watch over them; returns when all have ended after `stop`."""
        await asyncio.gather(*(self._keep(number) for number in self._numbers))

    def signal(self, number: int) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def stop(self) -> None:
        """Let them drain, then end. Idempotent."""
        self._stopping.set()
        self.signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()

    async def _spawn(self, number: int) -> asyncio.subprocess.Process:
        environment = {name: value for name, value in os.environ.items() if name not in OF_THIS_PROCESS}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        descriptors = hand_on(self._sockets(number), environment)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                "--worker",
                str(number),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MAX_LINE,
                env=environment,
                pass_fds=descriptors,
                preexec_fn=_end_with_first,
            )
        except OSError as error:
            raise LanpostError(
                f"worker {number} cannot be started with {self._command[0]}: {error.strerror or error}; the user "
                "that runs lanpost must be able to read and run it"
            ) from None
        self._processes[number] = process
        return process

    async def _first_report(self, number: int, process: asyncio.subprocess.Process) -> bool:
        assert process.stdout is not None
        return self._note(number, await process.stdout.readline())

    async def _keep(self, number: int) -> None:
        while True:
            process = self._processes[number]
            assert process.stdout is not None
            while self._note(number, await self._next_report(number, process.stdout)):
                self._back(number)
            status = await process.wait()
            for name, value in self._latest.pop(number, {}).items():
                self._ended[name] = self._ended.get(name, 0) + value
            if self._stopping.is_set():
                return
            log.error("worker ended and is started again", worker=number, status=status)
            self._gone(number)
            while not await self._started_again(number):
                if self._stopping.is_set():
                    return

    async def _next_report(self, number: int, reports: asyncio.StreamReader) -> bytes:
        """Empty at the end of a process, which comes by our hand where it hangs."""
        try:
            # One that has told nothing yet may be reading a long spool.
            async with asyncio.timeout(SILENT_SECONDS if number in self._latest else None):
                return await reports.readline()
        except TimeoutError:
            log.error("worker hangs and is killed", worker=number, silent_seconds=SILENT_SECONDS)
            self._processes[number].kill()
            return b""

    async def _started_again(self, number: int) -> bool:
        """After a pause, so that one that ends at once does not keep the machine busy."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RESTART_SECONDS):
                await self._stopping.wait()
        if self._stopping.is_set():
            return False
        try:
            await self._spawn(number)
        except LanpostError as error:
            # No memory, no file handle, a program that is being replaced: the others go on, and it passes.
            log.error("worker not started", worker=number, reason=str(error))
            return False
        return True

    def _note(self, number: int, line: bytes) -> bool:
        """Remember a report. False: there are no more."""
        if not line:
            return False
        self._latest[number] = json.loads(line)
        return True


def _end_with_first() -> None:
    """In the new process: it holds listening sockets before it could notice that the first was killed."""
    if _LIBRARY:
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def worker_count(settings: Settings) -> int:
    """How many processes the settings ask for; "auto": one for each core that we may use, within MAX_AUTO."""
    if settings.workers:
        return settings.workers
    shared = (*settings.smtp.listen, *settings.submission.listen, *settings.pop3.listen, *settings.ldap.listen)
    if any(listen.port == 0 for listen in shared):
        return 1  # "any free port" is for trials
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_AUTO, cores)


async def report_to_first(figures: Callable[[], dict[str, int]]) -> None:
    """What a further process does beside its work: tell the first what was done, and end when that is gone."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4096):
            # The first was killed: so are we, that the ports and the spool are free when it is started again.
            os._exit(1)

    loop.add_reader(0, read)
    while True:
        with contextlib.suppress(BrokenPipeError):
            os.write(1, json.dumps(figures()).encode() + b"\n")
        await asyncio.sleep(REPORT_SECONDS)
