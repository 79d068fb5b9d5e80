"""The one thread in which a folder of mails is written: in order, away from any event loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lanpost.errors import StoreError
from lanpost.store.files import store_error

Result = TypeVar("Result")


class WritingThread:
    """Does one thing after the other. What fails in it fails as StoreError, with the folder's name."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    def submit(self, action: Callable[[], Result]) -> Future[Result]:
        """Have it done. After `close` the Future has failed already."""

        def guarded() -> Result:
            try:
                return action()
            except OSError as error:
                raise store_error(error, str(self._folder)) from None

        try:
            return self._pool.submit(guarded)
        except RuntimeError:
            failed: Future[Result] = Future()
            failed.set_exception(StoreError(f"{self._folder}: is being closed"))
            return failed

    def close(self) -> None:
        """Finish what was handed over. Idempotent."""
        self._pool.shutdown()
