"""How long a client waits for the answer to a wrong password: longer with each one, and forgotten in time.

Counted per client host (of IPv6 per network of hosts), so that neither connecting anew nor another address helps;
only failures wait, so that guessing by one person behind an address keeps nobody else there from logging in.
"""

from __future__ import annotations

from collections import OrderedDict

from lanpost.model.networks import peer_of

MAX_DELAY = 15.0  # seconds; clients give up after some 30
FORGET_SECONDS = 600.0  # without a failure from that host
MAX_HOSTS = 4096  # remembered; the longest quiet one goes first


class LoginDelays:
    """Failures per host. `now` is monotonic seconds."""

    def __init__(self, first: float = 1.0) -> None:
        """`first` is the delay of the first failure, in seconds; it doubles with each further one."""
        self._first = first
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # host -> failures, time of the last

    def failed(self, host: str, now: float) -> float:
        """Seconds that the answer to one more failure from there is held back."""
        peer = peer_of(host)
        failures, last = self._failures.pop(peer, (0, now))
        if now - last > FORGET_SECONDS:
            failures = 0
        self._failures[peer] = (failures + 1, now)
        if len(self._failures) > MAX_HOSTS:
            self._failures.popitem(last=False)
        return min(self._first * 2.0 ** min(failures, 30), MAX_DELAY)

    def succeeded(self, host: str) -> None:
        """Somebody there knew a password: typing errors of before are forgotten."""
        self._failures.pop(peer_of(host), None)
