"""The chart in an XML file on this machine, which people may edit while the server runs.

The file is the truth: every question looks whether it has changed, and reads it again then. An edit that cannot be
read leaves the last good chart in force, is logged once, and keeps everybody from writing until it is mended.
Synchronous; `app` makes it async. Right with several processes at once. For any thread.

Every method raises StoreError; those that write, InvalidValue for what XML cannot hold.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from lanpost.content.chart_xml import MAX_DOCUMENT
from lanpost.errors import InvalidValue, StoreBusy, StoreError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.service.chart_document import PAGE, ChartDocument, Draft, text_of
from lanpost.service.ports import Change
from lanpost.store.files import give_to_folders_owner, store_error, sync_folder, write_new_file
from lanpost.store.sqlite import BUSY_SECONDS

log = logging.getLogger(__name__)

LOCK_SUFFIX = ".lock"
LOCK_PAUSES = (0.0005, 0.001, 0.002, 0.005)  # seconds between tries to get the lock; the last one again and again
GRACE_SECONDS = 0.5  # for an editor that is just writing: what cannot be read is told after that

Result = TypeVar("Result")
_Stamp = tuple[int, int, int, int]  # device, inode, time of change, size


class XmlFileChart:
    """The whole table of bindings in one file, made if need be."""

    def __init__(self, file: Path, default_domain: str = "", busy_seconds: float = BUSY_SECONDS) -> None:
        self.file = Path(os.path.realpath(file))  # a link stays one: what it names is replaced
        self._default_domain = default_domain
        self._busy_seconds = busy_seconds
        self._document = ChartDocument()
        self._asking = (
            threading.Lock()
        )  # held while the document is read or altered: microseconds, but for a reading
        self._writing = threading.RLock()
        self._draft: Draft | None = None  # of the transaction under way
        self._held = -1  # the file that was read, open so that its inode stays its own
        self._stamp: _Stamp | None = None  # of the file that was looked at last
        self._broken = ""  # why that cannot be read
        self._broken_since: float | None = None  # None: it was told
        self._closed = False
        self._open()

    def _open(self) -> None:
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock_file():
                if not self.file.exists():
                    self._write(text_of([]))
        except OSError as error:
            raise store_error(error, f"{self.file} cannot be made") from error
        with self._asking:
            self._refresh()
            if self._broken:
                raise StoreError(self._broken)

    def look_up(self, address: MailAddress) -> Entry | None:
        """What is known of an address, expired bindings included; a few microseconds."""
        with self._asking:
            self._refresh()
            return self._document.look_up(address)

    def entries(self, after: str = "", limit: int = PAGE) -> Sequence[Entry]:
        """The entries that follow the key `after`, in ascending order of their keys; none: that was the last."""
        with self._asking:
            self._refresh()
            return self._document.entries(after, limit)

    def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]:
        """Every binding that names this endpoint."""
        with self._asking:
            self._refresh()
            return self._document.bound_to(endpoint)

    def version(self) -> int:
        """Another number whenever anybody may have changed anything: every change is numbered here."""
        return self.last_change()

    def last_change(self) -> int:
        """The number of the newest change that this object has seen."""
        with self._asking:
            self._refresh()
            return self._document.last_change

    def changes_since(self, change: int, limit: int = PAGE) -> Sequence[tuple[int, MailAddress]]:
        """Addresses bound after that number and still bound, each with its last number, in order."""
        with self._asking:
            self._refresh()
            return self._document.changes_since(change, limit)

    def feed(self, after: int, limit: int = PAGE) -> Sequence[Change] | None:
        """Every change after that number, removals too, oldest first; None: it is not remembered so far back."""
        with self._asking:
            self._refresh()
            return self._document.feed(after, limit)

    def lapsed(self, after: datetime, until: datetime, key: str = "", limit: int = PAGE) -> Sequence[Entry]:
        """As `ChangeFeed.lapsed`."""
        with self._asking:
            self._refresh()
            return self._document.lapsed(after, until, key, limit)

    def generation(self) -> str:
        """Another word for another object: it numbers what it sees itself."""
        return self._document.generation

    def bind(self, binding: Binding) -> None:
        """Put a binding in force, durably, in place of the address's former one."""
        with self._drafting() as draft:
            draft.bind(binding)

    def bind_many(self, bindings: Iterable[Binding]) -> int:
        """Put all in force in one transaction. Returns their number."""
        with self._drafting() as draft:
            return draft.bind_many(bindings)

    def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool:
        """Take the endpoint (`at`: only that one) away and keep the entry. False: none was bound."""
        with self._drafting() as draft:
            return draft.unbind(address, at)

    def add(self, address: MailAddress) -> bool:
        """Make an address known, without a binding. False: it was already."""
        with self._drafting() as draft:
            return draft.add(address)

    def describe(self, address: MailAddress, details: Details) -> bool:
        """Replace what the entry says for address books. False: no such address is known."""
        with self._drafting() as draft:
            return draft.describe(address, details)

    def remove(self, address: MailAddress) -> bool:
        """Forget an address wholly. False: it was not known."""
        with self._drafting() as draft:
            return draft.remove(address)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written inside reaches the file together, or not at all."""
        with self._drafting():
            yield

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._writing, self._asking:
            self._closed = True
            self._hold(-1)

    @contextmanager
    def _drafting(self) -> Iterator[Draft]:
        with self._writing:
            if self._draft is not None:
                yield self._draft
                return
            with self._lock_file():
                with self._asking:
                    self._refresh()
                    self._refuse_broken()
                    self._draft = draft = self._document.draft()
                try:
                    yield draft
                    if draft.changed:
                        self._commit(draft)
                except OSError as error:
                    raise store_error(error, f"{self.file} cannot be written") from error
                finally:
                    self._draft = None

    def _commit(self, draft: Draft) -> None:
        while True:
            with self._asking:
                stamp, lines = self._stamp, self._document.lines(draft)
            part, held = self._write_part(text_of(lines))
            with self._asking:
                try:
                    self._refresh()
                    self._refuse_broken()
                    if self._stamp != stamp:  # edited by hand this very moment: our changes go on top of that
                        os.close(held)
                        part.unlink()
                        continue
                    part.replace(self.file)
                except BaseException:
                    with suppress(OSError):
                        os.close(held)
                    part.unlink(missing_ok=True)
                    raise
                self._document.take(draft)
                self._hold(held)
                self._stamp = _stamp(os.fstat(held))
                break
        sync_folder(self.file.parent)

    def _write_part(self, data: bytes) -> tuple[Path, int]:
        """A file beside ours, with its mode and owner, on disk and open for reading."""
        part = self.file.with_name(f".{self.file.name}.{secrets.token_hex(6)}")
        former = self.file.stat()
        write_new_file(part, (data,), former.st_mode & 0o7777)
        try:
            part.chmod(former.st_mode & 0o7777)  # whatever the umask took
            with suppress(PermissionError):
                os.chown(part, former.st_uid, former.st_gid)
            return part, os.open(part, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _write(self, data: bytes) -> None:
        """The first file of all."""
        part = self.file.with_name(f".{self.file.name}.{secrets.token_hex(6)}")
        write_new_file(part, (data,), for_folders_owner=True)
        try:
            part.replace(self.file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(self.file.parent)

    def _refresh(self) -> None:
        """Read the file again if it has changed. `os.stat`: at every question, twice as quick as Path's."""
        if self._closed:
            raise StoreError(f"{self.file}: the chart is closed")
        try:
            if _stamp(os.stat(self.file)) != self._stamp:  # noqa: PTH116
                self._load()
        except FileNotFoundError:
            self._set_broken(None, f"{self.file} is gone; put it back, or start anew with an empty chart")
        except OSError as error:
            self._set_broken(None, f"{self.file} cannot be read: {error.strerror or error}")
        if self._broken_since is not None and time.monotonic() - self._broken_since >= GRACE_SECONDS:
            self._broken_since = None
            log.error(
                "%s; the chart stays as it was before, and nothing is written until that is mended", self._broken
            )

    def _load(self) -> None:
        handle = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)  # before reading: what is written meanwhile makes another
            with open(handle, "rb", closefd=False) as file:
                data = file.read(MAX_DOCUMENT + 1)
            changed = datetime.fromtimestamp(status.st_mtime, UTC)
            self._document.read(data, self._default_domain, changed)
        except InvalidValue as error:
            os.close(handle)
            self._set_broken(_stamp(status), f"{self.file}, {error}")
            return
        except BaseException:
            os.close(handle)
            raise
        if self._broken and self._broken_since is None:
            log.info("%s can be read again", self.file)
        self._broken, self._broken_since = "", None
        self._stamp = _stamp(status)
        self._hold(handle)

    def _set_broken(self, stamp: _Stamp | None, text: str) -> None:
        self._stamp = stamp
        if text != self._broken:
            self._broken, self._broken_since = text, time.monotonic()

    def _refuse_broken(self) -> None:
        if self._broken:
            raise StoreError(f"{self._broken}; nothing is written until that is mended")

    def _hold(self, handle: int) -> None:
        held, self._held = self._held, handle
        if held >= 0:
            os.close(held)

    @contextmanager
    def _lock_file(self) -> Iterator[None]:
        """Alone among all processes. Raises StoreBusy where another one does not let go."""
        path = self.file.with_name(self.file.name + LOCK_SUFFIX)
        try:
            is_new = not path.exists()
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if is_new:
                give_to_folders_owner(path, handle)
        except OSError as error:
            raise store_error(error, f"{path} cannot be opened") from error
        try:
            give_up = time.monotonic() + self._busy_seconds
            pauses = iter(LOCK_PAUSES)
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up:
                        raise StoreBusy(f"{self.file}: another process keeps {path.name}") from None
                    time.sleep(next(pauses, LOCK_PAUSES[-1]))
            yield
        finally:
            os.close(handle)  # and with it the lock


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
