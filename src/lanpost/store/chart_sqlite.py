"""The chart in a SQLite file on this machine: the default, needs nothing else.

Synchronous; `app` makes it async. Right with several processes at once. Two connections: one reads and never waits,
one writes, so that an inquiry goes on beside an import. For any thread.

Every method raises StoreError; StoreBusy from a read means "in a moment" (another process is recovering the file).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

from lanpost.errors import StoreError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.endpoint import Endpoint
from lanpost.store.sqlite import (
    BUSY_SECONDS,
    Schema,
    from_micros,
    open_database,
    sqlite_error,
    to_micros,
    transaction,
)

WRITE_CACHE = 64 * 2**20  # octets; an import in no order touches the whole tree again and again
PAGE = 256  # entries read at a time: under a millisecond

SCHEMA = Schema(
    what="chart",
    application_id=0x4C500001,  # "LP", 1
    steps=(
        (
            # `key` is how addresses are compared, local and domain how this one was written last. No host: a known
            # terminal without a binding. Times are microseconds since 1970, UTC. `change`: see `last_change`.
            (
                "CREATE TABLE entry (key TEXT PRIMARY KEY, local TEXT NOT NULL, domain TEXT NOT NULL,"
                " host TEXT, port INTEGER, zone TEXT, updated INTEGER, expires INTEGER, source TEXT, owner TEXT,"
                " change INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
            ),
            "CREATE INDEX entry_change ON entry (change) WHERE host IS NOT NULL",
            "CREATE INDEX entry_endpoint ON entry (host, port, zone) WHERE host IS NOT NULL",
            "CREATE INDEX entry_expires ON entry (expires) WHERE expires IS NOT NULL",
            "CREATE TABLE counter (last_change INTEGER NOT NULL)",
            "INSERT INTO counter VALUES (0)",
        ),
    ),
)

COLUMNS = "key, local, domain, host, port, zone, updated, expires, source, owner"
_LOOK_UP = f"SELECT {COLUMNS} FROM entry WHERE key = ?"  # noqa: S608
_PAGE = f"SELECT {COLUMNS} FROM entry WHERE key > ? ORDER BY key LIMIT ?"  # noqa: S608
_BOUND_TO = (
    f"SELECT {COLUMNS} FROM entry WHERE host = ? AND port = ? AND zone = ? AND host IS NOT NULL"  # noqa: S608
    " ORDER BY key"
)
_CHANGES = (
    "SELECT change, key, local, domain FROM entry WHERE change > ? AND host IS NOT NULL ORDER BY change LIMIT ?"
)
_BIND = f"INSERT OR REPLACE INTO entry ({COLUMNS}, change) VALUES (?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
_UNBIND = (
    "UPDATE entry SET host = NULL, port = NULL, zone = NULL, updated = NULL, expires = NULL, source = NULL,"
    " owner = NULL WHERE key = ? AND host IS NOT NULL"
)

Row = tuple[str, str, str, str | None, int, str, int, int | None, str, str]


class SqliteChart:
    """The whole table of bindings in one file, made if need be."""

    def __init__(self, file: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.file = file
        self._writing = threading.RLock()
        self._reading = threading.Lock()
        self._last_change: int | None = None  # of the transaction under way, once it has bound something
        self._writer = open_database(file, SCHEMA, busy_seconds)
        try:
            self._writer.execute(f"PRAGMA cache_size = {-WRITE_CACHE // 1024}")
            self._reader = open_database(file, SCHEMA, busy_seconds)
            self._reader.execute("PRAGMA busy_timeout = 0")
            self._reader.execute("PRAGMA query_only = ON")
        except BaseException:
            self._writer.close()
            raise

    def look_up(self, address: MailAddress) -> Entry | None:
        """What is known of an address, expired bindings included; a few microseconds."""
        rows = self._read(_LOOK_UP, address.key)
        return entry_of(rows[0]) if rows else None

    def entries(self, after: str = "", limit: int = PAGE) -> Sequence[Entry]:
        """The entries that follow the key `after`, in ascending order of their keys; none: that was the last."""
        return [entry_of(row) for row in self._read(_PAGE, after, limit)]

    def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]:
        """Every binding that names this endpoint."""
        rows = self._read(_BOUND_TO, endpoint.host, endpoint.port, endpoint.zone)
        return [binding for row in rows if (binding := entry_of(row).binding)]

    def last_change(self) -> int:
        """The number of the newest binding ever written; it only grows, by one with each, in whichever process."""
        return int(self._read("SELECT last_change FROM counter")[0][0])

    def changes_since(self, change: int, limit: int = PAGE) -> Sequence[tuple[int, MailAddress]]:
        """Addresses bound after that number and still bound, each with its own number, in the order of binding.

        An address bound several times is told once, with its last number.
        """
        rows = self._read(_CHANGES, change, limit)
        return [(number, MailAddress(local, domain, key)) for number, key, local, domain in rows]

    def bind(self, binding: Binding) -> None:
        """Put a binding in force, durably, in place of the address's former one."""
        self.bind_many((binding,))

    def bind_many(self, bindings: Iterable[Binding]) -> int:
        """Put all in force in one transaction. Returns their number."""
        with self.transaction():
            if self._last_change is None:
                (self._last_change,) = self._writer.execute("SELECT last_change FROM counter").fetchone()
            rows = [(*_values(each), change) for change, each in enumerate(bindings, self._last_change + 1)]
            self._last_change += len(rows)
            rows.sort(key=itemgetter(0))  # neighbours lie on one page: half the time of an import in no order
            self._writer.executemany(_BIND, rows)
        return len(rows)

    def unbind(self, address: MailAddress) -> bool:
        """Take the endpoint away and keep the entry. False: none was bound."""
        return self._write(_UNBIND, address.key) > 0

    def add(self, address: MailAddress) -> bool:
        """Make an address known, without a binding. False: it was already."""
        statement = "INSERT OR IGNORE INTO entry (key, local, domain) VALUES (?, ?, ?)"
        return self._write(statement, address.key, address.local, address.domain) > 0

    def remove(self, address: MailAddress) -> bool:
        """Forget an address wholly. False: it was not known."""
        return self._write("DELETE FROM entry WHERE key = ?", address.key) > 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written inside reaches the disk together, with one fsync, or not at all."""
        with self._writing:
            if self._writer.in_transaction:
                yield
                return
            try:
                with transaction(self._writer):
                    yield
                    if self._last_change is not None:
                        self._writer.execute("UPDATE counter SET last_change = ?", (self._last_change,))
            except sqlite3.Error as error:
                raise sqlite_error(error, self.file) from error
            finally:
                self._last_change = None

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def _read(self, statement: str, *values: object) -> list[Any]:
        try:
            with self._reading:
                # All rows at once: a cursor half read would hold its snapshot, and the log could not be cut short.
                return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error

    def _write(self, statement: str, *values: object) -> int:
        with self.transaction():
            return self._writer.execute(statement, values).rowcount


def row_of(entry: Entry) -> tuple[object, ...]:
    """The values of COLUMNS."""
    if entry.binding:
        return _values(entry.binding)
    address = entry.address
    return (address.key, address.local, address.domain, None, None, None, None, None, None, None)


def _values(binding: Binding) -> tuple[object, ...]:
    address, endpoint, expires = binding.address, binding.endpoint, binding.expires
    return (
        address.key,
        address.local,
        address.domain,
        endpoint.host,
        endpoint.port,
        endpoint.zone,
        to_micros(binding.updated),
        to_micros(expires) if expires else None,
        binding.source.value,
        binding.owner,
    )


_SOURCES = {source.value: source for source in Source}


def entry_of(row: Row) -> Entry:
    """What the values of COLUMNS say. Raises StoreError."""
    # Built from their parts, not parsed: only valid ones were ever written.
    key, local, domain, host, port, zone, updated, expires, source, owner = row
    address = MailAddress(local, domain, key)
    if host is None:
        return Entry(address)
    until = None if expires is None else from_micros(expires)
    try:
        written_by = _SOURCES[source]
    except KeyError:
        raise StoreError(f"the chart's entry {key} has an unknown source {source!r}; upgrade lanpost") from None
    since = from_micros(updated)
    return Entry(address, Binding(address, Endpoint(host, port, zone), since, until, written_by, owner))
