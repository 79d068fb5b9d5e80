"""Work of many connections in small helpings, so that whatever else runs on the event loop has its turn in between.

A thousand terminals that come at once are half a second of handshakes: mail must not wait for that.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

HELPING_SECONDS = 0.001


class Turns:
    """Two queues for one event loop: what was begun is gone on with before anything new is begun.

    So few are half done at a time, and those who wait have cost nothing yet. `do`'s exceptions go to the loop's
    handler, as those of any callback.
    """

    def __init__(
        self, helping_seconds: float = HELPING_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._helping_seconds = helping_seconds
        self._clock = clock
        self._begun: deque[Callable[[], object]] = deque()
        self._new: deque[Callable[[], object]] = deque()
        self._is_due = False

    def __len__(self) -> int:
        return len(self._begun) + len(self._new)

    def take(self, do: Callable[[], object], *, begins: bool = False) -> None:
        """Call `do` when its turn has come, never at once. `begins`: it is the first work for a connection."""
        (self._new if begins else self._begun).append(do)
        self._call_soon()

    def _call_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        until = self._clock() + self._helping_seconds
        try:
            while len(self) and self._clock() < until:
                (self._begun or self._new).popleft()()
        finally:
            self._is_due = False
            if len(self):
                self._call_soon()  # in the loop's next round, which looks for other work first
