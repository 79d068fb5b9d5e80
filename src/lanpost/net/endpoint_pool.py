"""Connections to endpoints, kept between mails: limits in all and per endpoint, whoever waits longest comes first.

An endpoint that is not known to answer is tried by one connection at a time, and all who wait for it share that
try's failure: a dead endpoint ties up one connection, not twenty. One that turns further connections away while it
serves some has its limit lowered, and raised again by what goes well (AIMD). Raises DeliveryError (temporary).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from lanpost.errors import DeliveryError
from lanpost.model.endpoint import Endpoint
from lanpost.net.smtp_connection import SmtpConnection
from lanpost.wire.smtp_client import State

MAX_WAITING = 20_000  # sends that wait for a connection; further ones fail at once and come back from the spool
MAX_REMEMBERED = 1024  # endpoints without a connection of which we know something
MAX_LEAVING = 200  # connections that may take their time over QUIT
FAIR_SHARE = 20  # mails after which a connection is given up if other endpoints wait for one
DISTRUST_SECONDS = 3600.0  # a peer that went away amid a pipeline may also have been switched off just then
RECOVERY_SECONDS = 30.0  # in which a lowered limit rises by one
MAX_DIALS = 3  # of one mail, where an endpoint turns further connections away

log = structlog.get_logger()

Open = Callable[[Endpoint, bool], Awaitable[SmtpConnection]]  # the bool: it may pipeline


@dataclass(frozen=True, slots=True)
class PoolLimits:
    connections: int = 500  # in all
    connections_per_endpoint: int = 20
    mails_per_connection: int = 1000
    idle_seconds: float = 10.0  # that a connection is kept for the next mail


class _Peer:
    """What is known of an endpoint."""

    __slots__ = ("dialing", "distrusted_until", "endpoint", "idle", "limit", "limit_set", "open", "waiters")

    def __init__(self, endpoint: Endpoint, limit: int) -> None:
        self.endpoint = endpoint
        self.limit = limit  # connections
        self.limit_set = 0.0  # loop time
        self.distrusted_until = 0.0  # loop time: until then it is not believed that it can pipeline
        self.open = 0  # connections, those being made included
        self.dialing = 0
        self.idle: list[SmtpConnection] = []
        self.waiters: deque[asyncio.Future[SmtpConnection | None]] = deque()  # None: you may dial


class EndpointPool:
    """`take` a connection, use it for one mail, `give_back` or `discard` it. One event loop."""

    def __init__(self, limits: PoolLimits, open_connection: Open) -> None:
        self._limits = limits
        self._connect = open_connection
        self._peers: dict[Endpoint, _Peer] = {}  # those with connections or waiters
        self._remembered: dict[Endpoint, _Peer] = {}  # others worth knowing, oldest first
        self._open = 0
        self._waiting = 0
        self._idle: dict[SmtpConnection, None] = {}  # longest idle first
        self._starved: dict[_Peer, None] = {}  # could dial, were there not too many connections in all; in turn
        self._busy: set[SmtpConnection] = set()
        self._leaving: set[SmtpConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def open_connections(self) -> int:
        return self._open

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    @property
    def known_endpoints(self) -> int:
        return len(self._peers) + len(self._remembered)

    async def take(self, endpoint: Endpoint) -> SmtpConnection:
        """A connection that is ready for a mail: one that was kept, or a new one. Cancellable at any time."""
        if self._closed:
            raise _shutting_down()
        peer = self._peers.get(endpoint) or self._begin_peer(endpoint)
        if peer.idle:
            connection = peer.idle.pop()
            del self._idle[connection]
            connection.on_change = None
            self._busy.add(connection)
            return connection
        for _ in range(MAX_DIALS):
            if peer.waiters or not self._reserve(peer):
                handed = await self._wait(peer)
                if handed is not None:
                    return handed
            connection_or_none = await self._dial(peer)
            if connection_or_none is not None:
                return connection_or_none
        self._forget_if_unused(peer)
        raise DeliveryError(f"{endpoint} takes no more connections now", permanent=False, status="4.4.5")

    def give_back(self, connection: SmtpConnection) -> None:
        """After a mail that has its verdicts, whatever they are."""
        state = connection.session.state
        if state is State.RESETTING:
            connection.on_change = self.give_back
            connection.watch_reset()
            return
        connection.on_change = None
        if state is not State.READY or self._closed:
            self.discard(connection)
            return
        peer = self._peers[connection.endpoint]
        if peer.limit < self._limits.connections_per_endpoint:
            self._raise_limit(peer)
        others_wait = self._starved and next(iter(self._starved)) is not peer
        if connection.mails >= self._limits.mails_per_connection or (
            others_wait and (connection.mails % FAIR_SHARE == 0 or not self._someone_waits(peer))
        ):
            self._busy.discard(connection)
            self._retire(connection)
            self._free(peer)
        elif self._someone_waits(peer):
            self._busy.add(connection)
            peer.waiters.popleft().set_result(connection)
            if peer.waiters:
                self._grant(peer)  # the limit may have risen
        else:
            self._busy.discard(connection)
            connection.idle_since = asyncio.get_running_loop().time()
            connection.on_change = self._idle_changed
            peer.idle.append(connection)
            self._idle[connection] = None
            if self._sweeper is None:
                self._sweep_at(connection.idle_since + self._limits.idle_seconds)

    def discard(self, connection: SmtpConnection) -> None:
        """Drop a connection that was taken: a mail under way on it does not get its end."""
        self._busy.discard(connection)
        connection.on_change = None
        connection.drop()
        self._free(self._peers[connection.endpoint])

    def discard_idle(self, endpoint: Endpoint) -> None:
        """One kept connection turned out dead: so, probably, are the others."""
        peer = self._peers.get(endpoint)
        for connection in list(peer.idle) if peer else ():
            self._remove_idle(connection)
            self.discard(connection)

    def distrust_pipelining(self, endpoint: Endpoint) -> None:
        """Commands to this endpoint wait for their replies on the connections made from now on, for a while."""
        peer = self._peers.get(endpoint) or self._begin_peer(endpoint)
        log.info("endpoint may not pipeline, though it says so", endpoint=str(endpoint))
        peer.distrusted_until = asyncio.get_running_loop().time() + DISTRUST_SECONDS
        self._forget_if_unused(peer)

    async def close(self, grace_seconds: float = 3.0) -> None:
        """Idle connections are ended politely, others dropped, those who wait fail. Idempotent."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for peer in list(self._peers.values()):
            self._fail_waiters(peer, _shutting_down())
        for connection in list(self._idle):
            self._remove_idle(connection)
            self._retire(connection)
            self._free(self._peers[connection.endpoint])
        for connection in list(self._busy):
            connection.drop()
        leaving = list(self._leaving)
        if leaving:
            await asyncio.wait([asyncio.ensure_future(one.gone()) for one in leaving], timeout=grace_seconds)

    # ---- slots

    def _begin_peer(self, endpoint: Endpoint) -> _Peer:
        peer = self._remembered.pop(endpoint, None)
        if peer is None:
            peer = _Peer(endpoint, self._limits.connections_per_endpoint)
        self._peers[endpoint] = peer
        return peer

    def _forget_if_unused(self, peer: _Peer) -> None:
        if peer.open or peer.waiters or self._peers.get(peer.endpoint) is not peer:
            return
        del self._peers[peer.endpoint]
        self._starved.pop(peer, None)
        if peer.distrusted_until or peer.limit < self._limits.connections_per_endpoint:
            self._remembered[peer.endpoint] = peer
            if len(self._remembered) > MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]

    def _reserve(self, peer: _Peer) -> bool:
        """Leave to dial, if the limits allow it."""
        unproven = peer.dialing and peer.open == peer.dialing
        if unproven or peer.open >= peer.limit:
            return False
        if self._open >= self._limits.connections and not self._evict():
            self._starved[peer] = None
            return False
        peer.open += 1
        peer.dialing += 1
        self._open += 1
        return True

    def _evict(self) -> bool:
        """Give up the connection that has been idle longest."""
        if not self._idle:
            return False
        connection = next(iter(self._idle))
        self._remove_idle(connection)
        self._retire(connection)
        peer = self._peers[connection.endpoint]
        peer.open -= 1
        self._open -= 1
        self._forget_if_unused(peer)
        return True

    def _free(self, peer: _Peer) -> None:
        """A connection is gone: its place goes to endpoints that wait for one in all, in turn, then to its own."""
        peer.open -= 1
        self._open -= 1
        while self._starved and self._open < self._limits.connections:
            other = next(iter(self._starved))
            del self._starved[other]
            self._grant(other)
        self._grant(peer)
        self._forget_if_unused(peer)

    def _grant(self, peer: _Peer) -> None:
        while self._someone_waits(peer) and self._reserve(peer):
            peer.waiters.popleft().set_result(None)

    @staticmethod
    def _someone_waits(peer: _Peer) -> bool:
        """The first in line, if there is one, has not been cancelled just now."""
        while peer.waiters and peer.waiters[0].done():
            peer.waiters.popleft()
        return bool(peer.waiters)

    async def _wait(self, peer: _Peer) -> SmtpConnection | None:
        """In line: a connection, or None with a place reserved."""
        if self._waiting >= MAX_WAITING:
            self._forget_if_unused(peer)
            raise DeliveryError(
                f"{MAX_WAITING} mails wait for a connection already", permanent=False, status="4.4.5"
            )
        waiter: asyncio.Future[SmtpConnection | None] = asyncio.get_running_loop().create_future()
        peer.waiters.append(waiter)
        self._waiting += 1
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                if waiter in peer.waiters:
                    peer.waiters.remove(waiter)
                if not peer.waiters:
                    self._starved.pop(peer, None)
                self._forget_if_unused(peer)
            elif waiter.exception() is None:  # both at once: what we were given goes to the next in line
                handed = waiter.result()
                if handed is not None:
                    self.give_back(handed)
                else:
                    peer.dialing -= 1
                    self._free(peer)
            raise
        finally:
            self._waiting -= 1

    async def _dial(self, peer: _Peer) -> SmtpConnection | None:
        """A new connection, in the place reserved. None: the endpoint has enough of us, wait for one it serves."""
        try:
            may_pipeline = asyncio.get_running_loop().time() >= peer.distrusted_until
            connection = await self._connect(peer.endpoint, may_pipeline)
        except DeliveryError as error:
            peer.dialing -= 1
            served = peer.open - 1 - peer.dialing
            if served > 0:
                self._lower_limit(peer, served)
                self._free(peer)
                return None
            if not peer.dialing:
                self._fail_waiters(peer, error)
            self._free(peer)
            raise
        except BaseException:
            peer.dialing -= 1
            self._free(peer)
            raise
        peer.dialing -= 1
        if self._closed:
            self.discard(connection)
            raise _shutting_down()
        self._busy.add(connection)
        self._grant(peer)
        return connection

    def _lower_limit(self, peer: _Peer, served: int) -> None:
        limit = max(1, min(peer.limit // 2, served))
        if limit != peer.limit:
            log.info("endpoint takes fewer connections", endpoint=str(peer.endpoint), limit=limit)
        peer.limit = limit
        peer.limit_set = asyncio.get_running_loop().time()

    def _raise_limit(self, peer: _Peer) -> None:
        now = asyncio.get_running_loop().time()
        if now - peer.limit_set >= RECOVERY_SECONDS:
            peer.limit += 1
            peer.limit_set = now

    def _fail_waiters(self, peer: _Peer, error: DeliveryError) -> None:
        while self._someone_waits(peer):
            peer.waiters.popleft().set_exception(error.again())

    # ---- kept connections

    def _idle_changed(self, connection: SmtpConnection) -> None:
        """It spoke or went away while nobody used it: of no use any more."""
        self._remove_idle(connection)
        self.discard(connection)

    def _remove_idle(self, connection: SmtpConnection) -> None:
        del self._idle[connection]
        self._peers[connection.endpoint].idle.remove(connection)

    def _retire(self, connection: SmtpConnection) -> None:
        if len(self._leaving) >= MAX_LEAVING:
            connection.on_change = None
            connection.drop()
            return
        self._leaving.add(connection)
        connection.on_change = self._leaving.discard
        connection.leave()

    def _sweep_at(self, when: float) -> None:
        self._sweeper = asyncio.get_running_loop().call_at(when, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        oldest_kept = asyncio.get_running_loop().time() - self._limits.idle_seconds
        while self._idle:
            connection = next(iter(self._idle))
            if connection.idle_since > oldest_kept:
                self._sweep_at(connection.idle_since + self._limits.idle_seconds)
                return
            self._remove_idle(connection)
            self._retire(connection)
            self._free(self._peers[connection.endpoint])


def _shutting_down() -> DeliveryError:
    return DeliveryError("this mail server is closing down", permanent=False, status="4.3.2")
