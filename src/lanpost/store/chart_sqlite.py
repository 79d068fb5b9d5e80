"""The chart in a SQLite file on this machine: the default, needs nothing else.

Synchronous; `app` makes it async. Right with several processes at once. Two connections: one reads and never waits,
one writes, so that an inquiry goes on beside an import. For any thread.

Every method raises StoreError; StoreBusy from a read means "in a moment" (another process is recovering the file).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, cast

from lanpost.errors import StoreError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import NO_DETAILS, Details
from lanpost.model.endpoint import Endpoint
from lanpost.model.proof import Proof
from lanpost.service.ports import Change
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
REMOVED_KEPT = 10_000  # removals remembered for those who keep a copy; who comes later begins anew
REMOVED_TIDIED = 100  # changes from one look at them to the next
WRITTEN_AT_ONCE = 500  # bindings; within one call to SQLite no other thread of Python is sure to have its turn
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
        (
            # `details`: JSON. From here on every write has its `change`, those that take something away too.
            "ALTER TABLE entry ADD COLUMN details TEXT",
            "DROP INDEX entry_change",
            "CREATE INDEX entry_change ON entry (change)",
            (
                "CREATE TABLE removed"
                " (change INTEGER PRIMARY KEY, key TEXT NOT NULL, local TEXT NOT NULL, domain TEXT NOT NULL)"
            ),
            # `horizon`: what was removed up to there is forgotten.
            "ALTER TABLE counter ADD COLUMN horizon INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE counter ADD COLUMN generation TEXT NOT NULL DEFAULT ''",
            "UPDATE counter SET generation = lower(hex(randomblob(8))), horizon = last_change",
        ),
        ("ALTER TABLE entry ADD COLUMN proof TEXT",),
    ),
)

COLUMNS = "key, local, domain, host, port, zone, updated, expires, source, owner, proof, details"
_BINDING_COLUMNS = COLUMNS.removesuffix(", details")
_LOOK_UP = f"SELECT {COLUMNS} FROM entry WHERE key = ?"  # noqa: S608
_PAGE = f"SELECT {COLUMNS} FROM entry WHERE key > ? ORDER BY key LIMIT ?"  # noqa: S608
_BOUND_TO = (
    f"SELECT {COLUMNS} FROM entry WHERE host = ? AND port = ? AND zone = ? AND host IS NOT NULL"  # noqa: S608
    " ORDER BY key"
)
_CHANGES = (
    "SELECT change, key, local, domain FROM entry WHERE change > ? AND host IS NOT NULL ORDER BY change LIMIT ?"
)
_ALL_CHANGES = f"SELECT change, {COLUMNS} FROM entry WHERE change > ? ORDER BY change LIMIT ?"  # noqa: S608
_REMOVALS = "SELECT change, key, local, domain FROM removed WHERE change > ? ORDER BY change LIMIT ?"
_LAPSED = (  # by its index alone, which holds the keys too
    f"SELECT {COLUMNS} FROM entry WHERE expires BETWEEN ? AND ? AND (expires > ? OR key > ?)"  # noqa: S608
    " ORDER BY expires, key LIMIT ?"
)
_BIND = (
    f"INSERT INTO entry ({_BINDING_COLUMNS}, change) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
    " ON CONFLICT (key) DO UPDATE SET local = excluded.local, domain = excluded.domain, host = excluded.host,"
    " port = excluded.port, zone = excluded.zone, updated = excluded.updated, expires = excluded.expires,"
    " source = excluded.source, owner = excluded.owner, proof = excluded.proof,"
    " change = excluded.change"
)
_UNBIND = (
    "UPDATE entry SET host = NULL, port = NULL, zone = NULL, updated = NULL, expires = NULL, source = NULL,"
    " owner = NULL, proof = NULL, change = ? WHERE key = ? AND host IS NOT NULL"
)
_UNBIND_AT = f"{_UNBIND} AND host = ? AND port = ? AND zone = ?"

Row = tuple[str, str, str, str | None, int, str, int, int | None, str, str, str | None, str | None]


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
        """The number of the newest change ever made; it only grows, in whichever process."""
        return int(self._read("SELECT last_change FROM counter")[0][0])

    def version(self) -> int:
        """Another number whenever anybody may have changed anything; cheaper to ask for than an entry."""
        return int(self._read("PRAGMA data_version")[0][0])

    def changes_since(self, change: int, limit: int = PAGE) -> Sequence[tuple[int, MailAddress]]:
        """Addresses bound after that number and still bound, each with its own number, in the order of binding.

        An address bound several times is told once, with its last number.
        """
        rows = self._read(_CHANGES, change, limit)
        return [(number, MailAddress(local, domain, key)) for number, key, local, domain in rows]

    def generation(self) -> str:
        """Another word for another file: change numbers compare within one only."""
        return str(self._read("SELECT generation FROM counter")[0][0])

    def feed(self, after: int, limit: int = PAGE) -> Sequence[Change] | None:
        """Every change after that number, removals too, oldest first; None: it is not remembered so far back."""
        horizon, last = self._read("SELECT horizon, last_change FROM counter")[0]
        if not horizon <= after <= last:
            return None
        changes = [
            Change(number, entry.address, entry)
            for number, *row in self._read(_ALL_CHANGES, after, limit)
            for entry in (entry_of(cast("Row", row)),)
        ]
        changes += [
            Change(number, MailAddress(local, domain, key), None)
            for number, key, local, domain in self._read(_REMOVALS, after, limit)
        ]
        changes.sort(key=attrgetter("number"))
        return changes[:limit]

    def lapsed(self, after: datetime, until: datetime, key: str = "", limit: int = PAGE) -> Sequence[Entry]:
        """Whose bindings expired after the one time and not after the other; with `key`: what follows that one."""
        begin = to_micros(after) if key else to_micros(after) + 1
        return [entry_of(row) for row in self._read(_LAPSED, begin, to_micros(until), begin, key, limit)]

    def bind(self, binding: Binding) -> None:
        """Put a binding in force, durably, in place of the address's former one."""
        self.bind_many((binding,))

    def bind_many(self, bindings: Iterable[Binding]) -> int:
        """Put all in force in one transaction. Returns their number."""
        with self.transaction():
            last = self._counted(0)
            rows = [(*_values(each), change) for change, each in enumerate(bindings, last + 1)]
            self._counted(len(rows))
            rows.sort(key=itemgetter(0))  # neighbours lie on one page: half the time of an import in no order
            for at in range(0, len(rows), WRITTEN_AT_ONCE):
                self._writer.executemany(_BIND, rows[at : at + WRITTEN_AT_ONCE])
        return len(rows)

    def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool:
        """Take the endpoint (`at`: only that one) away and keep the entry. False: none was bound."""
        if at is None:
            return self._change(_UNBIND, address.key)
        return self._change(_UNBIND_AT, address.key, at.host, at.port, at.zone)

    def add(self, address: MailAddress) -> bool:
        """Make an address known, without a binding. False: it was already."""
        statement = "INSERT OR IGNORE INTO entry (change, key, local, domain) VALUES (?, ?, ?, ?)"
        return self._change(statement, address.key, address.local, address.domain)

    def describe(self, address: MailAddress, details: Details) -> bool:
        """Replace what the entry says for address books. False: no such address is known."""
        text = json.dumps(details.pairs, ensure_ascii=False) if details else None
        return self._change("UPDATE entry SET change = ?, details = ? WHERE key = ?", text, address.key)

    def remove(self, address: MailAddress) -> bool:
        """Forget an address wholly. False: it was not known."""
        with self.transaction():
            if not self._writer.execute("DELETE FROM entry WHERE key = ?", (address.key,)).rowcount:
                return False
            change = self._counted(1)
            values = (change, address.key, address.local, address.domain)
            self._writer.execute("INSERT INTO removed VALUES (?, ?, ?, ?)", values)
            if not change % REMOVED_TIDIED:
                self._forget_removed()
        return True

    def _change(self, statement: str, *values: str | int | None) -> bool:
        """Write with the next number as the first value. False: there was nothing to change, and no number is used.

        Whoever follows the numbers waits for what bears them.
        """
        with self.transaction():
            if self._writer.execute(statement, (self._counted(1), *values)).rowcount > 0:
                return True
            self._counted(-1)
            return False

    def _forget_removed(self) -> None:
        statement = "SELECT change FROM removed ORDER BY change DESC LIMIT 1 OFFSET ?"
        found = self._writer.execute(statement, (REMOVED_KEPT,)).fetchone()
        if found:
            self._writer.execute("DELETE FROM removed WHERE change <= ?", found)
            self._writer.execute("UPDATE counter SET horizon = ?", found)

    def _counted(self, changes: int) -> int:
        """The number of the last of so many changes more, in the transaction under way."""
        if self._last_change is None:
            (self._last_change,) = self._writer.execute("SELECT last_change FROM counter").fetchone()
        self._last_change += changes
        return int(self._last_change)

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


