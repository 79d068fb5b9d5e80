"""One fsync of a folder for all who wait for it at the same moment."""

from __future__ import annotations

import threading
from pathlib import Path

from lanpost.store.files import sync_folder


class _Turn:
    __slots__ = ("asked", "done", "mutex", "users")

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.users = 0
        self.asked = 0  # syncs asked for
        self.done = 0  # of these, answered by a sync begun after they were asked for


class SharedSync:
    """Folder syncs from several threads, shared where they overlap."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[Path, _Turn] = {}  # as many as there are callers

    def sync(self, folder: Path) -> None:
        """Return once a sync that began after this call has ended. Raises OSError."""
        with self._guard:
            turn = self._turns.setdefault(folder, _Turn())
            turn.users += 1
            turn.asked += 1
            ticket = turn.asked
        try:
            with turn.mutex:
                if turn.done < ticket:
                    covered = turn.asked
                    sync_folder(folder)
                    turn.done = covered
        finally:
            with self._guard:
                turn.users -= 1
                if not turn.users:
                    del self._turns[folder]
