"""Entries put aside: all come back as they were, in order, however many there are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from lanpost.errors import StoreFull
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.endpoint import Endpoint
from lanpost.store.chart_staging import BATCH, ChartStaging

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)


@pytest.fixture
def staging() -> Iterator[ChartStaging]:
    made = ChartStaging()
    yield made
    made.close()
    made.close()


def binding(name: str, endpoint: str = "10.0.0.7", **more: object) -> Binding:
    address = MailAddress.parse(name, "office.lan")
    return Binding(address, Endpoint.parse(endpoint), NOW, **more)  # type: ignore[arg-type]


def test_entries_come_back_whole_and_sorted(staging: ChartStaging) -> None:
    bindings = [binding(f"fax{number}", f"10.0.{number % 250}.7:25") for number in range(2 * BATCH + 7)]
    bindings.append(
        binding("Büro", "[fe80::7%eth0]:2525", expires=NOW + timedelta(1), source=Source.DHCP, owner="x@y")
    )
    mixed = [Entry(each.address, each) for each in bindings] + [Entry(MailAddress.parse("cam@office.lan"))]
    random.Random(7).shuffle(mixed)
    for entry in mixed:
        staging.put(entry)
    assert list(staging.bindings()) == sorted(bindings, key=lambda each: each.address.key)
    assert list(staging.unbound()) == [MailAddress.parse("cam@office.lan")]
    assert next(each for each in staging.bindings() if each.owner).address.local == "Büro"


def test_what_is_said_last_of_an_address_comes_last(staging: ChartStaging) -> None:
    for host in ("10.0.0.3", "10.0.0.1", "10.0.0.2"):
        each = binding("Fax1" if host.endswith("1") else "fax1", host)
        staging.put(Entry(each.address, each))
    assert [each.endpoint.host for each in staging.bindings()] == ["10.0.0.3", "10.0.0.1", "10.0.0.2"]


def test_want_of_room_is_told(staging: ChartStaging) -> None:
    staging._database.execute("PRAGMA max_page_count = 2")
    each = binding("fax1")
    for _ in range(BATCH - 1):
        staging.put(Entry(each.address, each))
    with pytest.raises(StoreFull, match="temporary files: no room left"):
        staging.put(Entry(each.address, each))


def test_nothing_is_kept_in_a_file_that_has_a_name(staging: ChartStaging) -> None:
    assert staging._database.execute("PRAGMA database_list").fetchall() == [(0, "main", "")]