def row_of(entry: Entry) -> tuple[object, ...]:
    """The values of COLUMNS."""
    details = json.dumps(entry.details.pairs, ensure_ascii=False) if entry.details else None
    if entry.binding:
        return (*_values(entry.binding), details)
    address = entry.address
    return (address.key, address.local, address.domain, None, None, None, None, None, None, None, None, details)


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
        str(binding.proof) if binding.proof else None,
    )


_SOURCES = {source.value: source for source in Source}


def entry_of(row: Row) -> Entry:
    """What the values of COLUMNS say. Raises StoreError."""
    # Built from their parts, not parsed: only valid ones were ever written.
    key, local, domain, host, port, zone, updated, expires, source, owner, proof, told = row
    address = MailAddress(local, domain, key)
    details = NO_DETAILS if told is None else Details(tuple(map(tuple, json.loads(told))))
    if host is None:
        return Entry(address, None, details)
    until = None if expires is None else from_micros(expires)
    try:
        written_by = _SOURCES[source]
    except KeyError:
        raise StoreError(f"the chart's entry {key} has an unknown source {source!r}; upgrade lanpost") from None
    shown = Proof.parse(proof) if proof else None
    endpoint, since = Endpoint(host, port, zone), from_micros(updated)
    return Entry(address, Binding(address, endpoint, since, until, written_by, owner, shown), details)
