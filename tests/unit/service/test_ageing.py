from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.endpoint import Endpoint
from lanpost.service.ageing import MANY, ROUNDS, Ageing, Call, batches, window_for
from lanpost.wire.refresh import MAX_WINDOW_SECONDS

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(name: str, share: float, source: Source = Source.AGENT) -> Entry:
    """A terminal that has used up that share of a day's lifetime."""
    address = MailAddress.parse(f"{name}@office.lan")
    updated = NOW - DAY * share
    return Entry(address, Binding(address, Endpoint("10.0.0.7"), updated, updated + DAY, source, address.key))


def look(ageing: Ageing, *entries: Entry) -> Call | None:
    ageing.begin()
    for each in entries:
        ageing.see([each], NOW)
    return ageing.end()


def names(call: Call | None) -> list[str]:
    assert call is not None
    assert call.addresses is not None
    return [address.local for address in call.addresses]


FRESH = [entry(f"well{number}", 0.4) for number in range(20)]


def test_only_those_past_the_share_are_asked_and_expired_ones_too() -> None:
    call = look(Ageing(0.75), *FRESH, entry("young", 0.74), entry("old", 0.76), entry("gone", 3.0))
    assert names(call) == ["old", "gone"]
    assert call is not None
    assert call.window == 2.0


def test_when_all_are_well_nobody_is_asked() -> None:
    ageing = Ageing(0.75)
    assert look(ageing, *FRESH) is None
    assert ageing.listening == len(FRESH)


@pytest.mark.parametrize("source", [each for each in Source if each is not Source.AGENT])
def test_what_runs_no_agent_is_not_asked(source: Source) -> None:
    assert look(Ageing(0.75), *FRESH, entry("printer", 0.9, source)) is None


def test_a_binding_for_good_does_not_age() -> None:
    address = MailAddress.parse("fixed@office.lan")
    assert look(Ageing(0.75), Entry(address, Binding(address, Endpoint("10.0.0.7"), NOW - 90 * DAY))) is None


def test_a_silent_terminal_is_asked_three_times_and_again_once_it_was_well() -> None:
    ageing = Ageing(0.75)
    for _ in range(ROUNDS):
        assert names(look(ageing, *FRESH, entry("old", 0.8))) == ["old"]
    assert look(ageing, *FRESH, entry("old", 0.9)) is None
    assert look(ageing, *FRESH, entry("old", 0.1)) is None
    assert names(look(ageing, *FRESH, entry("old", 0.8))) == ["old"]


def test_where_many_are_silent_everyone_is_asked() -> None:
    call = look(Ageing(0.75), *FRESH, *(entry(f"old{number}", 0.8) for number in range(5)))
    assert call == Call(None, 2.0)


def test_hundreds_of_silent_ones_among_thousands_are_asked_by_one_datagram() -> None:
    well = [entry(f"well{number}", 0.4) for number in range(10 * MANY)]
    call = look(Ageing(0.75), *well, *(entry(f"old{number}", 0.8) for number in range(MANY)))
    assert call == Call(None, 11 * MANY / 50)


def test_a_binding_from_the_future_is_old_since_the_clock_jumped_back() -> None:
    assert names(look(Ageing(0.75), *FRESH, entry("later", -0.5))) == ["later"]


@pytest.mark.parametrize(("terminals", "window"), [(0, 2.0), (100, 2.0), (1000, 20.0), (10**9, MAX_WINDOW_SECONDS)])
def test_the_window_gives_each_answer_its_time(terminals: int, window: float) -> None:
    assert window_for(terminals) == window


def test_batches_hold_all_in_order() -> None:
    addresses = [MailAddress.parse(f"fax{number}@office.lan") for number in range(7)]
    assert [len(batch) for batch in batches(addresses, 3)] == [3, 3, 1]
    assert [each for batch in batches(addresses, 3) for each in batch] == addresses
