"""A directory in memory, and one on loopback, for tests of what is asked of it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from lanpost.app.threaded_chart import ThreadedChart
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint
from lanpost.net.ldap import REFUSAL, LdapService
from lanpost.net.ldap_operations import Operations
from lanpost.net.ldap_searches import Searches, SearchRules
from lanpost.net.ldap_sync import SyncProvider
from lanpost.net.listener import ConnectionLimits, Listener
from lanpost.net.login_delays import LoginDelays
from lanpost.service.credentials import sha256_of
from lanpost.service.directory_login import DirectoryLogin
from lanpost.service.directory_tree import Tree
from lanpost.service.directory_writing import DirectoryWriter
from lanpost.service.ports import Chart
from lanpost.service.registrar import Registrar, Rules
from lanpost.store.authority import Authority, Names
from lanpost.store.chart_sqlite import SqliteChart
from lanpost.wire.ldap_client import LdapClient, State
from lanpost.wire.ldap_messages import (
    BindRequest,
    Control,
    ExtendedRequest,
    Message,
    Request,
    SearchDone,
    SearchEntry,
    SearchRequest,
)
from lanpost.wire.ldap_operations import START_TLS_OID
from tests.memory_stores import MemoryAccounts, MemoryChart, MemoryMailboxes

DOMAIN = "office.lan"
SUFFIX = "dc=office,dc=lan"
BASE = f"ou=chart,{SUFFIX}"
ADMIN = f"cn=admin,{SUFFIX}"
PASSWORD = b"the administrator's"
SECRET = "fax1-secret"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PATIENCE = 30.0  # seconds that an answer may take
Result = TypeVar("Result")


def address(text: str) -> MailAddress:
    return MailAddress.parse(text, DOMAIN)


def binding(text: str, endpoint: str = "10.0.0.7:25", *, updated: datetime = NOW, lasts: float = 3600) -> Binding:
    """For that many seconds; 0: for good."""
    expires = updated + timedelta(seconds=lasts) if lasts else None
    return Binding(address(text), Endpoint.parse(endpoint), updated, expires)


async def no_thread(write: Callable[[], None]) -> None:
    write()


class Directory:
    """All parts of a directory over a chart; time stands still at `now`."""

    def __init__(
        self,
        chart: Chart | None = None,
        *,
        rules: SearchRules | None = None,
        mailboxes: Sequence[str] = ("anna",),
        domain: str = DOMAIN,
        suffix: str = "",
        networks: Sequence[str] = ("127.0.0.0/8",),
        clock: Callable[[], datetime] | None = None,
        delays: LoginDelays | None = None,
    ) -> None:
        self.now = NOW
        self.chart = chart or MemoryChart()
        self.accounts = MemoryAccounts()
        self.mailboxes = MemoryMailboxes(*(f"{name}@{DOMAIN}" for name in mailboxes))
        self.tree = Tree(domain, suffix, mechanisms=("EXTERNAL",))
        self.registrar = Registrar(
            self.chart,
            self.accounts,
            self.mailboxes,
            Rules(domain, (25, 2525), timedelta(hours=24)),
            durably=no_thread,
            administrator_sha256=sha256_of("token"),
        )
        self.writer = DirectoryWriter(
            self.tree, self.chart, self.accounts, self.mailboxes, self.registrar, durably=no_thread
        )
        self.login = DirectoryLogin(self.tree, self.accounts, (sha256_of(PASSWORD.decode()),))
        tell_time = clock or (lambda: self.now)
        local = self.chart if isinstance(self.chart, ThreadedChart) else None
        self.searches = Searches(
            self.tree,
            self.chart,
            rules or SearchRules(),
            tell_time,
            local=local,
            synchronisation=SyncProvider(self.tree, local, tell_time) if local else None,
        )
        self.delays = delays or LoginDelays(first=0.001)
        self.operations = Operations(
            self.tree,
            self.chart,
            self.login,
            self.writer,
            self.searches,
            tell_time,
            networks_without_tls=[ipaddress.ip_network(each) for each in networks],
            delays=self.delays,
        )

    def enrol(self, name: str, secret: str = SECRET, *, speaks_for_others: bool = False) -> Terminal:
        terminal = Terminal(address(name), sha256_of(secret), NOW, speaks_for_others)
        self.accounts.put_terminal(terminal)
        return terminal


@dataclass(frozen=True, slots=True)
class Loopback:
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(slots=True)
class Running:
    """What a test sees of a directory in another thread."""

    directory: Directory
    authority: Authority
    chart: ThreadedChart
    listener: Listener = field(init=False)
    service: LdapService = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)

    @property
    def port(self) -> int:
        return self.listener.ports[0]

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        async def there() -> Result:
            return function(*arguments)

        return self.run(there())

    def stop(self) -> None:
        self.run(self._stop())

    async def _stop(self) -> None:
        await self.listener.drain(5)
        await self.service.close()

    def client_tls(self, *, certificate: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.ca_pem.decode())
        context.check_hostname = False
        if certificate:
            context.load_cert_chain(certificate)
        return context

    def client(self, **options: Any) -> Client:
        return Client(self.port, **options)


@contextmanager
def running_directory(
    folder: Path,
    *,
    rules: SearchRules | None = None,
    idle_seconds: float = 600.0,
    limits: ConnectionLimits | None = None,
    networks: Sequence[str] = ("127.0.0.0/8",),
    delays: LoginDelays | None = None,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[Running]:
    """A directory over a chart in SQLite, with StartTLS and LDAPS, in a thread of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    authority = Authority.open(folder / "ca", now)
    authority.ssl_context(Names(hosts=["127.0.0.1"]), now)
    chart = ThreadedChart(SqliteChart(folder / "chart.sqlite3"))
    directory = Directory(chart, rules=rules, networks=networks, clock=lambda: datetime.now(UTC), delays=delays)
    running = Running(directory, authority, chart)
    ready: Future[None] = Future()
    stop: Future[None] = Future()

    async def serve() -> None:
        running.loop = asyncio.get_running_loop()
        running.service = LdapService(directory.operations, idle_seconds=idle_seconds)
        running.listener = Listener(
            "ldap",
            [Loopback()],
            running.service.connection,
            limits,
            refusal=REFUSAL,
            tls=authority.asking_context(),
        )
        await running.listener.start()
        ready.set_result(None)
        await asyncio.wrap_future(stop)
        await running.listener.drain(5)
        await running.service.close()
        await chart.close()

    def thread() -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(serve())
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    worker = threading.Thread(target=thread)
    worker.start()
    try:
        ready.result(PATIENCE)
        yield running
    finally:
        stop.set_result(None)
        worker.join(PATIENCE)


