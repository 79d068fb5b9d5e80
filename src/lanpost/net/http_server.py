"""HTTP and HTTPS on one port: uvicorn's HTTP/1.1 protocol on our listener, for any ASGI application.

uvicorn parses and runs the application; it installs no signal handlers and owns no socket here. What it lacks is
ours: TLS told from plain HTTP by its first octet, limits per client, turns that leave the event loop free for
others, and a time limit for whoever sends his request or takes his answer too slowly. An application finds in its
scope's state `peer` (an Endpoint) and `tls` (a bool).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from lanpost import __version__
from lanpost.errors import InvalidEndpoint
from lanpost.model.endpoint import Endpoint
from lanpost.net.listener import Connection, ConnectionLimits, Listener
from lanpost.net.listening_sockets import Listen
from lanpost.net.tls_transport import FIRST_OCTET, TlsTransport
from lanpost.net.turns import Turns

HEAD_SECONDS = 15.0  # from the connection, or the last answer, to the end of the next request's header
ANSWER_SECONDS = 30.0  # for a client to take what we have written, before we write more
HEAD_OCTETS = 16384  # request line and header
LIMITS = ConnectionLimits(total=1000, per_client=50)
BACKLOG = 512  # connections made and not yet taken: as many are taken in one go, and mail waits for that
MAX_UNREAD = 65536  # octets of a connection that wait for its turn; beyond, its client waits, too

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

log = structlog.get_logger()


class HttpServer:
    """One ASGI application on its addresses, or `sockets` bound there. `tls` may be renewed in place."""

    def __init__(
        self,
        listens: Sequence[Listen],
        application: Application,
        tls: ssl.SSLContext,
        limits: ConnectionLimits = LIMITS,
        *,
        sockets: Sequence[socket.socket] | None = None,
    ) -> None:
        self._application = application
        self._tls = tls
        self._state = ServerState()
        self._turns = Turns()
        self._config = Config(
            self._run,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # who asks decides what he may: nobody may say he is somebody else
            server_header=False,
            headers=[("server", f"lanpost/{__version__}")],
            timeout_keep_alive=int(HEAD_SECONDS),
            h11_max_incomplete_event_size=HEAD_OCTETS,
        )
        self._config.load()
        self._state.default_headers = self._config.encoded_headers
        self._listener = Listener(
            "http", listens, self._connection, limits, refusal=b"", sockets=sockets, backlog=BACKLOG
        )

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and real port of each address, in the order given."""
        return self._listener.addresses

    @property
    def count(self) -> int:
        """Clients connected now."""
        return self._listener.count

    async def start(self) -> None:
        """Listen. Raises ConfigurationError, and then listens on none."""
        await self._listener.start()

    async def stop(self, seconds: float) -> None:
        """Accept no more, finish what is being answered, cut off whatever is left after `seconds`. Idempotent."""
        await self._listener.drain(seconds)

    def _connection(self, listener: Listener) -> Connection:
        return _HttpConnection(listener, self._config, self._state, self._tls, self._turns)

    async def _run(self, scope: Message, receive: Receive, send: Send) -> None:
        connection: _HttpConnection = scope["state"].pop("connection")

        async def send_in_time(message: Message) -> None:
            if not connection.is_full:
                await send(message)  # which waits for nobody
                return
            async with asyncio.timeout(ANSWER_SECONDS):
                await send(message)

        connection.request_began()
        try:
            await self._application(scope, receive, send_in_time)
        except TimeoutError:
            log.info("answer not taken", service="http", client=connection.client_host)
            connection.transport.abort()
        finally:
            connection.request_ended()


class _HttpConnection(Connection):
    """Finds out what the client speaks, and passes it on to uvicorn's protocol."""

    __slots__ = ("_config", "_context", "_deadline", "_http", "_requests", "_state", "_tls", "_turns", "_unread")

    def __init__(
        self, listener: Listener, config: Config, state: ServerState, context: ssl.SSLContext, turns: Turns
    ) -> None:
        super().__init__(listener)
        self._config = config
        self._state = state
        self._context = context
        self._turns = turns
        self._unread = bytearray()  # what came and waits for its turn
        self._http: H11Protocol | None = None
        self._tls: TlsTransport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._requests = 0

    def opened(self) -> None:
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        if not self._unread:
            self._turns.take(self._read, begins=self._http is None)
        self._unread += data
        if len(self._unread) > MAX_UNREAD:
            self.transport.pause_reading()

    def _read(self) -> None:
        data, self._unread = bytes(self._unread), bytearray()
        if self.transport.is_closing():
            return  # gone while he waited
        if len(data) > MAX_UNREAD and not (self._http and self._http.flow.read_paused):
            self.transport.resume_reading()
        if self._http is None and not self._begin(data[0] == FIRST_OCTET):
            self.transport.abort()
            return
        if self._tls is not None:
            try:
                data = self._tls.receive(data)
            except ssl.SSLError as error:
                # A terminal that has not our CA tells so by an alert: worth knowing, nothing wrong here.
                log.info("TLS refused", service="http", client=self.client_host, reason=error.reason or str(error))
                self.transport.close()
                return
        if data and self._http is not None:
            self._http.data_received(data)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self._http is not None:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        if self._http is not None:
            self._http.resume_writing()

    def closed(self, exc: Exception | None) -> None:
        self._clear_deadline()
        if self._http is not None:
            self._http.connection_lost(exc)
            # They all know each other: thousands of them would lie about until garbage is collected.
            self._http.app_state.clear()
            self._http = self._tls = None

    def leave(self) -> None:
        if self._http is not None:
            self._http.shutdown()
        else:
            self.transport.close()

    @property
    def is_full(self) -> bool:
        """More has been written than the client has taken so far."""
        return self._http is not None and self._http.flow.write_paused

    def request_began(self) -> None:
        """A request's header is complete: from now on the application minds the time."""
        self._requests += 1
        self._clear_deadline()

    def request_ended(self) -> None:
        """The answer is on its way."""
        self._requests -= 1
        if self._requests == 0 and not self.transport.is_closing():
            self._set_deadline()

    def _begin(self, is_tls: bool) -> bool:
        peer = peer_of(self.transport)
        if peer is None:
            return False
        if is_tls:
            self._tls = TlsTransport(self.transport, self._context)
        state = {"connection": self, "peer": peer, "tls": is_tls}
        self._http = H11Protocol(self._config, self._state, state, asyncio.get_running_loop())
        self._http.connection_made(self._tls or self.transport)
        return True

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._too_slow)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        log.debug("no request in time", service="http", client=self.client_host)
        self.transport.abort()


def peer_of(transport: asyncio.BaseTransport) -> Endpoint | None:
    """Where a connection comes from, zone of a link-local address included. None: it is gone already."""
    name = transport.get_extra_info("peername")
    if not name:
        return None
    if len(name) == 2:
        return Endpoint(*name)  # IPv4, in the kernel's own spelling: nothing to check
    host = name[0].partition("%")[0]
    zone = ""
    try:
        if len(name) == 4 and name[3] and ipaddress.ip_address(host).is_link_local:
            zone = socket.if_indextoname(name[3])
        return Endpoint.of(host, name[1], zone)
    except (OSError, InvalidEndpoint):
        return None
