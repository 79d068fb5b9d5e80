"""One Maildir as one POP3 session sees it, exclusively among such sessions, over all processes.

Other programs may deliver, rename and remove meanwhile: numbers and unique ids do not change by that, and a mail
that went away raises StoreError when it is asked for. Mails stay in `new`: to POP3 nothing is "seen".
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar

from lanpost.errors import StoreBusy, StoreError
from lanpost.store.files import store_error, sync_folder
from lanpost.store.line_ends import to_wire
from lanpost.store.maildir_names import stored_mails

Result = TypeVar("Result")

LOCK_FILE = "lanpost.lock"
READ_OCTETS = 32 * 1024 - 1  # with a CR held over and one more for each LF at most 64 KiB


class MaildirSession:
    """Satisfies MailboxSession. Not safe from several threads at once."""

    def __init__(self, maildir: Path, name: str, on_delete: Callable[[], None]) -> None:
        """Raises StoreBusy where another session has the mailbox, StoreError where it cannot be read."""
        self._maildir = maildir
        self._name = name
        self._on_delete = on_delete
        self._handle: int | None = self._locked()
        try:
            self._mails = sorted(stored_mails(maildir), key=lambda mail: mail.order)
            self._sizes = [self._wire_size(index) for index in range(len(self._mails))]
        except OSError as error:
            self.close()
            raise self._error(error) from None
        except BaseException:
            self.close()
            raise

    def sizes(self) -> Sequence[int]:
        return self._sizes

    def unique_ids(self) -> Sequence[str]:
        ids = [mail.unique_id for mail in self._mails]
        if len(set(ids)) < len(ids):
            # Only a broken program makes two mails of one name; RFC 1939 §7 wants two ids even then.
            seen: Counter[str] = Counter()
            for index, name in enumerate(ids):
                seen[name] += 1
                if seen[name] > 1:
                    ids[index] = f"{name[:60]}!{seen[name]}"
        return ids

    def chunks(self, index: int) -> Iterator[bytes]:
        try:
            with self._where_it_is(index, _open) as file:
                yield from to_wire(iter(lambda: file.read(READ_OCTETS), b""))
        except OSError as error:
            raise self._error(error) from None

    def delete(self, indexes: Iterable[int]) -> None:
        folders: set[Path] = set()
        failed: OSError | None = None
        for index in indexes:
            try:
                folders.add(self._where_it_is(index, _unlink))
            except FileNotFoundError:
                continue  # removed by another program: what was wanted
            except OSError as error:
                failed = error
        for folder in sorted(folders):
            try:
                sync_folder(folder)
            except OSError as error:
                failed = error
        self._on_delete()
        if failed is not None:
            raise self._error(failed)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _locked(self) -> int:
        try:
            handle = os.open(self._maildir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise StoreError(f"there is no mailbox of {self._name} here") from None
        except OSError as error:
            raise self._error(error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StoreBusy(f"another session has the mailbox of {self._name} open") from None
        except OSError as error:
            os.close(handle)
            raise self._error(error) from None
        return handle

    def _wire_size(self, index: int) -> int:
        named = self._mails[index].wire_size
        if named is not None:
            return named
        try:
            return self._where_it_is(index, _measure)
        except FileNotFoundError:
            return 0  # gone since the listing: retrieving it says so

    def _where_it_is(self, index: int, act: Callable[[Path], Result]) -> Result:
        """Do something with a mail's file; other programs rename it to `cur` and change its flags meanwhile."""
        try:
            return act(self._maildir / self._mails[index].path)
        except FileNotFoundError:
            now = {mail.unique: mail for mail in stored_mails(self._maildir)}
            self._mails = [now.get(mail.unique, mail) for mail in self._mails]
            return act(self._maildir / self._mails[index].path)

    def _error(self, error: OSError) -> StoreError:
        if isinstance(error, FileNotFoundError):
            return StoreError(f"another program has removed this mail from the mailbox of {self._name}")
        return store_error(error, f"the mailbox of {self._name}")


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _unlink(path: Path) -> Path:
    path.unlink()
    return path.parent


def _measure(path: Path) -> int:
    status = path.stat()
    return _measured(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16384)
def _measured(path: Path, _size: int, _changed_ns: int) -> int:
    """Octets with CRLF line ends of a file whose name does not tell; read again only once it has changed."""
    with path.open("rb") as file:
        return sum(map(len, to_wire(iter(lambda: file.read(READ_OCTETS), b""))))
