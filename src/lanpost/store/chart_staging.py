"""Entries of a chart put aside on disk while a file is read, and given back in the order of their keys.

A chart that takes them in that order writes each of its pages once; in memory there is never more than a batch.
Nothing here is durable: the disk space has no name and is free again as soon as the process ends.

Every method raises StoreError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.store.chart_sqlite import COLUMNS, entry_of, row_of
from lanpost.store.sqlite import sqlite_error

BATCH = 5_000  # entries written or read at a time
CACHE = 16 * 2**20  # octets in memory before the disk is used; an ordinary office's chart never gets there

_PLACE = Path("temporary files")  # for error messages; SQLite takes SQLITE_TMPDIR, else /var/tmp
_PUT = f"INSERT INTO entry ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
# By rowid too: where a file names an address twice, what it says last comes last.
_SORTED = f"SELECT {COLUMNS} FROM entry WHERE {{}} ORDER BY key, rowid"  # noqa: S608


class ChartStaging:
    """Entries on their way into a chart. For one thread at a time, whichever that is."""

    def __init__(self) -> None:
        self._waiting: list[tuple[object, ...]] = []
        try:
            # No name: a private file, deleted by SQLite.
            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute(f"PRAGMA cache_size = {-CACHE // 1024}")
            self._database.execute(f"CREATE TABLE entry ({COLUMNS})")
            self._database.execute("BEGIN")
        except sqlite3.Error as error:
            raise sqlite_error(error, _PLACE) from error

    def put(self, entry: Entry) -> None:
        self._waiting.append(row_of(entry))
        if len(self._waiting) >= BATCH:
            self._write()

    def bindings(self) -> Iterator[Binding]:
        """What was put with a binding."""
        return (entry.binding for entry in self._sorted("host IS NOT NULL") if entry.binding)

    def unbound(self) -> Iterator[MailAddress]:
        """What was put without one."""
        return (entry.address for entry in self._sorted("host IS NULL"))

    def described(self) -> Iterator[Entry]:
        """What was put with details."""
        return self._sorted("details IS NOT NULL")

    def close(self) -> None:
        """Give the disk space back. Idempotent."""
        self._database.close()

    def _write(self) -> None:
        try:
            self._database.executemany(_PUT, self._waiting)
        except sqlite3.Error as error:
            raise sqlite_error(error, _PLACE) from error
        self._waiting.clear()

    def _sorted(self, where: str) -> Iterator[Entry]:
        self._write()
        try:
            rows = self._database.execute(_SORTED.format(where))
            while batch := rows.fetchmany(BATCH):
                yield from map(entry_of, batch)
        except sqlite3.Error as error:
            raise sqlite_error(error, _PLACE) from error
