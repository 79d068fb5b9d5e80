"""A fax number leads to the terminal here that has it, else to the gateway; strangers may not telephone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.delivery import Route, Way
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.model.reply import NO_SUCH_USER, RELAY_DENIED
from lanpost.service.fax_numbers import FaxNumbers
from lanpost.service.inquiry import Router, RoutingRules

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
NUMBER = "+81312345678"


def address(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def entry(name: str, endpoint: str = "", number: str = "") -> Entry:
    details = Details.of([("facsimileTelephoneNumber", number)] if number else [])
    binding = Binding(address(name), Endpoint.parse(endpoint), NOW) if endpoint else None
    return Entry(address(name), binding, details)


class Table:
    """A chart that counts how often it is read whole."""

    def __init__(self, *entries: Entry) -> None:
        self.table = {each.address: each for each in entries}
        self.readings = 0
        self.down = False

    async def look_up(self, who: MailAddress, *, whole: bool = True) -> Entry | None:
        if self.down:
            raise ChartUnavailable("down")
        return self.table.get(who)

    async def entries(self, after: str = "") -> AsyncIterator[Entry]:
        self.readings += 1
        for each in list(self.table.values()):
            yield each

    def has(self, who: MailAddress) -> bool:
        return False


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def router(table: Table, gateway: str = "") -> Router:
    rules = RoutingRules("office.lan", fax_gateway=address(gateway) if gateway else None)
    return Router(rules, table, table, lambda: NOW)  # type: ignore[arg-type]


async def way(table: Table, to: str, *, gateway: str = "", may_relay: bool = True) -> Route:
    return await router(table, gateway).route(address(to), may_relay=may_relay)


@pytest.mark.parametrize(
    "to", [NUMBER, "81312345678", f"FAX={NUMBER}", "fax=81312345678/T33S=12", f"FAX={NUMBER}@[10.0.0.7]"]
)
async def test_a_number_finds_the_terminal_that_has_it(to: str) -> None:
    table = Table(entry("fax1", "10.0.0.7:2525", "+81 3 1234 5678$twoDimensional"), entry("fax2", "10.0.0.8"))
    route = await way(table, to, may_relay=False)
    assert (route.way, str(route.endpoint), route.instead) == (Way.ENDPOINT, "10.0.0.7:2525", address("fax1"))


async def test_a_terminal_found_by_its_number_is_waited_for_as_by_its_name() -> None:
    route = await way(Table(entry("fax1", number=NUMBER)), NUMBER)
    assert (route.way, route.instead) == (Way.HOLD, address("fax1"))


async def test_a_name_of_digits_in_the_chart_comes_before_any_number() -> None:
    table = Table(entry("12345", "10.0.0.9"), entry("fax1", "10.0.0.7", "12345"))
    route = await way(table, "12345")
    assert (str(route.endpoint), route.instead) == ("10.0.0.9:25", None)
    assert table.readings == 0


async def test_other_numbers_go_to_the_gateway_with_their_address_as_it_is() -> None:
    table = Table(entry("gw", "10.0.0.5"))
    for to in (f"FAX={NUMBER}/T33S=7@gw.office.lan", f"FAX={NUMBER}"):
        route = await way(table, to, gateway="gw")
        assert (str(route.endpoint), route.instead, route.address) == ("10.0.0.5:25", None, address(to))


async def test_strangers_may_not_telephone() -> None:
    table = Table(entry("gw", "10.0.0.5"))
    for to in (f"FAX={NUMBER}@gw.office.lan", NUMBER):
        route = await way(table, to, gateway="gw", may_relay=False)
        assert (route.way, route.refusal) == (Way.UNKNOWN, RELAY_DENIED)


@pytest.mark.parametrize("to", [NUMBER, "FAX=anna", f"FAX={NUMBER}"])
async def test_without_terminal_and_gateway_it_is_unknown(to: str) -> None:
    route = await way(Table(entry("fax1", "10.0.0.7")), to)
    assert (route.way, route.refusal) == (Way.UNKNOWN, NO_SUCH_USER)


async def test_a_chart_that_cannot_be_asked_is_no_unknown_number() -> None:
    table = Table(entry("fax1", "10.0.0.7", NUMBER))
    table.down = True
    assert (await way(table, NUMBER)).way is Way.UNANSWERED


async def test_the_chart_is_read_rarely_and_what_was_found_is_checked() -> None:
    table, clock = Table(entry("fax1", "10.0.0.7", NUMBER)), Clock()
    numbers = FaxNumbers(table, clock)  # type: ignore[arg-type]
    for _ in range(10):
        assert await numbers.find(NUMBER) is not None
        assert await numbers.find("+4930123456") is None
    assert table.readings == 1
    # The number has moved: the old terminal is not found by it any more, the new one soon.
    table.table = {each.address: each for each in (entry("fax1", "10.0.0.7"), entry("fax2", "10.0.0.8", NUMBER))}
    assert await numbers.find(NUMBER) is None
    clock.now += timedelta(seconds=6)
    found = await numbers.find(NUMBER)
    assert found is not None
    assert found.address == address("fax2")
    assert table.readings == 2
