"""Terminals and people who may prove themselves here, in a SQLite file that only its owner may read.

Satisfies the port `Accounts`. Right with several processes at once: what one writes, the others see with their
next question. Every method raises StoreError.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.model.device import Device
from lanpost.store.sqlite import (
    BUSY_SECONDS,
    Schema,
    from_micros,
    open_database,
    sqlite_error,
    to_micros,
    transaction,
)

SCHEMA = Schema(
    what="file of accounts",
    application_id=0x4C500002,  # "LP", 2
    steps=(
        (
            # `key` is how addresses are compared, local and domain how this one was written. Times: microseconds
            # since 1970, UTC.
            (
                "CREATE TABLE terminal (key TEXT PRIMARY KEY, local TEXT NOT NULL, domain TEXT NOT NULL,"
                " secret_sha256 BLOB NOT NULL, enrolled INTEGER NOT NULL, speaks_for_others INTEGER NOT NULL)"
                " WITHOUT ROWID"
            ),
            (
                "CREATE TABLE user (key TEXT PRIMARY KEY, local TEXT NOT NULL, domain TEXT NOT NULL,"
                " password_hash TEXT NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID"
            ),
        ),
        (
            # "": not known. Two terminals cannot be one machine.
            "ALTER TABLE terminal ADD COLUMN mac TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE terminal ADD COLUMN client_id TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE terminal ADD COLUMN hostname TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE terminal ADD COLUMN learn INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE terminal ADD COLUMN port INTEGER NOT NULL DEFAULT 25",
            "CREATE UNIQUE INDEX terminal_mac ON terminal (mac) WHERE mac <> ''",
            "CREATE UNIQUE INDEX terminal_client_id ON terminal (client_id) WHERE client_id <> ''",
            "CREATE UNIQUE INDEX terminal_hostname ON terminal (hostname) WHERE hostname <> ''",
        ),
        # Former addresses of terminals: those who have not heard yet still say them.
        ("CREATE TABLE renamed (key TEXT PRIMARY KEY, now TEXT NOT NULL) WITHOUT ROWID",),
    ),
)

_TERMINAL_COLUMNS = (
    "key, local, domain, secret_sha256, enrolled, speaks_for_others, mac, client_id, hostname, learn, port"
)
_TERMINALS = f"SELECT {_TERMINAL_COLUMNS} FROM terminal"  # noqa: S608
# Not INSERT OR REPLACE: that would make way for a machine by deleting the other terminal that has it.
_PUT_TERMINAL = (
    f"INSERT INTO terminal ({_TERMINAL_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT (key) DO UPDATE SET local = excluded.local, domain = excluded.domain,"
    " secret_sha256 = excluded.secret_sha256, enrolled = excluded.enrolled,"
    " speaks_for_others = excluded.speaks_for_others, mac = excluded.mac, client_id = excluded.client_id,"
    " hostname = excluded.hostname, learn = excluded.learn, port = excluded.port"
)
_BY_DEVICE = tuple(f"{_TERMINALS} WHERE {name} = ? AND {name} <> ''" for name in ("mac", "client_id", "hostname"))
_RENAMED = f"{_TERMINALS} WHERE key = (SELECT now FROM renamed WHERE key = ?)"  # noqa: S608
_USERS = "SELECT key, local, domain, password_hash, created FROM user"


class SqliteAccounts:
    """All accounts in one file, made if need be. For any thread. Who asks does not wait for what another writes."""

    def __init__(self, file: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.file = file
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writer = open_database(file, SCHEMA, busy_seconds)
        try:
            self._reader = open_database(file, SCHEMA, busy_seconds)
            self._reader.execute("PRAGMA query_only = ON")
        except BaseException:
            self._writer.close()
            raise

    def terminal(self, address: MailAddress) -> Terminal | None:
        rows = self._rows(f"{_TERMINALS} WHERE key = ?", address.key)
        return _terminal(rows[0]) if rows else None

    def terminal_of(self, device: Device) -> Terminal | None:
        """Whose machine that is: by hardware address, else by client identifier, else by host name."""
        for statement, value in zip(_BY_DEVICE, (device.mac, device.client_id, device.hostname), strict=True):
            if value and (rows := self._rows(statement, value)):
                return _terminal(rows[0])
        return None

    def terminals(self) -> Iterator[Terminal]:
        """All of them by key, as they are now."""
        return map(_terminal, self._rows(f"{_TERMINALS} ORDER BY key"))

    def terminal_count(self) -> int:
        """How many there are, without reading them: who asks for one meanwhile does not wait for long."""
        return int(self._rows("SELECT count(*) FROM terminal")[0][0])

    def put_terminal(self, terminal: Terminal) -> None:
        with self._transaction() as database:
            database.execute("DELETE FROM renamed WHERE key = ?", (terminal.address.key,))
            database.execute(_PUT_TERMINAL, _values(terminal))

    def rename_terminal(self, address: MailAddress, terminal: Terminal) -> bool:
        """Put `terminal` in the place of that of `address`, which leads to it from now on. False: there is none."""
        with self._transaction() as database:
            if not database.execute("DELETE FROM terminal WHERE key = ?", (address.key,)).rowcount:
                return False
            now = terminal.address.key
            database.execute(_PUT_TERMINAL, _values(terminal))
            database.execute("UPDATE renamed SET now = ? WHERE now = ?", (now, address.key))
            database.execute("INSERT OR REPLACE INTO renamed VALUES (?, ?)", (address.key, now))
            database.execute("DELETE FROM renamed WHERE key = ?", (now,))
        return True

    def renamed(self, address: MailAddress) -> Terminal | None:
        """The terminal whose former address that is."""
        rows = self._rows(_RENAMED, address.key)
        return _terminal(rows[0]) if rows else None

    def remove_terminal(self, address: MailAddress) -> bool:
        with self._transaction() as database:
            database.execute("DELETE FROM renamed WHERE now = ?", (address.key,))
            return database.execute("DELETE FROM terminal WHERE key = ?", (address.key,)).rowcount > 0

    def user(self, address: MailAddress) -> User | None:
        rows = self._rows(f"{_USERS} WHERE key = ?", address.key)
        return _user(rows[0]) if rows else None

    def users(self) -> Iterator[User]:
        """All of them by key, as they are now."""
        return map(_user, self._rows(f"{_USERS} ORDER BY key"))

    def put_user(self, user: User) -> None:
        self._change(
            "INSERT OR REPLACE INTO user VALUES (?, ?, ?, ?, ?)",
            *_parts(user.address),
            user.password_hash,
            to_micros(user.created),
        )

    def remove_user(self, address: MailAddress) -> bool:
        return self._change("DELETE FROM user WHERE key = ?", address.key)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def _rows(self, statement: str, *values: object) -> list[Any]:
        try:
            with self._reading:
                return self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done inside is durable together, or not done."""
        try:
            with self._writing, transaction(self._writer):
                yield self._writer
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error

    def _change(self, statement: str, *values: object) -> bool:
        """One statement is one transaction: durable on return. Tells whether there was a row to change."""
        try:
            with self._writing:
                return self._writer.execute(statement, values).rowcount > 0
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error


def _parts(address: MailAddress) -> tuple[str, str, str]:
    return address.key, address.local, address.domain


def _values(terminal: Terminal) -> tuple[object, ...]:
    """Those of _TERMINAL_COLUMNS."""
    device = terminal.device
    return (
        *_parts(terminal.address),
        terminal.secret_sha256,
        to_micros(terminal.enrolled),
        terminal.speaks_for_others,
        device.mac,
        device.client_id,
        device.hostname,
        terminal.learn,
        terminal.port,
    )


def _terminal(row: Any) -> Terminal:
    # Built from its parts, not parsed: only valid ones were ever written.
    key, local, domain, secret_sha256, enrolled, speaks_for_others, mac, client_id, hostname, learn, port = row
    return Terminal(
        MailAddress(local, domain, key),
        secret_sha256,
        from_micros(enrolled),
        bool(speaks_for_others),
        Device(mac, client_id, hostname),
        bool(learn),
        port,
    )


def _user(row: Any) -> User:
    key, local, domain, password_hash, created = row
    return User(MailAddress(local, domain, key), password_hash, from_micros(created))
