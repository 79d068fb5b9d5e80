"""Accepts connections on one or more addresses, limits them, and lets them end in peace at a stop.

It knows no protocol: what it serves is a `Connection`, what it says to one client too many is given to it.
It resolves no names. Raises ConfigurationError where an address cannot be listened on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import structlog

from lanpost.net.listening_sockets import Listen, bind

BACKLOG = 1024  # connections the kernel keeps for us while we are busy; it cuts this to net.core.somaxconn
REFUSALS_TOLD_SECONDS = 1.0  # from one line in the log about clients too many to the next
FIRST_WORDS_SECONDS = 2.0  # who has connected so shortly before a stop may first do what he came for
ACCEPT_TURNS = 3  # of the event loop, from accepting a connection to telling us of it
ABORT_SECONDS = 1.0  # the loop tells of an aborted connection in its next round
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many clients at a time. Each listener counts its own, so a crowd at one port leaves the others free."""

    total: int = 2000
    per_client: int = 200  # from one IP address


class Connection(asyncio.Protocol):
    """One client of a listener. A subclass serves it: `opened`, `data_received`, `closed`, and `leave`.

    `opened` is called once the client is admitted, `closed` once after that, whatever ended it. After
    `loop.start_tls` the subclass puts the new transport into `transport`.
    """

    __slots__ = ("client_host", "client_port", "listener", "since", "transport")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.since = time.monotonic()
        self.transport: asyncio.Transport
        self.client_host = ""  # IP literal, without zone
        self.client_port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if peer:  # gone already, if not
            self.client_host, _, _ = peer[0].partition("%")
            self.client_port = peer[1]
        if self.listener.admit(self):
            self.opened()
        else:
            transport.set_protocol(asyncio.Protocol())
            self.transport.write(self.listener.refusal)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.listener.release(self)
        self.closed(exc)

    def opened(self) -> None:
        """The client is there: greet it."""

    def closed(self, exc: Exception | None) -> None:
        """The client is gone, or we have closed."""

    def leave(self) -> None:
        """We are stopping: take leave as soon as nothing is half done, and close. Called more than once."""
        self.transport.close()

    def local_host(self) -> str:
        """The address of ours that the client reached."""
        name = self.transport.get_extra_info("sockname")
        return str(name[0]).partition("%")[0] if name else ""


