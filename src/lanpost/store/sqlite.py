"""A SQLite file of ours: opened, brought up to its schema, its errors turned into StoreErrors.

Several processes may open one file at once. A connection must not be carried across a fork: open after it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lanpost.errors import StoreBusy, StoreError, StoreFull
from lanpost.store.files import store_error, sync_folder

BUSY_SECONDS = 10.0  # how long a writer waits for those of other processes
WAL_OCTETS = 16 * 2**20  # what the write-ahead log shrinks to after a large import
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BUSY_PAUSE = 0.005  # seconds; switching to WAL answers "busy" at once, without SQLite's own waiting
_REMEDIES = {
    sqlite3.SQLITE_CORRUPT: "restore it from a backup",
    sqlite3.SQLITE_NOTADB: "it is not a database; restore it from a backup or name another file",
    sqlite3.SQLITE_READONLY: "make file and folder writable for the user who runs lanpost",
    sqlite3.SQLITE_CANTOPEN: "see that the folder exists and is writable for the user who runs lanpost",
    sqlite3.SQLITE_PERM: "see who owns it",
    sqlite3.SQLITE_IOERR: "look at the disk and the kernel's log",
}


@dataclass(frozen=True, slots=True)
class Schema:
    """What a kind of file holds, as the statements that lead from each version to the next."""

    what: str  # as error messages call it
    application_id: int  # tells our files from other people's (PRAGMA application_id)
    steps: Sequence[Sequence[str]]

    @property
    def version(self) -> int:
        return len(self.steps)


def open_database(file: Path, schema: Schema, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection in WAL mode that is durable at each commit; the file is made or brought up to date.

    It belongs to one thread at a time, whichever that is, and transactions are explicit. Raises StoreError where
    the file cannot be used, is not of this kind, or was written by a newer lanpost.
    """
    try:
        _make_private(file)
        connection = sqlite3.connect(file, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise store_error(error, str(file)) from error
    except sqlite3.Error as error:
        raise sqlite_error(error, file) from error
    try:
        _use_wal(connection, file, busy_seconds)
        connection.execute("PRAGMA synchronous = FULL")  # a commit is on disk when it returns
        connection.execute(f"PRAGMA journal_size_limit = {WAL_OCTETS}")
        _bring_up_to_date(connection, file, schema)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise sqlite_error(error, file) from error
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, with the right to write from its start. Within another: a part of that one."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
            connection.execute("ROLLBACK")
        raise


def to_micros(time: datetime) -> int:
    """A time as our files hold it: microseconds since 1970, UTC. Exact."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The time, aware and in UTC, that `to_micros` wrote."""
    return _EPOCH + timedelta(microseconds=micros)


def sqlite_error(error: sqlite3.Error, file: Path) -> StoreError:
    """Our error for one of SQLite's, with file, reason and remedy."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; the rest is detail
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"{file}: another process has been writing for too long; try again")
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"{file}: no room left on the disk; make some")
    remedy = _REMEDIES.get(code)
    return StoreError(f"{file}: {error}" + (f"; {remedy}" if remedy else ""))


def _make_private(file: Path) -> None:
    """Only its owner may read it. Where root makes it, the folder's owner gets it: a service runs as that user.

    SQLite gives its -wal and -shm files the same mode and owner.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # Never opened when it exists: closing would drop the locks that this process holds on it through SQLite.
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return
    try:
        if os.geteuid() == 0:
            folder = file.parent.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
    finally:
        os.close(descriptor)
    sync_folder(file.parent)


def _use_wal(connection: sqlite3.Connection, file: Path, busy_seconds: float) -> None:
    deadline = time.monotonic() + max(busy_seconds, 1.0)
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreError(f"{file}: its file system shares no memory; keep it on a disk of this machine")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_BUSY_PAUSE)


def _bring_up_to_date(connection: sqlite3.Connection, file: Path, schema: Schema) -> None:
    if _version(connection, file, schema) == schema.version:
        return
    with transaction(connection):
        # Asked again: another process may just have done it.
        for step in schema.steps[_version(connection, file, schema) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.application_id}")
        connection.execute(f"PRAGMA user_version = {schema.version}")


def _version(connection: sqlite3.Connection, file: Path, schema: Schema) -> int:
    application_id, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application_id != schema.application_id and (application_id or version or tables):
        raise StoreError(f"{file}: this SQLite file is not a {schema.what}; name another one")
    if version > schema.version:
        raise StoreError(
            f"{file}: written by a newer lanpost (schema {version}, known here: {schema.version}); upgrade lanpost"
        )
    return int(version)
