"""A peer's offences are counted for one window, in bounded memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lanpost.service.throttle import MAX_PEERS, Throttle

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_the_wait_lasts_to_the_end_of_the_window_and_counting_begins_anew() -> None:
    throttle = Throttle(2, MINUTE)
    throttle.count("10.0.0.7", NOW)
    assert throttle.wait("10.0.0.7", NOW) is None
    throttle.count("10.0.0.7", NOW + MINUTE / 4)
    assert throttle.wait("10.0.0.7", NOW + MINUTE / 2) == MINUTE / 2
    assert throttle.wait("10.0.0.8", NOW) is None
    assert throttle.wait("10.0.0.7", NOW + MINUTE) is None
    throttle.count("10.0.0.7", NOW + MINUTE)
    assert throttle.wait("10.0.0.7", NOW + MINUTE) is None


def test_a_clock_set_back_locks_nobody_out() -> None:
    throttle = Throttle(1, MINUTE)
    throttle.count("10.0.0.7", NOW)
    assert throttle.wait("10.0.0.7", NOW - timedelta(days=1)) is None


def test_one_host_locks_out_nobody_else_on_its_lan() -> None:
    throttle = Throttle(1, MINUTE)
    throttle.count("fd00::7", NOW)
    assert throttle.wait("fd00::7", NOW) == MINUTE
    assert throttle.wait("fd00::8", NOW) is None


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    throttle = Throttle(1, MINUTE)
    for number in range(MAX_PEERS + 1):
        throttle.count(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", NOW)
    assert throttle.wait("10.0.0.0", NOW) is None
    assert throttle.wait("10.0.0.1", NOW) == MINUTE
