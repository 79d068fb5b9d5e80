"""Files brought to a stick: only those that are not there yet, each whole or not at all, and read back.

A run that broke off is repeated: what is there and right stays. Raises StoreError, which says what is wrong with
the folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lanpost.errors import StoreError, StoreFull
from lanpost.store.files import sync_folder, write_all

CHUNK = 2**20  # octets at a time
_SPARE = 2**20  # octets that folders and the file system's own tables may take
_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE)


@dataclass(frozen=True, slots=True)
class Content:
    """One file's: its digest and octets are known before any is written."""

    sha256: str
    size: int
    chunks: Callable[[], Iterable[bytes]]

    @staticmethod
    def of(data: bytes) -> Content:
        return Content(hashlib.sha256(data).hexdigest(), len(data), lambda: (data,))

    @staticmethod
    def of_file(file: Path, sha256: str) -> Content:
        return Content(sha256, file.stat().st_size, lambda: _chunks_of(file))


class BundleFolder:
    """The folder: `missing` says what is left to write, `write` brings one file there."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder itself, but none above it: a stick that is not mounted must not fill this disk."""
        self._folder = folder
        with self._errors():
            if not folder.parent.is_dir():
                raise StoreError(
                    f"{folder.parent}: there is no such folder: is the stick mounted? (lsblk shows it)"
                )
            if folder.exists() and not folder.is_dir():
                raise StoreError(f"{folder} is a file: name a folder")
            folder.mkdir(exist_ok=True)

    def missing(self, contents: dict[str, Content]) -> list[str]:
        """Names, sorted, of what is not there or not right. Raises StoreFull where there is no room for them."""
        with self._errors():
            missing = [name for name in sorted(contents) if not self._is_right(name, contents[name])]
            needed = sum(contents[name].size for name in missing) + _SPARE
            # What is to be replaced gives its room back only afterwards.
            free = shutil.disk_usage(self._folder).free
        if missing and needed > free:
            raise StoreFull(
                f"{self._folder}: {_megabytes(needed)} MB are needed there, and {_megabytes(free)} MB are free: "
                "make room, or take another stick"
            )
        return missing

    def write(self, name: str, content: Content, wrote: Callable[[int], object] = lambda _octets: None) -> None:
        """One file, durably, and read back from the medium. `wrote` is told of octets as they are written."""
        path = self._folder / name
        fresh = path.with_name(f".{path.name}.part")
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Root may be here, with a stick of somebody else's: no link on it leads us to files of this machine.
            if path.parent.resolve() != self._folder.resolve() / Path(name).parent:
                raise StoreError(f"{path.parent} is a link to another place: remove it, or take another stick")
            fresh.unlink(missing_ok=True)
            try:
                with fresh.open("xb", buffering=0) as file:
                    for chunk in content.chunks():
                        write_all(file.fileno(), chunk)
                        wrote(len(chunk))
                    os.fsync(file.fileno())
                    _forget_cached(file.fileno())
                _prove(fresh, content)
                fresh.replace(path)
                _sync(path.parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    fresh.unlink(missing_ok=True)
                raise

    def _is_right(self, name: str, content: Content) -> bool:
        path = self._folder / name
        try:
            return path.stat().st_size == content.size and _holds(path, content)
        except (FileNotFoundError, NotADirectoryError):
            return False

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> StoreError:
        place = error.filename or self._folder
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreFull(f"{self._folder} is full: make room or take another stick, and say the same again")
        if error.errno == errno.EROFS:
            return StoreError(
                f"{self._folder} can only be read: the stick is switched or mounted so (mount -o remount,rw)"
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            return StoreError(f"{place}: you may not write there: say it with sudo, or mount the stick as yourself")
        if error.errno in _GONE or not self._folder.exists():
            return StoreError(
                f"{self._folder} is gone or broken ({error.strerror}): plug it in, and say the same again"
            )
        return StoreError(f"{place}: {error.strerror}")


def _prove(path: Path, content: Content) -> None:
    if not _holds(path, content):
        raise StoreError(f"{path}: what was written is not what is read back: the medium is broken, take another")


def _holds(path: Path, content: Content) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == content.sha256


def _chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _sync(folder: Path) -> None:
    """As far as the file system can: some of those that sticks have know no fsync of a folder."""
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def _forget_cached(handle: int) -> None:
    """So that what is read back comes from the medium and not from memory, where the system can."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def _megabytes(octets: int) -> str:
    return f"{octets / 1e6:.0f}"
