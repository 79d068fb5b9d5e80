"""One Maildir that mail is received into while it arrives: large mail goes to disk, not into memory.

The folders are the custom ones (`tmp`, `new`, `cur`), the files as in `maildir.py`: LF line ends, sizes in the
name.
A mail is reported done only when it lies in `new` with file and folder on disk. Raises StoreError; the Futures
bring StoreFull and StoreError.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, cast

from lanpost.content.dots import unstuffed
from lanpost.store.files import store_error, sync_folder, write_new_file
from lanpost.store.line_ends import ToDisk
from lanpost.store.mailbox_usage import sweep
from lanpost.store.maildir_names import fresh_unique
from lanpost.store.writing_thread import WritingThread

Result = TypeVar("Result")

HELD_OCTETS = 262_144  # of one mail kept in memory; fax pages and notes never touch the disk twice
READ_OCTETS = 65_536


class Drop(Protocol):
    """What an IncomingMail needs of the place that it comes into."""

    @property
    def spill_folder(self) -> Path:
        """Where large mail is kept while it arrives."""

    def submit(self, action: Callable[[], Result]) -> Future[Result]: ...
    def put(self, chunks: Iterator[bytes]) -> None: ...


class MaildirDrop:
    """Where a terminal's mail goes. One thread writes, so what one mail hands over stays in order."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Open the Maildir, made if need be. `clock` in seconds since the epoch, for file names."""
        self.folder = folder
        self._clock = clock
        try:
            for part in ("tmp", "new", "cur"):
                (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(folder)
            sweep(folder)
        except OSError as error:
            raise store_error(error, str(folder)) from None
        self._writer = WritingThread(folder, "maildir")

    @property
    def spill_folder(self) -> Path:
        return self.folder / "tmp"

    def free_octets(self) -> int:
        """Room left on its disk. Raises StoreError."""
        try:
            found = os.statvfs(self.folder)
        except OSError as error:
            raise store_error(error, str(self.folder)) from None
        return found.f_bavail * found.f_frsize

    def receive(self) -> IncomingMail:
        """A mail begins."""
        return IncomingMail(self)

    def submit(self, action: Callable[[], Result]) -> Future[Result]:
        """Have the writing thread do something; OSErrors of it come as StoreError. For IncomingMail only."""
        return self._writer.submit(action)

    def put(self, chunks: Iterator[bytes]) -> None:
        """Store one mail durably; `chunks` have CRLF lines. In the writing thread. For IncomingMail only."""
        unique = fresh_unique(self._clock())
        fresh = self.folder / "tmp" / unique
        text = ToDisk()
        write_new_file(fresh, text.convert(chunks))
        final = self.folder / "new" / f"{unique},S={text.size_octets},W={text.wire_octets}"
        try:
            fresh.rename(final)
            sync_folder(final.parent)
        except BaseException:
            # Not reported as done, so the sender tries again: it must not be there twice.
            fresh.unlink(missing_ok=True)
            final.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Finish what was handed over. Idempotent."""
        self._writer.close()


class IncomingMail:
    """One mail on its way to disk. Ends with `finish` or `discard`."""

    def __init__(self, drop: Drop) -> None:
        self._drop = drop
        self._held: list[bytes] = []
        self._held_octets = 0
        self._file: BinaryIO | None = None  # touched by the writing thread only; nameless: a crash leaves nothing
        self.size_octets = 0

    def write(self, chunk: bytes) -> Future[None] | None:
        """More content: CRLF lines, dot-stuffed. A Future: hand over no more until it is done."""
        self._held.append(bytes(chunk))
        self._held_octets += len(chunk)
        self.size_octets += len(chunk)
        if self._held_octets < HELD_OCTETS:
            return None
        chunks, self._held, self._held_octets = self._held, [], 0
        return self._drop.submit(lambda: self._spill(chunks))

    def finish(self, head: bytes) -> Future[None]:
        """Store it, durably, with `head` (trace fields) on top."""
        held, self._held = self._held, []

        def store() -> None:
            try:
                self._drop.put(chain((head,), unstuffed(chain(self._spilled(), held))))
            finally:
                self._close()

        return self._drop.submit(store)

    def discard(self) -> None:
        """Forget it. Idempotent."""
        self._held = []
        self._drop.submit(self._close)

    def _spill(self, chunks: list[bytes]) -> None:
        if self._file is None:
            file = tempfile.TemporaryFile(dir=self._drop.spill_folder, buffering=0)  # noqa: SIM115 - see _close
            self._file = cast("BinaryIO", file)
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[self._file.write(view) :]

    def _spilled(self) -> Iterator[bytes]:
        if self._file is not None:
            self._file.seek(0)
            while chunk := self._file.read(READ_OCTETS):
                yield chunk

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
