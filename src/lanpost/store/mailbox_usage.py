"""How much each mailbox holds: summed from the file names, then counted along.

Cheap (one listing in five seconds for a mailbox that receives) and right across processes to within that time;
before anything is refused the folder is listed again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lanpost.errors import StoreFull
from lanpost.store.maildir_names import stored_mails

FRESH_SECONDS = 5.0  # how long our own counting is trusted: others deliver and delete too
FRESH_WHEN_FULL_SECONDS = 0.5  # and where it would refuse a mail
MAX_KNOWN = 4096  # mailboxes remembered
STALE_TMP_SECONDS = 36 * 3600  # a delivery that died (the Maildir format's own figure)
_STRIPES = 64


@dataclass(slots=True)
class _Count:
    octets: int
    counted: float  # monotonic seconds


class MailboxUsage:
    """Octets held per Maildir. Safe from several threads."""

    def __init__(self, quota: int) -> None:
        self._quota = quota  # octets
        self._counts: OrderedDict[Path, _Count] = OrderedDict()
        self._guard = threading.Lock()
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    def check(self, maildir: Path) -> None:
        """Raises StoreFull where nothing more fits, before a mail is written in vain."""
        with self._lock(maildir):
            self._room_for(maildir, 1)

    def add(self, maildir: Path, size: int, put: Callable[[], object]) -> int:
        """`put` a mail of `size` octets in its place and count it. Returns octets held; StoreFull: not put."""
        with self._lock(maildir):
            count = self._room_for(maildir, size)
            put()
            count.octets += size
            return count.octets

    def forget(self, maildir: Path) -> None:
        """Mails were removed: count anew at the next question."""
        with self._guard:
            self._counts.pop(maildir, None)

    def _lock(self, maildir: Path) -> threading.Lock:
        return self._locks[hash(maildir) % _STRIPES]

    def _room_for(self, maildir: Path, size: int) -> _Count:
        count = self._count(maildir, FRESH_SECONDS)
        if count.octets + size > self._quota:
            count = self._count(maildir, FRESH_WHEN_FULL_SECONDS)
        if count.octets + size > self._quota:
            raise StoreFull(f"mailbox full: it holds {count.octets} of {self._quota} octets")
        return count

    def _count(self, maildir: Path, fresh_seconds: float) -> _Count:
        now = time.monotonic()
        with self._guard:
            count = self._counts.get(maildir)
            if count is not None and now - count.counted < fresh_seconds:
                self._counts.move_to_end(maildir)
                return count
        count = _Count(held(maildir)[1], now)
        sweep(maildir)
        with self._guard:
            self._counts[maildir] = count
            self._counts.move_to_end(maildir)
            if len(self._counts) > MAX_KNOWN:
                self._counts.popitem(last=False)
        return count


def held(maildir: Path) -> tuple[int, int]:
    """Mails and octets in a Maildir. Raises OSError."""
    mails = octets = 0
    for mail in stored_mails(maildir):
        mails += 1
        if mail.size is not None:
            octets += mail.size
        else:
            with suppress(FileNotFoundError):  # another program has just renamed or removed it
                octets += (maildir / mail.path).stat().st_size
    return mails, octets


def sweep(maildir: Path) -> None:
    """Remove what deliveries that died left in `tmp`."""
    oldest = time.time() - STALE_TMP_SECONDS
    for path in (maildir / "tmp").iterdir():
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            if path.stat().st_mtime < oldest:
                path.unlink()
