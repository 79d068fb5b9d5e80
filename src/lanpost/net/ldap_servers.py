"""The servers of one directory, tried in their order: whichever answers is asked, whichever fails is left alone.

An operation that meets a server which is gone, hung, busy or out of service is asked again at the next, within the
one time limit. A server that did not do its work is looked after in the background. Nobody waits for one that says
nothing at all until it is well; one that is busy, or slow now and then, is asked all the while.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from lanpost.errors import ChartUnavailable, DirectoryRefused, DirectoryUnreachable
from lanpost.model.endpoint import Endpoint
from lanpost.net.ldap_connection import LdapConnection, Trust
from lanpost.wire.ldap_filter import Present
from lanpost.wire.ldap_messages import ResultCode, Scope, SearchRequest

FIRST_PAUSE, LAST_PAUSE = 0.1, 2.0  # seconds from one look at a server that failed to the next: mail waits for it
OUT_OF_SERVICE = (ResultCode.BUSY, ResultCode.UNAVAILABLE)  # of the server as a whole, for a while
ELSEWHERE = (*OUT_OF_SERVICE, ResultCode.TIME_LIMIT_EXCEEDED, ResultCode.ADMIN_LIMIT_EXCEEDED)
ROOT = SearchRequest("", Scope.BASE, Present("objectClass"), ("1.1",))

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Login:
    """How to bind: nobody ("" and no certificate), a name and its password, or SASL EXTERNAL."""

    name: str = ""
    password: bytes = field(default=b"", repr=False)
    external: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """What all servers of one directory have in common."""

    login: Login = Login()
    trusts: Sequence[Trust] = ()  # for ldaps:// and StartTLS
    start_tls: bool = False
    seconds: float = 2.0  # for one operation, wherever it is asked


@dataclass(frozen=True, slots=True)
class Address:
    """Where one server is; `secure`: ldaps://."""

    endpoint: Endpoint
    secure: bool = False


class _Server:
    """One of them: its connection, and how it fares."""

    def __init__(self, address: Address, access: Access) -> None:
        self.address = address
        self.failed = False  # and nobody asks it
        self.looked_after = False
        self._access = access
        self._connection: LdapConnection | None = None
        self._connecting: asyncio.Task[LdapConnection] | None = None

    async def connection(self, seconds: float) -> LdapConnection:
        """The one connection, made if need be; all who want it share the making."""
        if self._connection is not None and self._connection.is_open:
            return self._connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.ensure_future(self.connect(seconds))
        self._connection = await asyncio.shield(self._connecting)
        return self._connection

    async def connect(self, seconds: float) -> LdapConnection:
        """Another connection, logged in."""
        access = self._access
        tls = access.trusts if self.address.secure or access.start_tls else ()
        connection = await LdapConnection.connect(
            self.address.endpoint, seconds, tls, start_tls=access.start_tls and not self.address.secure
        )
        try:
            if access.login.external:
                await _bind_external(connection, seconds)
            elif access.login.name:
                await connection.bind(access.login.name, access.login.password, seconds)
        except BaseException:
            connection.close()
            raise
        return connection

    def drop(self, connection: LdapConnection | None = None) -> None:
        """Give up its connection, if it is (still) this one."""
        if self._connection is not None and connection in (None, self._connection):
            self._connection.close("given up")
            self._connection = None

    async def close(self) -> None:
        """Its connection too, if it is being made."""
        connections = [self._connection]
        if self._connecting is not None:
            self._connecting.cancel()
            connections += [
                made
                for made in await asyncio.gather(self._connecting, return_exceptions=True)
                if isinstance(made, LdapConnection)
            ]
        for connection in connections:
            if connection is not None:
                await connection.left()


