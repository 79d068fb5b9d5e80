"""Delays after wrong passwords."""

from __future__ import annotations

from lanpost.net import login_delays
from lanpost.net.login_delays import FORGET_SECONDS, MAX_DELAY, LoginDelays


def test_each_failure_waits_longer_up_to_a_limit() -> None:
    delays = LoginDelays(first=1.0)
    waits = [delays.failed("10.0.0.7", 100.0 + count) for count in range(8)]
    assert waits == [1, 2, 4, 8, MAX_DELAY, MAX_DELAY, MAX_DELAY, MAX_DELAY]
    assert delays.failed("10.0.0.8", 108.0) == 1


def test_a_right_password_and_time_make_good() -> None:
    delays = LoginDelays(first=1.0)
    delays.failed("10.0.0.7", 0.0)
    delays.succeeded("10.0.0.7")
    assert delays.failed("10.0.0.7", 1.0) == 1
    assert delays.failed("10.0.0.7", 2.0) == 2
    assert delays.failed("10.0.0.7", 3.0 + FORGET_SECONDS) == 1


def test_another_address_of_the_same_ipv6_network_does_not_help() -> None:
    delays = LoginDelays(first=1.0)
    delays.failed("2001:db8::7", 0.0)
    assert delays.failed("2001:db8::8", 1.0) == 2
    delays.succeeded("2001:db8::9")
    assert delays.failed("2001:db8::7", 2.0) == 1


def test_memory_is_bounded() -> None:
    delays = LoginDelays()
    for number in range(login_delays.MAX_HOSTS + 100):
        delays.failed(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(delays._failures) == login_delays.MAX_HOSTS
