"""One `ssh` to one machine, and the first stage of `lanpost push` behind it.

Keys, agents, jump hosts, known hosts and addresses are ssh's affair, as the user has set them up. Everything here
raises PushFailed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from lanpost.content.ssh_words import SUDO_PROMPT, explain
from lanpost.errors import PushFailed
from lanpost.wire.push import BOOTSTRAP, Event, Failed, PushSession, Ready, State, plain

READ = 1 << 16  # octets at a time
KEPT_ERRORS = 16_000  # octets of what ssh says on stderr
GRACE = 0.5  # seconds for the last of stderr: a shared connection (ControlPersist) keeps it open for hours
LOGIN = 120.0  # seconds for logging in, where nobody can be asked; a key may want to be touched
END = 5.0  # seconds for ssh to end by itself once all is said
# Behind the user's own options, which count where both name one.
OPTIONS = ("ClearAllForwardings=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4")

Wanted = TypeVar("Wanted", bound=Event)
Other = TypeVar("Other", bound=Event)


@dataclass(frozen=True, slots=True)
class Way:
    """How machines are reached. `options` as `ssh -o` takes them.

    `may_ask`: ssh may ask for passwords and about unknown host keys, at the terminal. `sudo_password` None: sudo
    asks for none.
    """

    user: str = ""
    options: Sequence[str] = ()
    may_ask: bool = False
    sudo: bool = False
    sudo_password: str | None = None

    def command(self, host: str) -> list[str]:
        """What is started."""
        given = [*self.options, *OPTIONS, *([] if self.may_ask else ["BatchMode=yes"])]
        user = ["-l", self.user] if self.user and "@" not in host else []
        words = ["ssh", "-T", *user, *(word for option in given for word in ("-o", option)), "--", host]
        sudo = ""
        if self.sudo:
            sudo = f"sudo -S -p {SUDO_PROMPT} -- " if self.sudo_password is not None else "sudo -n -- "
        return [*words, f"{sudo}python3 -I -c '{BOOTSTRAP}'"]


class SshConnection:
    """The session with the first stage at `host`, in a `with`; at its end ssh has ended."""

    def __init__(self, host: str, way: Way) -> None:
        self.session = PushSession()
        self._host = host
        self._way = way
        self._errors = b""
        self._wrong_password = False

    async def __aenter__(self) -> Self:
        try:
            self._process: Process = await asyncio.create_subprocess_exec(
                *self._way.command(self._host),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env={**os.environ, "LC_ALL": "C"},  # what it says is read here
            )
        except OSError as error:
            raise PushFailed(f"ssh cannot be started ({error.strerror}): install openssh-client here") from None
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        process = self._process
        if process.stdin:
            process.stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END if kind is None else GRACE):
                    await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            self._listener.cancel()
            await asyncio.gather(self._listener, process.wait(), return_exceptions=True)

    async def ready(self) -> None:
        """Return when Python is there. Whoever may be asked at the terminal is given all the time he wants."""
        try:
            async with asyncio.timeout(None if self._way.may_ask else LOGIN):
                await self.event(Ready)
        except TimeoutError:
            raise PushFailed(f"nothing is heard for {LOGIN:.0f} s after logging in: try ssh {self._host}") from None

    async def event(self, wanted: type[Wanted]) -> Wanted:
        """The next word, which is of this kind; otherwise, and where nothing comes any more, PushFailed."""
        return await self.either(wanted, wanted)

    async def either(self, wanted: type[Wanted], other: type[Other]) -> Wanted | Other:
        """The next word, which is of one of these kinds; PushFailed as above."""
        event = await self._next()
        if isinstance(event, Failed):
            raise PushFailed(_said(event))
        if not isinstance(event, wanted | other):
            raise PushFailed(f"it says {type(event).__name__} where that has no meaning: please report it")
        return event

    async def send(self, data: bytes = b"") -> None:
        """What the session has to send, then `data`. Where nobody reads, the next event says why."""
        assert self._process.stdin
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(self.session.data_to_send() + data)
            await self._process.stdin.drain()

    async def _next(self) -> Event:
        assert self._process.stdout
        while (event := self.session.next_event()) is None:
            data = await self._process.stdout.read(READ)
            if not data:
                raise PushFailed(await self._why())
            self.session.receive_data(data)
        return event

    async def _why(self) -> str:
        """Nothing more comes: what ssh, the shell there or sudo had to say."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await asyncio.shield(self._listener)
        try:
            async with asyncio.timeout(END):
                status: int | None = await self._process.wait()
        except TimeoutError:
            status = None
        if self._wrong_password:
            return "sudo does not take that password"
        errors = plain(self._errors.decode("utf-8", "replace").replace("\r", ""))
        if self.session.state is State.INSTALLING:
            return (
                "the connection broke while it installed, which it brings to its end: push again in a minute to see"
            )
        if self.session.state in (State.PLANNED, State.SENDING):
            last = "; ".join(errors.strip().splitlines()[-1:])
            return f"the connection broke{f' ({last.strip()})' if last else ''}: push again, it goes on from there"
        return explain(self._host, status, errors, self.session.noise)

    async def _listen(self) -> None:
        """Keep what is said on stderr, and answer sudo."""
        assert self._process.stderr
        assert self._process.stdin
        answered = False
        while data := await self._process.stderr.read(READ):
            self._errors = (self._errors + data)[-KEPT_ERRORS:]
            if not self._errors.endswith(SUDO_PROMPT.encode()) or self._way.sudo_password is None:
                continue
            if answered:
                self._wrong_password = True
                self._process.stdin.close()  # sudo gives up
                continue
            answered = True
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(self._way.sudo_password.encode() + b"\n")
                await self._process.stdin.drain()


def _said(failed: Failed) -> str:
    """What the first stage says, with a remedy."""
    remedies = {
        "busy": "wait for its end, or a minute if it broke off",
        "full": "make room there and push again",
        "damaged": "push again",
        "interrupted": "push again, it goes on from there",
        "internal": "please report it",
    }
    remedy = remedies.get(failed.kind)
    return f"{failed.text}: {remedy}" if remedy else failed.text
