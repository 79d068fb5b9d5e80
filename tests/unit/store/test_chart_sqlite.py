"""What the SQLite chart promises beyond the port: transactions, numbered changes, room, refusals."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lanpost.errors import StoreBusy, StoreError, StoreFull
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.store.chart_sqlite import SqliteChart

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chart.sqlite3"


@pytest.fixture
def chart(file: Path) -> Iterator[SqliteChart]:
    chart = SqliteChart(file)
    yield chart
    chart.close()


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def bound(text: str) -> Binding:
    return Binding(named(text), Endpoint("10.0.0.7"), NOW)


def test_a_transaction_is_seen_whole_or_not_at_all(chart: SqliteChart, file: Path) -> None:
    other = SqliteChart(file)
    with chart.transaction():
        chart.bind(bound("fax1"))
        chart.add(named("fax2"))
        assert other.look_up(named("fax1")) is None
    assert [entry.address for entry in other.entries()] == [named("fax1"), named("fax2")]
    with suppress(ZeroDivisionError), chart.transaction():
        chart.bind(bound("fax3"))
        chart.remove(named("fax1"))
        raise ZeroDivisionError
    assert [entry.address for entry in other.entries()] == [named("fax1"), named("fax2")]
    other.close()


def test_every_binding_has_a_greater_number_than_all_before(chart: SqliteChart) -> None:
    chart.bind_many([bound("a"), bound("b")])
    before = chart.last_change()
    chart.remove(named("b"))
    chart.bind(bound("c"))
    chart.bind(bound("a"))
    changes = chart.changes_since(before)
    assert [address for _, address in changes] == [named("c"), named("a")]
    assert before < changes[0][0] < changes[1][0] == chart.last_change()
    assert chart.changes_since(chart.last_change()) == []


def test_a_binding_taken_back_takes_its_number_back(chart: SqliteChart, file: Path) -> None:
    chart.bind(bound("a"))
    with suppress(ZeroDivisionError), chart.transaction():
        chart.bind(bound("b"))
        raise ZeroDivisionError
    other = SqliteChart(file)
    other.bind(bound("c"))  # in another process, as it were
    other.close()
    with chart.transaction():
        chart.bind(bound("d"))
        chart.bind(bound("e"))
    assert chart.changes_since(0) == [(number, named(name)) for number, name in enumerate("acde", 1)]


def test_changes_are_told_in_pages_that_miss_none(chart: SqliteChart) -> None:
    chart.bind_many(bound(f"fax{number}") for number in range(10))
    seen: list[MailAddress] = []
    last = 0
    while page := chart.changes_since(last, 3):
        seen += [address for _, address in page]
        last = page[-1][0]
    assert seen == [named(f"fax{number}") for number in range(10)]


def test_entries_come_in_pages(chart: SqliteChart) -> None:
    for name in "abc":
        chart.add(named(name))
    assert [entry.address for entry in chart.entries(limit=2)] == [named("a"), named("b")]
    assert chart.entries(named("b").key) == [Entry(named("c"))]
    assert chart.entries(named("c").key) == []


def test_the_log_is_cut_short_beside_a_reader(chart: SqliteChart, file: Path) -> None:
    """A statement left half read would hold its snapshot, and the write-ahead log would grow for ever."""
    chart.bind(bound("fax1"))
    chart.look_up(named("fax1"))
    chart.entries(limit=1)
    other = sqlite3.connect(file)
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    other.close()


def test_any_thread_may_read_and_write(chart: SqliteChart) -> None:
    failures: list[BaseException] = []

    def use(prefix: str) -> None:
        try:
            for number in range(50):
                chart.bind(bound(f"{prefix}{number}"))
                assert chart.look_up(named(f"{prefix}{number}"))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=use, args=(prefix,)) for prefix in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert chart.last_change() == 150


def test_a_full_disk_is_told_and_leaves_the_chart_as_it_was(chart: SqliteChart) -> None:
    chart.bind(bound("fax1"))
    chart._writer.execute("PRAGMA max_page_count = 12")
    with pytest.raises(StoreFull, match="no room"):
        chart.bind_many(bound(f"fax{number}") for number in range(1000))
    assert [entry.address for entry in chart.entries()] == [named("fax1")]
    assert chart.last_change() == 1


def test_a_writer_is_told_when_another_holds_the_chart_too_long(chart: SqliteChart, file: Path) -> None:
    impatient = SqliteChart(file, busy_seconds=0.01)
    with chart.transaction():
        with pytest.raises(StoreBusy, match="try again"):
            impatient.bind(bound("fax1"))
        assert impatient.look_up(named("fax1")) is None  # reading goes on
    impatient.bind(bound("fax1"))
    impatient.close()


def test_a_damaged_chart_is_named_with_its_remedy(chart: SqliteChart, file: Path) -> None:
    chart.bind_many(bound(f"fax{number}") for number in range(1000))
    chart.close()
    damaged = bytearray(file.read_bytes())
    damaged[4096:] = b"\xff" * (len(damaged) - 4096)
    file.write_bytes(damaged)
    again = SqliteChart(file)
    with pytest.raises(StoreError, match="restore it from a backup"):
        again.look_up(named("fax500"))
    again.close()


def test_a_source_that_a_newer_lanpost_wrote_is_refused(chart: SqliteChart) -> None:
    chart.bind(bound("fax1"))
    chart._writer.execute("UPDATE entry SET source = 'telepathy'")
    with pytest.raises(StoreError, match="telepathy"):
        chart.look_up(named("fax1"))


# --- the feed --------------------


def test_the_feed_tells_every_change_once_and_removals_too(chart: SqliteChart) -> None:
    chart.add(named("a"))
    chart.bind(bound("b"))
    start = chart.last_change()
    assert chart.feed(start) == []
    chart.bind(bound("c"))
    chart.describe(named("c"), Details.of([("o", "Acme")]))
    chart.unbind(named("b"))
    chart.remove(named("a"))
    changes = chart.feed(start)
    assert changes is not None
    assert [(change.address.local, change.entry) for change in changes] == [
        ("c", Entry(named("c"), bound("c"), Details.of([("o", "Acme")]))),
        ("b", Entry(named("b"))),
        ("a", None),
    ]
    assert [change.number for change in changes] == sorted({change.number for change in changes})
    assert chart.feed(start, limit=2) == changes[:2]
    assert chart.feed(changes[1].number) == changes[2:]


def test_an_address_removed_and_added_again_is_told_last_as_it_is(chart: SqliteChart) -> None:
    chart.bind(bound("a"))
    start = chart.last_change()
    chart.remove(named("a"))
    chart.add(named("a"))
    changes = chart.feed(start)
    assert changes is not None
    assert [change.entry for change in changes] == [None, Entry(named("a"))]


def test_the_feed_does_not_remember_for_ever_and_knows_no_future(
    chart: SqliteChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanpost.store.chart_sqlite.REMOVED_KEPT", 10)
    start = chart.last_change()
    for number in range(150):
        chart.add(named(f"x{number}"))
        chart.remove(named(f"x{number}"))
    assert chart.feed(start) is None
    assert chart.feed(chart.last_change() + 1) is None
    assert chart.feed(chart.last_change()) == []


def test_a_chart_made_anew_is_of_another_generation(chart: SqliteChart, tmp_path: Path) -> None:
    other = SqliteChart(tmp_path / "other.sqlite3")
    assert other.generation() not in ("", chart.generation())
    other.close()
