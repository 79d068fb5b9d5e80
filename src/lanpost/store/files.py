"""Files made durable: written, fsynced, renamed into place, their folder fsynced.

Raises OSError as the system gave it; `store_error` turns one into StoreFull or StoreError for a caller's caller.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from lanpost.errors import StoreError, StoreFull

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Our own units let a service write in its data folder alone.
READ_ONLY_REMEDY = (
    "if systemd starts this, name the folder in the unit: `systemctl edit`, [Service] ReadWritePaths="
)


def store_error(error: OSError, what: str) -> StoreError:
    """What to raise for an OSError: StoreFull where the disk or the user's disk quota has no room left."""
    if error.errno in _FULL:
        return StoreFull(f"{what}: the disk is full")
    if error.errno == errno.EROFS:
        return StoreError(f"{what}: {error.strerror}; {READ_ONLY_REMEDY}")
    return StoreError(f"{what}: {error.strerror or error}")


def sync_folder(folder: str | Path) -> None:
    """Make the names in a folder durable: files made, renamed or removed there."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write the whole of `data`, however little the system takes at a time."""
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def write_new_file(
    path: str | Path, chunks: Iterable[bytes], mode: int = 0o600, *, for_folders_owner: bool = False
) -> int:
    """Make a file that must not exist yet, with its content on disk. Returns its octets.

    Nothing is left of it on any failure, that of `chunks` itself included. Its name is durable only after
    `sync_folder`. `for_folders_owner`: see `give_to_folders_owner`.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    size = 0
    try:
        try:
            if for_folders_owner:
                give_to_folders_owner(Path(path), handle)
            for chunk in chunks:
                write_all(handle, chunk)
                size += len(chunk)
            os.fsync(handle)
        finally:
            os.close(handle)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    return size


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a file in place of the one of that name, durably: whoever opens it sees the old or the new, whole.

    Where root does so it is the folder's owner's, from the start.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    write_new_file(fresh, (data,), mode, for_folders_owner=True)
    try:
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_file_once(path: Path, data: bytes) -> None:
    """Make a file durably where there is none. Of several who do so at once, one is first and its file stays.

    Where root does so it is the folder's owner's.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    write_new_file(fresh, [data], for_folders_owner=True)
    try:
        os.link(fresh, path)  # unlike a rename
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    sync_folder(path.parent)


def give_to_folders_owner(path: Path, handle: int | None = None) -> None:
    """What root made in a service's folder belongs to that service: it must be able to use it.

    By its `handle`, if it is a file: that user may have put another in its place meanwhile.
    """
    if os.geteuid() == 0:
        folder = path.parent.stat()
        if handle is not None:
            os.fchown(handle, folder.st_uid, folder.st_gid)
        else:
            os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)
