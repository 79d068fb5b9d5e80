"""When a mail that waits is tried again, when its sender is told that it waits, when we give it up.

Pure: time, chance and settings are arguments. All times are seconds since the epoch, all spans seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

SPREAD = 0.2  # a pause is longer or shorter by up to this share, so that mails do not come in step
SOON = 30.0  # the longest pause while the chart cannot be asked: it says nothing of the terminal
YOUNG = 15.0  # age of a binding whose address may not answer yet: a DHCP server tells while it is being tested
YOUNG_PAUSE = 1.0  # the longest pause then
_MAX_DOUBLINGS = 40


@dataclass(frozen=True, slots=True)
class Schedule:
    """The settings `[delivery] first_retry, last_retry, delay_notice, give_up`."""

    first_retry: float = 5.0
    last_retry: float = 600.0
    delay_notice: float = 4 * 3600.0
    give_up: float = 5 * 86400.0

    def next_try(
        self,
        now: float,
        arrived: float,
        attempts: int,
        chance: float,
        *,
        registered: float | None = None,
        soon: bool = False,
    ) -> float:
        """When to try again after the `attempts`-th failure; `chance` is from 0 to 1, evenly spread.

        The pause doubles from `first_retry` to `last_retry`. While a terminal's registration is younger than that,
        the pause is no longer than its age: a terminal that has just come up or moved is tried often, however long
        its mail has waited; within its first seconds, while it is perhaps still testing its address, every second.
        `soon`: nothing is known against the endpoint. Never later than the giving up.
        """
        pause = min(self.last_retry, self.first_retry * 2.0 ** min(max(attempts - 1, 0), _MAX_DOUBLINGS))
        if registered is not None:
            pause = min(pause, max(self.first_retry, now - registered))
            if abs(now - registered) < YOUNG:
                pause = min(pause, YOUNG_PAUSE)
        if soon:
            pause = min(pause, SOON)
        return min(
            now + pause * (1 - SPREAD + 2 * SPREAD * chance), max(now + self.first_retry, self.expiry(arrived))
        )

    def next_look(self, now: float, arrived: float, chance: float, *, delay_told: bool) -> float:
        """When to look after a held mail although nobody has told of its terminal."""
        moments = [now + self.last_retry * (1 + SPREAD * chance), self.expiry(arrived)]
        if not delay_told:
            moments.append(arrived + self.delay_notice)
        return max(min(moments), now + self.first_retry)

    def is_delayed(self, now: float, arrived: float) -> bool:
        """The sender ought to know by now that the mail waits."""
        return now >= arrived + self.delay_notice

    def is_expired(self, now: float, arrived: float) -> bool:
        """It has waited long enough."""
        return now >= self.expiry(arrived)

    def expiry(self, arrived: float) -> float:
        """The moment after which it is not tried again."""
        return arrived + self.give_up
