"""A POP3 server of ours in a thread, for clients that block: poplib, and programs of other people."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from lanpost.model.account import User
from lanpost.model.address import MailAddress
from lanpost.net.listener import Listener
from lanpost.net.login_delays import LoginDelays
from lanpost.net.pop3 import REFUSAL, Pop3Service
from lanpost.store.authority import Authority, Names
from lanpost.store.maildir import MaildirMailboxes

DOMAIN = "office.lan"
ANNA = MailAddress.parse(f"anna@{DOMAIN}")
OTTO = MailAddress.parse(f"otto@{DOMAIN}")
PASSWORD = "correct horse"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Loopback:
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(slots=True)
class Running:
    """What a test sees of the server."""

    mailboxes: MaildirMailboxes
    ca_file: Path
    listener: Listener = field(init=False)
    service: Pop3Service = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)

    @property
    def port(self) -> int:
        return self.listener.ports[0]

    def put(self, *contents: bytes, address: MailAddress = ANNA) -> None:
        for future in [self.mailboxes.deliver(address, [content]) for content in contents]:
            future.result(60)

    def kept(self, address: MailAddress = ANNA) -> list[bytes]:
        """What the mailbox holds now; waits until the session that has it has ended."""
        session = self.mailboxes.open_session(address)
        try:
            return [b"".join(session.chunks(index)) for index in range(len(session.sizes()))]
        finally:
            session.close()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def all_gone(self) -> None:
        """Wait until every client's task has ended."""
        while self.service.tasks:
            await asyncio.wait(self.service.tasks)

    def client_tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.check_hostname = False
        return context


async def _authenticate(login: str, password: str) -> User | None:
    address = MailAddress.parse(login, DOMAIN)
    return User(address, "", datetime.now(UTC)) if password == PASSWORD else None


@contextmanager
def running_pop3(
    folder: Path,
    *,
    tls: bool = True,
    plaintext: bool = True,
    idle_seconds: float = 60.0,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[Running]:
    """Anna and Otto with their mailboxes; their password is PASSWORD."""
    mailboxes = MaildirMailboxes(folder / "mailboxes", domain=DOMAIN, quota=10**9, warning=90)
    mailboxes.create(ANNA)
    mailboxes.create(OTTO)
    now = datetime.now(UTC)
    authority = Authority.open(folder / "ca", now)
    context = authority.ssl_context(Names(hosts=["127.0.0.1"]), now) if tls else None
    running = Running(mailboxes, authority.ca_file)
    ready: Future[None] = Future()
    stop: Future[None] = Future()

    async def serve() -> None:
        running.loop = asyncio.get_running_loop()
        running.service = Pop3Service(
            authenticate=_authenticate,
            open_mailbox=mailboxes.open_session,
            networks_without_tls=[ipaddress.ip_network("127.0.0.0/8")] if plaintext else [],
            idle_seconds=idle_seconds,
            delays=LoginDelays(first=0.001),
        )
        running.listener = Listener("pop3", [Loopback()], running.service.connection, refusal=REFUSAL, tls=context)
        await running.listener.start()
        ready.set_result(None)
        await asyncio.wrap_future(stop)
        await running.listener.drain(5)
        await running.service.close()

    def thread() -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    server = threading.Thread(target=thread, name="pop3-server")
    server.start()
    try:
        ready.result(30)
        yield running
    finally:
        stop.set_result(None)
        server.join(30)
        mailboxes.close()
