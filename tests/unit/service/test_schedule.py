"""When waiting mail is tried: growing pauses, early tries after a registration, an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.service.schedule import SPREAD, YOUNG_PAUSE, Schedule

SCHEDULE = Schedule(first_retry=5, last_retry=600, delay_notice=14_400, give_up=432_000)


@pytest.mark.parametrize(
    ("attempts", "pause"), [(0, 5), (1, 5), (2, 10), (3, 20), (4, 40), (8, 600), (50, 600), (10**9, 600)]
)
def test_pauses_double_up_to_the_longest(attempts: int, pause: float) -> None:
    assert SCHEDULE.next_try(1000, 1000, attempts, 0.5) == pytest.approx(1000 + pause)


@pytest.mark.parametrize(("age", "pause"), [(0, 1), (3, 1), (14, 1), (15, 15), (20, 20), (40, 40), (10_000, 600)])
def test_a_terminal_just_registered_is_tried_often_however_long_its_mail_has_waited(
    age: float, pause: float
) -> None:
    found = SCHEDULE.next_try(100_000, 10_000, 20, 0.5, registered=100_000 - age)
    assert found == pytest.approx(100_000 + pause)


def test_a_clock_that_went_back_makes_no_negative_pause() -> None:
    assert SCHEDULE.next_try(1000, 1000, 20, 0.5, registered=2000) == pytest.approx(1005)


def test_while_the_chart_is_silent_pauses_stay_short() -> None:
    assert SCHEDULE.next_try(1000, 1000, 20, 0.5, soon=True) == pytest.approx(1030)


@given(
    st.floats(0, 432_000), st.integers(0, 100), st.floats(0, 1), st.none() | st.floats(0, 500_000), st.booleans()
)
def test_the_next_try_is_never_at_once_and_never_far_off(
    age: float, attempts: int, chance: float, registered: float | None, soon: bool
) -> None:
    now = 1_000_000.0
    pause = SCHEDULE.next_try(now, now - age, attempts, chance, registered=registered, soon=soon) - now
    assert YOUNG_PAUSE * (1 - SPREAD) - 1e-6 <= pause <= 600 * (1 + SPREAD) + 1e-6


def test_the_last_try_is_at_the_giving_up() -> None:
    assert SCHEDULE.next_try(431_900, 0, 20, 0.5) == 432_000
    assert not SCHEDULE.is_expired(431_999, 0)
    assert SCHEDULE.is_expired(432_000, 0)


def test_a_held_mail_is_looked_after_when_its_sender_must_be_told() -> None:
    assert SCHEDULE.next_look(14_300, 0, 0.0, delay_told=False) == 14_400
    assert SCHEDULE.next_look(14_300, 0, 0.0, delay_told=True) == 14_900
    assert SCHEDULE.next_look(431_990, 0, 0.0, delay_told=True) == 432_000
