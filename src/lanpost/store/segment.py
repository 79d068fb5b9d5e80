"""One file of the spool's journal: appended to, synced, read back, and at last removed.

Raises OSError as the system gave it.
"""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Sequence
from pathlib import Path

from lanpost.store import journal
from lanpost.store.files import sync_folder

MAX_BUFFERS = 512  # of one pwritev; the system takes 1024


class Segment:
    """A segment and what the spool keeps in it. Its file stays open, unlinked or not, while anybody reads."""

    def __init__(self, path: Path, handle: int, mark: bytes, end: int) -> None:
        self.path = path
        self.number = int(path.stem, 16)
        self.mark = mark
        self.end = end  # octets that are sound; the next record begins here
        self.live: dict[str, int] = {}  # mails whose content is here: octets of it
        self.live_octets = 0
        self.states: set[str] = set()  # mails whose newest state is here, their content elsewhere
        self.removals: dict[str, set[int]] = {}  # removed mails -> segments that still hold a copy of them
        self._handle = handle
        weakref.finalize(self, os.close, handle)

    @staticmethod
    def create(folder: Path, number: int) -> Segment:
        """A new segment, durable with its name before it returns."""
        path = folder / f"{number:08x}.seg"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        mark = secrets.token_bytes(journal.MARK_OCTETS)
        try:
            if os.geteuid() == 0:
                # Made by the administrator's command, it must still be the server's to open.
                owner = folder.stat()
                os.fchown(handle, owner.st_uid, owner.st_gid)
            os.pwrite(handle, journal.segment_head(mark), 0)
            os.fsync(handle)
            sync_folder(folder)
        except BaseException:
            os.close(handle)
            path.unlink(missing_ok=True)
            raise
        return Segment(path, handle, mark, journal.SEGMENT_HEAD)

    @staticmethod
    def open(path: Path) -> Segment | None:
        """A segment that was there. None: its head is damaged. StoreError: of a newer format."""
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            mark = journal.read_mark(os.pread(handle, journal.SEGMENT_HEAD, 0), str(path))
            size = os.fstat(handle).st_size
        except BaseException:
            os.close(handle)
            raise
        if mark is None:
            os.close(handle)
            return None
        return Segment(path, handle, mark, size)

    def scan(self, *, whole: bool) -> Sequence[journal.Record | journal.Damage]:
        return list(journal.scan(self._handle, self.end, self.mark, whole=whole))

    def append(self, buffers: Sequence[bytes], length: int) -> None:
        """Write at the end. The segment grows only by `accept`, once that is safe."""
        offset = self.end
        for first in range(0, len(buffers), MAX_BUFFERS):
            part: Sequence[bytes | memoryview] = buffers[first : first + MAX_BUFFERS]
            while part:
                written = os.pwritev(self._handle, part, offset)
                offset += written
                part = _rest(part, written)
        if offset != self.end + length:
            raise OSError(f"{self.path}: wrote {offset - self.end} octets of {length}")

    def accept(self, length: int) -> None:
        """What was appended is part of the segment from now on."""
        self.end += length

    def sync(self) -> None:
        os.fdatasync(self._handle)

    def truncate(self, end: int) -> None:
        """Cut what lies beyond `end`, durably."""
        os.ftruncate(self._handle, end)
        os.fsync(self._handle)
        self.end = end

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._handle, length, offset)
        if len(data) != length:
            raise OSError(f"{self.path}: ends before octet {offset + length}")
        return data

    def read_cached(self, offset: int, length: int) -> bytes | None:
        """The same, if it is in memory and so costs no wait; else None."""
        data = bytearray(length)
        try:
            if os.preadv(self._handle, (data,), offset, os.RWF_NOWAIT) != length:
                return None
        except OSError:  # EAGAIN: on disk only; EOPNOTSUPP: not on this file system
            return None
        return bytes(data)

    def remove(self) -> None:
        """Unlink the file, durably."""
        self.path.unlink(missing_ok=True)
        sync_folder(self.path.parent)

    def keep(self, mail_id: str, length: int) -> None:
        """A live mail's content is here."""
        self.live[mail_id] = length
        self.live_octets += length

    def drop(self, mail_id: str) -> None:
        """It is not any more."""
        self.live_octets -= self.live.pop(mail_id, 0)


def _rest(part: Sequence[bytes | memoryview], written: int) -> Sequence[bytes | memoryview]:
    for number, buffer in enumerate(part):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *part[number + 1 :]] if written else part[number:]
        written -= len(buffer)
    return ()
