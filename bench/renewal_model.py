"""How long until all are in: the agent's own pauses against a server of so many a second, without sockets.

The server takes as many as it can, keeps so many more waiting, and turns away the rest at once; whoever waits
longer than the agent's patience has hung up before his turn.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable

from lanpost.net.registrar_http import EXCHANGE_SECONDS
from lanpost.service.renewal import Renewal

PLACES = 1000  # connections that the server holds; the next one is turned away


def converge(rate: float, count: int, say: Callable[[str], None]) -> None:
    """Tell how long it takes where all boot in one moment."""
    for share in (1.0, 0.1):
        seconds, attempts, last = simulate(rate * share, count)
        say(
            f"model: {count:,} agents that boot in one moment, a server of {rate * share:,.0f}/s: all in after "
            f"{seconds:.0f} s ({seconds * rate * share / count:.2f} x the least possible), "
            f"{attempts / count:.1f} attempts each, most {last}"
        )


def simulate(rate: float, count: int, seed: int = 1) -> tuple[float, int, int]:
    """Seconds until all are in, attempts in all, most attempts of one."""
    chance = random.Random(seed).random
    renewals = [Renewal() for _ in range(count)]
    tries = [0] * count
    due = [(0.0, number) for number in range(count)]
    waiting: deque[tuple[float, int]] = deque()
    free_at = 0.0
    turn = 1 / rate
    while due or waiting:
        # Whatever comes first: somebody's attempt, or the server's next turn.
        if waiting and (not due or free_at <= due[0][0]):
            since, number = waiting.popleft()
            if free_at - since > EXCHANGE_SECONDS:  # he has hung up: that costs the server nothing
                renewals[number].failed(since + EXCHANGE_SECONDS, chance())
                heapq.heappush(due, (max(renewals[number].due, free_at), number))
                continue
            free_at = max(free_at, since) + turn
            continue
        now, number = heapq.heappop(due)
        tries[number] += 1
        if len(waiting) < PLACES:
            free_at = free_at if waiting else max(free_at, now)
            waiting.append((now, number))
        else:
            renewals[number].failed(now, chance())
            heapq.heappush(due, (renewals[number].due, number))
    return free_at, sum(tries), max(tries)
