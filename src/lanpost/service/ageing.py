"""Which terminals have been silent for too long, and how they are asked to register again. Pure.

A terminal that is well renews at half its binding's lifetime. One that did not, past a configurable share of it,
is asked by name; where many are silent at once, something happened to the registrar or the network, and everyone is
asked. Only terminals with an agent can hear: bindings of other sources just age.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.wire.refresh import MAX_WINDOW_SECONDS

ROUNDS = 3  # a silent terminal is asked so often, and then no more until it has registered
MANY_SHARE = 0.2  # of all; that many silent ones: everyone is asked
MANY = 500  # silent ones: everyone is asked, in one datagram instead of dozens
LEAST_WINDOW = 2.0  # seconds
ANSWERS_PER_SECOND = 50.0


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to ask: those named, or everyone (None); `window` seconds are what they spread their answers over."""

    addresses: tuple[MailAddress, ...] | None
    window: float


@dataclass(slots=True)
class _Walk:
    """What one look at the chart has counted."""

    listening: int = 0
    stale: dict[str, MailAddress] = field(default_factory=dict)


class Ageing:
    """Looks at the chart from time to time, and remembers how often each silent terminal was asked."""

    def __init__(self, share: float) -> None:
        """`share` of its lifetime, 0..1, after which a binding that was not renewed is old."""
        self._share = share
        self._asked: dict[str, int] = {}  # rounds, of those who were silent at the last look: no others
        self._walk = _Walk()
        self.listening = 0  # terminals with an agent, at the last look

    def begin(self) -> None:
        """A look at the chart begins: `see` every entry, then `end`."""
        self._walk = _Walk()

    def see(self, entries: Iterable[Entry], now: datetime) -> None:
        """Some of the chart's entries."""
        walk = self._walk
        for entry in entries:
            binding = entry.binding
            if binding is None or not listens(binding):
                continue
            walk.listening += 1
            if is_old(binding, now, self._share):
                walk.stale[entry.address.key] = entry.address

    def end(self) -> Call | None:
        """Whom to ask now; None: nobody."""
        walk = self._walk
        self.listening = walk.listening
        self._asked = {key: self._asked.get(key, 0) for key in walk.stale}
        silent = [address for key, address in walk.stale.items() if self._asked[key] < ROUNDS]
        for address in silent:
            self._asked[address.key] += 1
        if not silent:
            return None
        if len(silent) >= MANY or len(silent) >= max(2, MANY_SHARE * walk.listening):
            return Call(None, window_for(walk.listening))
        return Call(tuple(silent), window_for(len(silent)))


def listens(binding: Binding) -> bool:
    """Its terminal runs an agent, which hears requests, and its binding ages."""
    return binding.source is Source.AGENT and binding.expires is not None


def is_old(binding: Binding, now: datetime, share: float) -> bool:
    """Not renewed past that share of its lifetime. An update in the future is as old: some clock jumped."""
    if binding.expires is None:
        return False
    age, lifetime = now - binding.updated, binding.expires - binding.updated
    return age.total_seconds() < -1.0 or age >= lifetime * share


def window_for(terminals: int) -> float:
    """Seconds over which so many terminals answer without pressing."""
    return min(max(LEAST_WINDOW, terminals / ANSWERS_PER_SECOND), MAX_WINDOW_SECONDS)


def batches(addresses: Sequence[MailAddress], size: int) -> Iterable[Sequence[MailAddress]]:
    """As many as one datagram names, at a time."""
    return (addresses[at : at + size] for at in range(0, len(addresses), size))
