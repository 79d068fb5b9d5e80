from __future__ import annotations

from ipaddress import ip_network

from lanpost.model.networks import is_within

OFFICE = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_a_host_is_within_a_network_of_its_family() -> None:
    assert is_within("10.1.2.3", OFFICE)
    assert is_within("fd00::7", OFFICE)
    assert not is_within("192.0.2.1", OFFICE)
    assert not is_within("10.1.2.3", OFFICE[1:])


def test_nobody_is_in_no_network_and_a_vanished_client_in_none() -> None:
    assert not is_within("10.1.2.3", ())
    assert not is_within("", OFFICE)
