"""Who is served next where many wait for few places: a lane for each destination, so that none holds up another.

Pure. Within a lane first come, first served; the lanes take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Destination = TypeVar("Destination", bound=Hashable)
Job = TypeVar("Job")


class Lanes(Generic[Destination, Job]):
    """Bounded places in all, and fewer for each destination.

    A lane exists only while somebody waits or is served in it.
    """

    def __init__(self, places: int, places_per_lane: int) -> None:
        self._places = places
        self._places_per_lane = places_per_lane
        self.served = 0
        self._waiting: dict[Destination, deque[Job]] = {}
        self._served: dict[Destination, int] = {}
        self._turns: deque[Destination] = deque()  # lanes with somebody waiting and a free place, in turn
        self._in_turns: set[Destination] = set()

    def join(self, destination: Destination, job: Job) -> None:
        """Wait in a lane."""
        self._waiting.setdefault(destination, deque()).append(job)
        self._offer_turn(destination)

    def next(self) -> tuple[Destination, Job] | None:
        """Who is served now; he takes a place until `leave`. None: nobody can be."""
        if self.served >= self._places or not self._turns:
            return None
        destination = self._turns.popleft()
        self._in_turns.discard(destination)
        waiting = self._waiting[destination]
        job = waiting.popleft()
        if not waiting:
            del self._waiting[destination]
        self.served += 1
        self._served[destination] = self._served.get(destination, 0) + 1
        self._offer_turn(destination)
        return destination, job

    def leave(self, destination: Destination) -> None:
        """One who was served is done."""
        self.served -= 1
        self._served[destination] -= 1
        if not self._served[destination]:
            del self._served[destination]
        self._offer_turn(destination)

    def clear(self, destination: Destination) -> list[Job]:
        """All who wait in a lane; they wait no more."""
        if destination in self._in_turns:
            self._in_turns.discard(destination)
            self._turns.remove(destination)
        return list(self._waiting.pop(destination, ()))

    def waiting(self) -> int:
        """How many wait, in all lanes."""
        return sum(map(len, self._waiting.values()))

    def _offer_turn(self, destination: Destination) -> None:
        if (
            destination in self._waiting
            and destination not in self._in_turns
            and self._served.get(destination, 0) < self._places_per_lane
        ):
            self._in_turns.add(destination)
            self._turns.append(destination)
