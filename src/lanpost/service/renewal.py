"""When a terminal registers next. Pure: times are seconds of a monotonic clock and arguments, chance is one too."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_RETRY = 1.0  # seconds after the first failure; doubled by each further one
LAST_RETRY = 60.0  # the longest pause: a server that comes back is found within a minute
FIRST_RETRY_REFUSED = 30.0  # a refusal needs somebody to act; asking fast helps nobody
LAST_RETRY_REFUSED = 900.0
JITTER = 0.1  # renewals lie at half the lifetime, give or take this part of it
SHORTEST_RENEWAL = 0.25  # seconds, however short a lifetime the server gives


@dataclass(slots=True)
class Renewal:
    """Remembers what came of the last attempts. `jitter` is uniform in 0..1, given by the caller.

    `due` is when the next attempt is; it is at once until the first success or failure is told.
    """

    due: float = 0.0
    failures: int = 0
    refusals: int = 0

    def changed(self, now: float) -> None:
        """The addresses, the link or the settings changed: register at once, and begin with short pauses."""
        self.due, self.failures, self.refusals = now, 0, 0

    def asked(self, now: float, delay: float) -> None:
        """The registrar wants to hear from us after `delay` seconds, if not before."""
        self.due = min(self.due, now + delay)

    def registered(self, now: float, lifetime: float | None, jitter: float) -> None:
        """The server took it. `lifetime` in seconds, None: it has no end, and is renewed as a day's one."""
        self.failures = self.refusals = 0
        half = (86400.0 if lifetime is None else lifetime) / 2
        self.due = now + max(SHORTEST_RENEWAL, half * (1 + JITTER * (2 * jitter - 1)))

    def failed(self, now: float, jitter: float, wanted: float = 0.0) -> None:
        """The server was not reached, or could not answer now and `wanted` to be left alone for so many seconds.

        Those whom it sent away together come again spread over as long a time, not together.
        """
        self.failures += 1
        wanted = min(wanted, LAST_RETRY / 2)
        self.due = now + max(_pause(FIRST_RETRY, LAST_RETRY, self.failures, jitter), wanted * (1 + jitter))

    def refused(self, now: float, jitter: float) -> None:
        """The server answered no, and somebody has to do something about it."""
        self.refusals += 1
        self.due = now + _pause(FIRST_RETRY_REFUSED, LAST_RETRY_REFUSED, self.refusals, jitter)


def _pause(first: float, last: float, count: int, jitter: float) -> float:
    """Doubling, bounded, and spread over its upper half so that terminals do not come in step."""
    longest = min(last, first * 2.0 ** min(count - 1, 32))
    return longest * (0.5 + 0.5 * jitter)