class LdapServers:
    """Asks a directory. `recovered` is called when a server that had failed, or was busy or slow, is well again.

    `probe` is the search by which that is found out: one as they will be asked, if there are such.
    """

    def __init__(self, addresses: Sequence[Address], access: Access, probe: SearchRequest = ROOT) -> None:
        self.access = access
        self.recovered: Callable[[], object] = lambda: None
        self._probe = probe
        self._servers = [_Server(address, access) for address in addresses]
        self._probes: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def name(self) -> str:
        return ", ".join(str(server.address.endpoint) for server in self._servers)

    async def ask(self, operation: Callable[[LdapConnection, float], Awaitable[T]]) -> T:
        """Do it at the first server that can. Raises ChartUnavailable, and DirectoryRefused for a real refusal."""
        if self._closed:
            raise ChartUnavailable(f"the directory at {self.name}: the chart is closed")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.access.seconds
        well = [server for server in self._servers if not server.failed]
        why = f"{self.name} failed a moment ago and is looked after"
        for number, server in enumerate(well):
            # A server that hangs must leave time for the others.
            seconds = max(deadline - loop.time(), 0.05) / (len(well) - number)
            connection: LdapConnection | None = None
            try:
                connection = await server.connection(seconds)
                return await operation(connection, seconds)
            except DirectoryUnreachable as error:
                why = str(error)
                heard = connection is not None and loop.time() - connection.last_heard < seconds / 2
                if not (heard and connection is not None and connection.is_open):
                    self._fail(server, connection)
                self._mind(server, why)
            except DirectoryRefused as error:
                if error.code not in ELSEWHERE:
                    raise
                why = str(error)
                if error.code in OUT_OF_SERVICE:
                    self._mind(server, why)
        raise ChartUnavailable(f"the directory cannot be asked: {why}")

    async def connect(self) -> LdapConnection:
        """A connection of one's own, to whichever server is well. Raises ChartUnavailable. The caller closes it."""
        why = f"{self.name} failed a moment ago and is looked after"
        for server in self._servers:
            if server.failed:
                continue
            try:
                return await server.connect(self.access.seconds)
            except DirectoryUnreachable as error:
                why = str(error)
                self._fail(server, None)
                self._mind(server, why)
            except DirectoryRefused as error:
                why = str(error)
        raise ChartUnavailable(f"the directory cannot be asked: {why}")

    async def close(self) -> None:
        """Let go of all of them. Idempotent."""
        self._closed = True
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        for server in self._servers:
            await server.close()

    def _fail(self, server: _Server, connection: LdapConnection | None) -> None:
        """Nobody asks it until it is well."""
        server.drop(connection)
        server.failed = True

    def _mind(self, server: _Server, why: str) -> None:
        """Look after it until it is well."""
        if not server.looked_after and not self._closed:
            server.looked_after = True
            log.warning("directory server failed", server=str(server.address.endpoint), reason=why)
            probe = asyncio.ensure_future(self._look_after(server))
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)

    async def _look_after(self, server: _Server) -> None:
        """Until it answers a search in time again: one that hangs accepts connections all the same."""
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(pause * 2, LAST_PAUSE)
            connection: LdapConnection | None = None
            try:
                connection = await server.connection(self.access.seconds)
                await connection.search(self._probe, self.access.seconds)
            except DirectoryUnreachable:
                if server.failed or connection is None or not connection.is_open:
                    self._fail(server, connection)
                continue
            except DirectoryRefused as error:
                if error.code in OUT_OF_SERVICE:
                    continue
                # It answers, whatever it says.
            log.info("directory server is back", server=str(server.address.endpoint))
            server.failed = server.looked_after = False
            self.recovered()
            return


async def _bind_external(connection: LdapConnection, seconds: float) -> None:
    try:
        await connection.bind_external(seconds)
    except DirectoryUnreachable as error:
        if error.timed_out:
            raise
        # With TLS 1.3 our side of the handshake was over before the server looked at the certificate.
        raise DirectoryUnreachable(f"{error}; does it trust the certificate in chart.certificate_file?") from None
