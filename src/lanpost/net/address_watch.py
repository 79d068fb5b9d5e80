"""Watching the host's own addresses: by rtnetlink where there is such a thing, by polling elsewhere."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from lanpost.net import netlink
from lanpost.net.netlink import Change, NetlinkWatch

log = logging.getLogger(__name__)

POLL_SECONDS = 3.0


class AddressWatch(Protocol):
    """Tells of changes by the `notify` it was made with, until closed."""

    @property
    def addresses(self) -> frozenset[str]:
        """Own addresses that others can reach us at."""

    def close(self) -> None:
        """Stop watching. Idempotent."""


def open_watch(notify: Callable[[Change], object], servers: Sequence[str]) -> AddressWatch:
    """The best watch that this system has. `servers` are the IPs that we want to be reached from."""
    if netlink.IS_AVAILABLE:
        try:
            return NetlinkWatch(notify)
        except OSError as error:
            log.warning("no rtnetlink here (%s): looking at the addresses every %g s", error, POLL_SECONDS)
    return PollWatch(notify, servers)


class PollWatch:
    """Asks every few seconds which source address the kernel would take towards each server. Sends nothing."""

    def __init__(
        self, notify: Callable[[Change], object], servers: Sequence[str], seconds: float = POLL_SECONDS
    ) -> None:
        self._notify = notify
        self._servers = tuple(servers)
        self._seconds = seconds
        self._addresses: frozenset[str] | None = None  # before the first look
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_soon(self._poll)

    @property
    def addresses(self) -> frozenset[str]:
        """The source addresses at the last look."""
        return self._addresses or frozenset()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        self._timer.cancel()

    def _poll(self) -> None:
        found = frozenset(filter(None, map(source_towards, self._servers)))
        self._timer = self._loop.call_later(self._seconds, self._poll)
        if found != self._addresses:
            self._addresses = found
            self._notify(Change.ADDRESSES)


def source_towards(server: str) -> str:
    """The address of ours that packets to `server` (an IP literal) would bear; "" when there is no way there."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            server, 9, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(where)  # of a datagram socket: asks the routing table, sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return ""
