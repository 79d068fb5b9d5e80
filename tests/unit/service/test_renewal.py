"""When a terminal registers next: no test sleeps, time and chance are arguments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.service.renewal import FIRST_RETRY, LAST_RETRY, LAST_RETRY_REFUSED, SHORTEST_RENEWAL, Renewal

chance = st.floats(0, 1)


def test_it_begins_at_once() -> None:
    assert Renewal().due == 0


@pytest.mark.parametrize(("jitter", "due"), [(0.0, 1000 + 45), (0.5, 1000 + 50), (1.0, 1000 + 55)])
def test_renewal_lies_at_half_the_lifetime_give_or_take_a_tenth(jitter: float, due: float) -> None:
    renewal = Renewal()
    renewal.registered(1000, 100, jitter)
    assert renewal.due == pytest.approx(due)


def test_a_binding_without_end_is_still_shown_to_be_alive() -> None:
    renewal = Renewal()
    renewal.registered(0, None, 0.5)
    assert renewal.due == 43200


@given(st.floats(-1e9, 1e9), chance)
def test_no_lifetime_however_odd_makes_it_storm(lifetime: float, jitter: float) -> None:
    renewal = Renewal()
    renewal.registered(0, lifetime, jitter)
    assert renewal.due >= SHORTEST_RENEWAL


@given(st.integers(1, 100_000), chance)
def test_pauses_grow_and_are_bounded_for_ever(count: int, jitter: float) -> None:
    renewal = Renewal(failures=count - 1, refusals=count - 1)
    renewal.failed(0, jitter)
    assert FIRST_RETRY / 2 <= renewal.due <= LAST_RETRY
    renewal.refused(0, jitter)
    assert renewal.due <= LAST_RETRY_REFUSED


def test_a_server_that_is_silent_is_asked_after_1_2_4_seconds_at_the_latest() -> None:
    renewal = Renewal()
    pauses = []
    for _ in range(8):
        renewal.failed(0, 1)
        pauses.append(renewal.due)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_change_of_the_network_forgets_the_failures_and_is_due_at_once() -> None:
    renewal = Renewal()
    for _ in range(8):
        renewal.failed(0, 1)
    renewal.changed(500)
    assert renewal.due == 500
    renewal.failed(500, 1)
    assert renewal.due == 501


def test_success_forgets_the_failures() -> None:
    renewal = Renewal()
    for _ in range(8):
        renewal.failed(0, 1)
    renewal.registered(0, 100, 0)
    renewal.failed(100, 1)
    assert renewal.due == 101


@given(st.integers(1, 8), st.floats(1, 1e9), chance)
def test_a_server_that_wants_to_be_left_alone_is_and_all_come_again_spread(
    count: int, wanted: float, jitter: float
) -> None:
    renewal = Renewal(failures=count - 1)
    renewal.failed(0, jitter, wanted)
    assert min(wanted, LAST_RETRY / 2) <= renewal.due <= LAST_RETRY
    if wanted >= LAST_RETRY and count == 1:
        assert renewal.due == pytest.approx(LAST_RETRY / 2 * (1 + jitter))
