"""The last delivery to each terminal, in `deliveries.sqlite3` in the data folder.

Nothing depends on it: it is for people. Right with several processes at once. Every method raises StoreError.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

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

T = TypeVar("T")

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

    def all(self) -> dict[MailAddress, LastDelivery]:
        """Of each terminal that was given mail since this is written down."""
        found = {}
        for key, endpoint, time in self._read("SELECT key, endpoint, time FROM delivery"):
            local, _, domain = key.rpartition("@")
            address = MailAddress(local, domain, key)  # equal to the terminal's; how that one is spelt is not known
            found[address] = LastDelivery(address, Endpoint.parse(endpoint), from_micros(time))
        return found

    def move(self, old: MailAddress, new: MailAddress) -> None:
        """The terminal has another address now."""
        self._change("UPDATE OR REPLACE delivery SET key = ? WHERE key = ?", new.key, old.key)

    def remove(self, address: MailAddress) -> None:
        self._change("DELETE FROM delivery WHERE key = ?", address.key)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._using:
            self._database.close()

    def _read(self, statement: str) -> list[tuple[str, str, int]]:
        try:
            with self._using:
                return self._database.execute(statement).fetchall()
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error

    def _change(self, statement: str, *values: str) -> None:
        try:
            with self._using:
                self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error


def last_deliveries(data: Path) -> dict[MailAddress, LastDelivery]:
    """For a look from outside; a damaged file is as good as none."""
    return _used(data, LastDeliveries.all) or {}


def move_deliveries(data: Path, old: MailAddress, new: MailAddress) -> None:
    """A terminal has another address now."""
    _used(data, lambda store: store.move(old, new))


def forget_deliveries(data: Path, address: MailAddress) -> None:
    """A terminal is no more."""
    _used(data, lambda store: store.remove(address))


def _used(data: Path, use: Callable[[LastDeliveries], T]) -> T | None:
    """No file is made for that."""
    if not (data / FILE_NAME).exists():
        return None
    try:
        store = LastDeliveries(data)
        try:
            return use(store)
        finally:
            store.close()
    except StoreError:
        return None