class Client:
    """A blocking client around our own session."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None, receive_buffer: int = 0) -> None:
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(PATIENCE)
        raw.connect(("127.0.0.1", port))
        self.socket: socket.socket = tls.wrap_socket(raw) if tls else raw
        self.session = LdapClient(secure=tls is not None)

    def send(self, *requests: Request, controls: Sequence[Control] = ()) -> list[int]:
        """Ask all at once. The message ids."""
        ids = [self.session.send(each, controls) for each in requests]
        self.flush()
        return ids

    def flush(self) -> None:
        self.socket.sendall(self.session.data_to_send())

    def next(self) -> Message | None:
        """The next response; None at the end of the session."""
        while True:
            message = self.session.next_event()
            if message is not None or self.session.state is State.CLOSED:
                return message
            data = self.socket.recv(65536)
            if not data:
                return None
            self.session.receive_data(data)

    def ask(self, request: Request, controls: Sequence[Control] = ()) -> list[Message]:
        """All responses to one request, when nothing else is under way."""
        (message_id,) = self.send(request, controls=controls)
        found: list[Message] = []
        while message_id in self.session.open_operations:
            message = self.next()
            assert message is not None, f"the server closed: {self.session.fault}"
            found.append(message)
        return found

    def result(self, request: Request, controls: Sequence[Control] = ()) -> tuple[int, str]:
        """Code and text of the last response."""
        last: Any = self.ask(request, controls)[-1].operation
        return last.result.code, last.result.text

    def names(self, request: SearchRequest, controls: Sequence[Control] = ()) -> tuple[list[str], int]:
        """Of the entries found, and the result code."""
        found = self.ask(request, controls)
        done = found[-1].operation
        assert isinstance(done, SearchDone)
        return [each.operation.name for each in found if isinstance(each.operation, SearchEntry)], done.result.code

    def bind(self, name: str = ADMIN, password: bytes = PASSWORD) -> int:
        return self.result(BindRequest(name, password))[0]

    def start_tls(self, context: ssl.SSLContext) -> None:
        assert self.result(ExtendedRequest(START_TLS_OID))[0] == 0
        self.socket = context.wrap_socket(self.socket)

    def is_closed(self) -> bool:
        """Wait for the server's end of the connection."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
