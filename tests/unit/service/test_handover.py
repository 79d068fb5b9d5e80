"""An endpoint that changed hands: who is dropped, and who stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.memory_stores import MemoryChart

from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.endpoint import Endpoint
from lanpost.service.handover import make_way, settle, shared_endpoints

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = Endpoint("10.0.0.7")


def bound(
    name: str,
    minutes_ago: float = 0,
    *,
    endpoint: Endpoint = HERE,
    source: Source = Source.AGENT,
    owner: str | None = None,
    hours: float = 24,
) -> Binding:
    address = MailAddress.parse(name, "office.lan")
    updated = NOW - timedelta(minutes=minutes_ago)
    by = (address.key if source is not Source.ADMINISTRATOR else "") if owner is None else owner
    return Binding(address, endpoint, updated, updated + timedelta(hours=hours), source, by)


async def chart_of(*bindings: Binding) -> MemoryChart:
    chart = MemoryChart()
    await chart.bind_many(bindings)
    return chart


def still_bound(chart: MemoryChart) -> set[str]:
    return {entry.address.local for entry in chart.known.values() if entry.binding}


FORMER = [
    (bound("old", 5), "dropped"),
    (bound("old", 5, source=Source.DHCP, owner="dhcp@office.lan"), "dropped"),
    (bound("old", 5, source=Source.SMTP), "dropped"),
    (bound("old", 5, source=Source.ADMINISTRATOR), "stays"),
    (bound("old", 5, source=Source.LDAP), "stays"),
    (bound("old", 5, owner="new@office.lan"), "stays"),  # one account speaks for both
    (bound("old", 5, endpoint=Endpoint("10.0.0.7", 2525)), "stays"),  # another program on that machine
    (bound("old", 5, endpoint=Endpoint("10.0.0.8")), "stays"),
    (bound("old", 120, hours=1), "stays"),  # expired: nothing is sent there
]


@pytest.mark.parametrize(("former", "what"), FORMER)
async def test_who_binds_an_endpoint_takes_it_from_its_former_terminal(former: Binding, what: str) -> None:
    told: list[Binding] = []
    chart = await chart_of(former)
    await make_way(chart, bound("new"), NOW, lambda binding, _why: told.append(binding))
    assert told == ([former] if what == "dropped" else [])
    assert still_bound(chart) == (set() if what == "dropped" else {"old"})
    assert former.address in chart.known  # still a terminal: its mail is held


async def test_renewing_ones_own_binding_takes_nothing_away() -> None:
    chart = await chart_of(bound("fax1", 5))
    await make_way(chart, bound("fax1"), NOW, lambda *_: pytest.fail("dropped"))
    assert still_bound(chart) == {"fax1"}


@pytest.mark.parametrize(("former", "what"), FORMER)
async def test_what_others_wrote_into_the_chart_is_settled_likewise(former: Binding, what: str) -> None:
    chart = await chart_of(former, bound("new"))
    await settle(chart, bound("new").address, NOW, lambda *_: None)
    assert still_bound(chart) == ({"new"} if what == "dropped" else {"new", "old"})


async def test_a_binding_by_hand_takes_the_endpoint_and_is_not_driven_out_of_it() -> None:
    chart = await chart_of(bound("fax1", 5), bound("hand", source=Source.ADMINISTRATOR))
    await settle(chart, bound("hand").address, NOW, lambda *_: None)
    assert still_bound(chart) == {"hand"}
    await chart.bind(bound("fax1"))  # it says that it is there: now the two share it
    await settle(chart, bound("fax1").address, NOW, lambda *_: None)
    assert still_bound(chart) == {"hand", "fax1"}


async def test_who_was_bound_later_stays_whoever_is_looked_at() -> None:
    chart = await chart_of(bound("old", 5), bound("new"))
    await settle(chart, bound("old").address, NOW, lambda *_: pytest.fail("dropped"))
    await settle(chart, MailAddress.parse("nobody@office.lan"), NOW, lambda *_: pytest.fail("dropped"))
    assert still_bound(chart) == {"old", "new"}


async def test_of_two_that_were_bound_in_one_moment_one_stays() -> None:
    chart = await chart_of(bound("a"), bound("b"))
    for name in ("a", "b"):
        await settle(chart, bound(name).address, NOW, lambda *_: None)
    assert still_bound(chart) == {"b"}


async def test_a_whole_chart_is_searched_for_endpoints_with_several_terminals() -> None:
    elsewhere = Endpoint("10.0.0.8")
    chart = await chart_of(
        bound("c", 3), bound("b", 2), bound("a", 4), bound("d", 1, endpoint=elsewhere), bound("e", 99, hours=1)
    )
    assert [each.local for each in await shared_endpoints(chart.entries(), NOW)] == ["b"]
