"""The last delivery to each terminal, in `deliveries.sqlite3` in the data folder.

Nothing depends on it: it is for people. Right with several processes at once. Every method raises StoreError.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

from lanpost.errors import StoreError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.model.last_delivery import LastDelivery
from lanpost.store.sqlite import (
    BUSY_SECONDS,
    Schema,
    from_micros,
    open_database,
    sqlite_error,
    to_micros,
    transaction,
)

FILE_NAME = "deliveries.sqlite3"
SCHEMA = Schema(
    what="file of last deliveries",
    application_id=0x4C500004,  # "LP", 4
    steps=(
        (
            # `time`: microseconds since 1970, UTC.
            (
                "CREATE TABLE delivery (key TEXT PRIMARY KEY, endpoint TEXT NOT NULL, time INTEGER NOT NULL)"
                " WITHOUT ROWID"
            ),
        ),
    ),
)
_PUT = (
    "INSERT INTO delivery VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE"
    " SET endpoint = excluded.endpoint, time = excluded.time WHERE excluded.time >= time"
)


class LastDeliveries:
    """One file, made if need be. For any thread."""

    def __init__(self, data: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.file = data / FILE_NAME
        self._using = threading.Lock()
        self._database = open_database(self.file, SCHEMA, busy_seconds)

    def put(self, deliveries: Iterable[LastDelivery]) -> None:
        """All of them with one fsync; an older one than is known changes nothing."""
        rows = [(each.address.key, str(each.endpoint), to_micros(each.time)) for each in deliveries]
        try:
            with self._using, transaction(self._database):
                self._database.executemany(_PUT, rows)
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error

    def get(self, address: MailAddress) -> LastDelivery | None:
        """None: never, or before this was written down."""
        try:
            with self._using:
                statement = "SELECT endpoint, time FROM delivery WHERE key = ?"
                row = self._database.execute(statement, (address.key,)).fetchone()
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error
        return LastDelivery(address, Endpoint.parse(row[0]), from_micros(row[1])) if row else None

    def move(self, old: MailAddress, new: MailAddress) -> None:
        """The terminal has another address now."""
        self._change("UPDATE OR REPLACE delivery SET key = ? WHERE key = ?", new.key, old.key)

    def remove(self, address: MailAddress) -> None:
        self._change("DELETE FROM delivery WHERE key = ?", address.key)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._using:
            self._database.close()

    def _change(self, statement: str, *values: str) -> None:
        try:
            with self._using:
                self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error


def last_delivery(data: Path, address: MailAddress) -> LastDelivery | None:
    """For a look from outside: no file is made, and a damaged one is as good as none."""
    if not (data / FILE_NAME).exists():
        return None
    try:
        store = LastDeliveries(data)
    except StoreError:
        return None
    try:
        return store.get(address)
    finally:
        store.close()