class Listener:
    """One service on its addresses, in one process.

    `listens` is where; `serve` makes the Connection for each client; `refusal` is what one client too many is
    told before it is closed. `tls` is for connections that upgrade; a renewed certificate is a new value there,
    used from the next upgrade on. `sockets` are bound already, and stay open when this listener stops; without
    them it makes its own.
    """

    def __init__(
        self,
        name: str,
        listens: Sequence[Listen],
        serve: Callable[[Listener], Connection],
        limits: ConnectionLimits | None = None,
        *,
        refusal: bytes,
        tls: ssl.SSLContext | None = None,
        sockets: Sequence[socket.socket] | None = None,
        backlog: int = BACKLOG,
    ) -> None:
        self.name = name
        self.refusal = refusal
        self.tls = tls
        self._listens = tuple(listens)
        self._serve = serve
        self._limits = limits or ConnectionLimits()
        self._sockets = sockets
        self._backlog = backlog
        self._servers: list[asyncio.Server] = []
        self._lent: dict[
            int, asyncio.Future[list[asyncio.Server]]
        ] = {}  # of processes that are gone, by their numbers
        self._addresses: tuple[tuple[str, int], ...] = ()
        self._connections: set[Connection] = set()
        self._per_client: dict[str, int] = {}
        self._empty = asyncio.Event()
        self._stopping = False
        self._over = False  # drained: whoever is only told of now is not taken in
        self._refused = 0  # not told of yet
        self._refusal_told = -REFUSALS_TOLD_SECONDS

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and real port of each address, in the order given; kept after the stop."""
        return self._addresses

    @property
    def ports(self) -> tuple[int, ...]:
        """The real ports, in the order given."""
        return tuple(port for _, port in self._addresses)

    @property
    def count(self) -> int:
        """Clients connected now."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen on every address. Raises ConfigurationError, and then listens on none."""
        sockets: list[socket.socket] = []
        try:
            if self._sockets is None:
                sockets.extend(bind(self.name, listen) for listen in self._listens)
            else:
                sockets.extend(sock.dup() for sock in self._sockets)
            self._servers += await self._serve_at(sockets)
        except BaseException:
            self.stop_accepting()
            for sock in sockets:
                sock.close()
            raise
        # Several sockets may stand at one address.
        self._addresses = tuple(dict.fromkeys(sock.getsockname()[:2] for sock in sockets))
        log.debug("listening", service=self.name, addresses=[f"{host} {port}" for host, port in self._addresses])

    def serve_for(self, process: int, sockets: Sequence[socket.socket]) -> None:
        """Take the clients of a process that is gone, until `serve_no_more_for` it: they would wait in vain."""
        if not self._stopping and process not in self._lent:
            self._lent[process] = asyncio.ensure_future(self._serve_at([sock.dup() for sock in sockets]))

    def serve_no_more_for(self, process: int) -> None:
        """It is back. Idempotent."""
        if lent := self._lent.pop(process, None):
            lent.add_done_callback(_close_all)

    def stop_accepting(self) -> None:
        """Listen no more; whoever is connected stays. Idempotent."""
        self._stopping = True
        for process in tuple(self._lent):
            self.serve_no_more_for(process)
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _serve_at(self, sockets: Sequence[socket.socket]) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        return [
            await loop.create_server(lambda: self._serve(self), sock=sock, backlog=self._backlog)
            for sock in sockets
        ]

    async def drain(self, seconds: float) -> int:
        """Accept no more, ask everybody to leave, and cut off whoever is still there after `seconds`.

        Returns how many were cut off.
        """
        try:
            return await self._drain(seconds)
        finally:
            self._over = True

    async def _drain(self, seconds: float) -> int:
        self.stop_accepting()
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        patience = min(FIRST_WORDS_SECONDS, seconds)
        just_come = time.monotonic() - patience
        for connection in tuple(self._connections):
            if connection.since < just_come:
                connection.leave()
        if await self._all_gone(patience):
            return 0
        for connection in tuple(self._connections):
            connection.leave()
        if await self._all_gone(seconds - patience):
            return 0
        remaining = tuple(self._connections)
        for connection in remaining:
            connection.transport.abort()
        log.info("connections cut off", service=self.name, count=len(remaining))
        await self._all_gone(ABORT_SECONDS)
        return len(remaining)

    def admit(self, connection: Connection) -> bool:
        """Count a new connection, unless there are too many. For Connection only."""
        if self._over:
            return False
        host = connection.client_host
        held = self._per_client.get(host, 0)
        if held >= self._limits.per_client or len(self._connections) >= self._limits.total:
            self._tell_refused(host, held)
            return False
        self._per_client[host] = held + 1
        self._connections.add(connection)
        return True

    def _tell_refused(self, host: str, held: int) -> None:
        """Once a second: a thousand that come again and again must not fill the log."""
        self._refused += 1
        now = time.monotonic()
        if now - self._refusal_told < REFUSALS_TOLD_SECONDS:
            return
        log.info(
            "too many connections",
            service=self.name,
            client=host,
            held=held,
            all=len(self._connections),
            refused=self._refused,
        )
        self._refused, self._refusal_told = 0, now

    def release(self, connection: Connection) -> None:
        """A counted connection is over. For Connection only."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        host = connection.client_host
        if (held := self._per_client[host]) > 1:
            self._per_client[host] = held - 1
        else:
            del self._per_client[host]
        if not self._connections:
            self._empty.set()

    async def _all_gone(self, seconds: float) -> bool:
        self._empty.clear()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        return not self._connections


def _close_all(opened: asyncio.Future[list[asyncio.Server]]) -> None:
    for server in opened.result():
        server.close()
