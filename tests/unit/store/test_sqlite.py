from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import StoreBusy, StoreError, StoreFull
from lanpost.store.sqlite import Schema, from_micros, open_database, sqlite_error, to_micros, transaction

FIRST = ("CREATE TABLE item (name TEXT)",)
SECOND = ("ALTER TABLE item ADD COLUMN size INTEGER", "CREATE INDEX item_size ON item (size)")
OLD = Schema("list of items", 7, (FIRST,))
NEW = Schema("list of items", 7, (FIRST, SECOND))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "items.sqlite3"


def names(file: Path, schema: Schema = OLD) -> list[str]:
    connection = open_database(file, schema)
    found = [name for (name,) in connection.execute("SELECT name FROM item ORDER BY name")]
    connection.close()
    return found


def test_file_and_folder_are_made_for_their_owner_alone(file: Path) -> None:
    connection = open_database(file, OLD)
    connection.execute("INSERT INTO item VALUES ('a')")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {"items.sqlite3": 0o600, "items.sqlite3-wal": 0o600, "items.sqlite3-shm": 0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_folders_owner(file: Path) -> None:
    file.parent.mkdir()
    os.chown(file.parent, 12345, 12345)
    connection = open_database(file, OLD)
    connection.execute("INSERT INTO item VALUES ('a')")
    assert {path.stat().st_uid for path in file.parent.iterdir()} == {12345}
    connection.close()


def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(file: Path) -> None:
    connection = open_database(file, OLD)
    connection.execute("INSERT INTO item VALUES ('a')")
    connection.close()
    connection = open_database(file, NEW)
    assert connection.execute("SELECT name, size FROM item").fetchall() == [("a", None)]
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(file: Path) -> None:
    open_database(file, OLD).close()
    with pytest.raises(StoreError):
        open_database(file, Schema("list of items", 7, (FIRST, (*SECOND, "NONSENSE"))))
    connection = open_database(file, NEW)
    assert connection.execute("SELECT name, size FROM item").fetchall() == []
    connection.close()


def test_a_newer_file_is_refused_with_its_remedy(file: Path) -> None:
    open_database(file, NEW).close()
    with pytest.raises(StoreError, match=r"newer lanpost \(schema 2, known here: 1\); upgrade"):
        open_database(file, OLD)


@pytest.mark.parametrize(
    "prepare", ["CREATE TABLE other (x)", "PRAGMA application_id = 9", "PRAGMA user_version = 1"]
)
def test_a_database_of_another_kind_is_left_alone(file: Path, prepare: str) -> None:
    file.parent.mkdir()
    foreign = sqlite3.connect(file)
    foreign.execute(prepare)
    foreign.commit()
    foreign.close()
    with pytest.raises(StoreError, match="not a list of items"):
        open_database(file, OLD)


def test_a_file_that_is_no_database_is_named(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("address,endpoint\n" * 100)
    with pytest.raises(StoreError, match=r"items.sqlite3: .*restore it from a backup"):
        open_database(file, OLD)


def test_a_path_that_cannot_be_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file/items"):
        open_database(tmp_path / "file" / "items.sqlite3", OLD)
    with pytest.raises(StoreError, match="folder"):
        open_database(tmp_path, OLD)


def test_a_transaction_is_all_or_nothing_and_nests(file: Path) -> None:
    connection = open_database(file, OLD)
    with transaction(connection):
        connection.execute("INSERT INTO item VALUES ('a')")
        with transaction(connection):
            connection.execute("INSERT INTO item VALUES ('b')")
    with suppress(ZeroDivisionError), transaction(connection):
        connection.execute("INSERT INTO item VALUES ('c')")
        raise ZeroDivisionError
    connection.close()
    assert names(file) == ["a", "b"]


def test_a_writer_that_waits_too_long_is_told_so(file: Path) -> None:
    holder, waiting = open_database(file, OLD), open_database(file, OLD, busy_seconds=0.01)
    with transaction(holder), pytest.raises(sqlite3.OperationalError) as caught, transaction(waiting):
        pass
    assert isinstance(sqlite_error(caught.value, file), StoreBusy)
    holder.close()
    waiting.close()


def test_a_full_disk_is_told_as_such_and_leaves_nothing_half_written(file: Path) -> None:
    connection = open_database(file, OLD)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(sqlite3.Error) as caught, transaction(connection):
        connection.executemany("INSERT INTO item VALUES (?)", [("x" * 4000,)] * 100)
    error = sqlite_error(caught.value, file)
    assert isinstance(error, StoreFull)
    assert "make some" in str(error)
    connection.execute("INSERT INTO item VALUES ('small')")
    connection.close()
    assert names(file) == ["small"]


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_exact(time: datetime) -> None:
    assert from_micros(to_micros(time)) == time
