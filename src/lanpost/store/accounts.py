"""Terminals and people who may prove themselves here, in a SQLite file that only its owner may read.

Satisfies the port `Accounts`. Right with several processes at once: what one writes, the others see with their
next question. Every method raises StoreError.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.store.sqlite import BUSY_SECONDS, Schema, from_micros, open_database, sqlite_error, to_micros

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
    ),
)

_TERMINALS = "SELECT key, local, domain, secret_sha256, enrolled, speaks_for_others FROM terminal"
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

    def terminals(self) -> Iterator[Terminal]:
        """All of them by key, as they are now."""
        return map(_terminal, self._rows(f"{_TERMINALS} ORDER BY key"))

    def terminal_count(self) -> int:
        """How many there are, without reading them: who asks for one meanwhile does not wait for long."""
        return int(self._rows("SELECT count(*) FROM terminal")[0][0])

    def put_terminal(self, terminal: Terminal) -> None:
        self._change(
            "INSERT OR REPLACE INTO terminal VALUES (?, ?, ?, ?, ?, ?)",
            *_parts(terminal.address),
            terminal.secret_sha256,
            to_micros(terminal.enrolled),
            terminal.speaks_for_others,
        )

    def remove_terminal(self, address: MailAddress) -> bool:
        return self._change("DELETE FROM terminal WHERE key = ?", address.key)

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

    def _change(self, statement: str, *values: object) -> bool:
        """One statement is one transaction: durable on return. Tells whether there was a row to change."""
        try:
            with self._writing:
                return self._writer.execute(statement, values).rowcount > 0
        except sqlite3.Error as error:
            raise sqlite_error(error, self.file) from error


def _parts(address: MailAddress) -> tuple[str, str, str]:
    return address.key, address.local, address.domain


def _terminal(row: Any) -> Terminal:
    # Built from its parts, not parsed: only valid ones were ever written.
    key, local, domain, secret_sha256, enrolled, speaks_for_others = row
    address = MailAddress(local, domain, key)
    return Terminal(address, secret_sha256, from_micros(enrolled), bool(speaks_for_others))


def _user(row: Any) -> User:
    key, local, domain, password_hash, created = row
    return User(MailAddress(local, domain, key), password_hash, from_micros(created))
