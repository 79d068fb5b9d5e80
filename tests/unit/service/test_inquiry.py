from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.delivery import Way
from lanpost.model.endpoint import Endpoint
from lanpost.service.inquiry import Router, RoutingRules

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
SMARTHOST = Endpoint.parse("192.0.2.1")


def address(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def entry(name: str, endpoint: str = "", expires: datetime | None = None) -> Entry:
    who = address(name)
    if not endpoint:
        return Entry(who)
    return Entry(who, Binding(who, Endpoint.parse(endpoint), NOW - timedelta(days=1), expires))


class Table:
    """The two questions that routing asks, answered from a dict; it remembers what it was asked."""

    def __init__(self, *entries: Entry, mailboxes: tuple[str, ...] = (), down: bool = False) -> None:
        self.entries = {each.address: each for each in entries}
        self.mailboxes = {address(name) for name in mailboxes}
        self.down = down
        self.inquiries: list[MailAddress] = []

    async def look_up(self, who: MailAddress, *, whole: bool = True) -> Entry | None:
        self.inquiries.append(who)
        if self.down:
            raise ChartUnavailable("down")
        return self.entries.get(who)

    def has(self, who: MailAddress) -> bool:
        return who in self.mailboxes


def router(table: Table, rules: RoutingRules | None = None) -> Router:
    rules = rules or RoutingRules("office.lan", SMARTHOST)
    return Router(rules, table, table, lambda: NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("spelling", ["fax1", "FAX1@office.lan", "fax1@Office.Lan", '"fax1"@office.lan'])
async def test_a_live_binding_is_the_way_however_the_address_is_spelt(spelling: str) -> None:
    route = await router(Table(entry("fax1", "10.0.0.7:2525"))).route(address(spelling), may_relay=False)
    assert (route.way, str(route.endpoint)) == (Way.ENDPOINT, "10.0.0.7:2525")


async def test_a_mailbox_address_is_never_inquired_for() -> None:
    table = Table(entry("anna", "10.0.0.7"), mailboxes=("anna",))
    route = await router(table).route(address("Anna"), may_relay=False)
    assert (route.way, route.mailbox, table.inquiries) == (Way.MAILBOX, address("anna"), [])


@pytest.mark.parametrize(
    "known", [entry("fax1"), entry("fax1", "10.0.0.7", NOW), entry("fax1", "10.0.0.7", NOW - timedelta(1 / 24))]
)
async def test_a_known_terminal_without_a_live_binding_is_held_for(known: Entry) -> None:
    route = await router(Table(known)).route(address("fax1"), may_relay=False)
    assert (route.way, route.endpoint, route.refusal) == (Way.HOLD, None, None)


async def test_an_unknown_address_of_ours_is_refused_at_rcpt() -> None:
    route = await router(Table()).route(address("nobody"), may_relay=True)
    assert route.way is Way.UNKNOWN
    assert str(route.refusal).startswith("550 5.1.1")


async def test_outside_mail_goes_to_the_smarthost_only_for_those_who_may() -> None:
    outside = address("a@example.com")
    assert (await router(Table()).route(outside, may_relay=True)).endpoint == SMARTHOST
    refused = await router(Table()).route(outside, may_relay=False)
    assert str(refused.refusal).startswith("550 5.7.1")
    without = await router(Table(), RoutingRules("office.lan")).route(outside, may_relay=True)
    assert str(without.refusal).startswith("550 5.7.1")


async def test_a_terminal_of_another_domain_is_found_too() -> None:
    route = await router(Table(entry("fax1@branch.lan", "10.0.9.9"))).route(
        address("fax1@branch.lan"), may_relay=False
    )
    assert route.way is Way.ENDPOINT


async def test_a_domain_that_only_ends_like_ours_is_not_ours() -> None:
    route = await router(Table()).route(address("a@notoffice.lan"), may_relay=False)
    assert str(route.refusal).startswith("550 5.7.1")


async def test_nobody_is_told_no_such_user_because_the_chart_is_down() -> None:
    table = Table(down=True)
    ours = await router(table).route(address("fax1"), may_relay=False)
    assert (ours.way, ours.refusal, ours.mailbox) == (Way.UNANSWERED, None, None)
    outside = await router(table, RoutingRules("office.lan")).route(address("fax1@branch.lan"), may_relay=False)
    assert outside.refusal is not None
    assert outside.refusal.is_temporary


async def test_the_fallback_mailbox_stands_in_while_the_chart_is_down() -> None:
    rules = RoutingRules("office.lan", fallback=address("postmaster"))
    route = await router(Table(down=True), rules).route(address("fax1"), may_relay=False)
    assert (route.way, route.mailbox) == (Way.UNANSWERED, address("postmaster"))


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("fax1@[10.0.0.7]", Way.ENDPOINT),
        ("fax1@[10.0.0.8]", Way.UNKNOWN),  # bound elsewhere
        ("anna@[10.0.0.7]", Way.UNKNOWN),  # a mailbox, not a terminal there
        ("nobody@[10.0.0.7]", Way.UNKNOWN),
    ],
)
async def test_an_address_literal_is_taken_only_for_a_bound_endpoint(text: str, way: Way) -> None:
    table = Table(entry("fax1", "10.0.0.7"), mailboxes=("anna",))
    assert (await router(table).route(address(text), may_relay=True)).way is way
