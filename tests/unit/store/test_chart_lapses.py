"""Bindings that expired between two times: what the stores that know every change tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import ChartStore
from lanpost.store.chart_sqlite import SqliteChart
from lanpost.store.chart_xml_file import XmlFileChart

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)
STEP = timedelta(microseconds=1)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture(params=["sqlite", "xml"])
def chart(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChartStore]:
    store: ChartStore
    if request.param == "sqlite":
        store = SqliteChart(tmp_path / "chart.sqlite3")
    else:
        store = XmlFileChart(tmp_path / "chart.xml", "office.lan")
    for name, seconds in (("d", 1), ("c", 1), ("b", 3), ("a", 5), ("for-good", None)):
        expires = None if seconds is None else at(seconds)
        store.bind(Binding(MailAddress.parse(name, "office.lan"), Endpoint("10.0.0.7"), NOW, expires))
    store.add(MailAddress.parse("nowhere", "office.lan"))
    yield store
    store.close()


def names(found: list[Entry]) -> list[str]:
    return [entry.address.local for entry in found]


@pytest.mark.parametrize(
    ("after", "until", "expected"),
    [
        (at(0), at(10), "c d b a"),
        (at(1), at(3), "b"),  # after the one and not after the other
        (at(1) - STEP, at(3) - STEP, "c d"),
        (at(5), at(10), ""),
        (at(3), at(0), ""),
        (at(-1e9), at(-1e8), ""),
    ],
)
def test_they_are_told_by_time_and_key(chart: ChartStore, after: datetime, until: datetime, expected: str) -> None:
    assert names(list(chart.lapsed(after, until))) == expected.split()


def test_they_are_told_page_by_page_those_of_one_moment_too(chart: ChartStore) -> None:
    told: list[str] = []
    after, key = at(0), ""
    while page := list(chart.lapsed(after, at(10), key, 1)):
        (entry,) = page
        assert entry.binding is not None
        assert entry.binding.expires is not None
        after, key = entry.binding.expires, entry.address.key
        told += names(page)
    assert told == ["c", "d", "b", "a"]


def test_what_was_renewed_or_unbound_has_not_lapsed(chart: ChartStore) -> None:
    chart.bind(Binding(MailAddress.parse("c", "office.lan"), Endpoint("10.0.0.7"), NOW, at(60)))
    chart.unbind(MailAddress.parse("d", "office.lan"))
    chart.remove(MailAddress.parse("a", "office.lan"))
    assert names(list(chart.lapsed(at(0), at(10)))) == ["b"]
