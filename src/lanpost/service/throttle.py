"""How often one peer may do what costs us or tempts him: a count per peer and window, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

MAX_PEERS = 4096  # remembered at once; the one that began longest ago is forgotten first


class Throttle:
    """At most `limit` offences of one peer in a `window`, which begins with the first of them.

    A peer is one address, of IPv6 too: a LAN is one /64, and nobody there may keep the others from registering.
    """

    def __init__(self, limit: int, window: timedelta) -> None:
        self._limit = limit
        self._window = window
        self._peers: OrderedDict[str, tuple[datetime, int]] = OrderedDict()

    def wait(self, host: str, now: datetime) -> timedelta | None:
        """How long the peer has to wait; None: he may go on."""
        began, count = self._peers.get(host, (now, 0))
        # A clock that was set back must not lock anybody out for longer than one window.
        passed = now - began
        if count < self._limit or not timedelta(0) <= passed < self._window:
            return None
        return self._window - passed

    def count(self, host: str, now: datetime) -> None:
        """One more offence of that peer."""
        began, count = self._peers.get(host, (now, 0))
        if not timedelta(0) <= now - began < self._window:
            began, count = now, 0
        if count == 0:
            self._peers.pop(host, None)
        self._peers[host] = (began, count + 1)
        while len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)
