from __future__ import annotations

from ipaddress import ip_network

from lanpost.model.networks import is_within, peer_of

OFFICE = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_a_host_is_within_a_network_of_its_family() -> None:
    assert is_within("10.1.2.3", OFFICE)
    assert is_within("fd00::7", OFFICE)
    assert not is_within("192.0.2.1", OFFICE)
    assert not is_within("10.1.2.3", OFFICE[1:])


def test_nobody_is_in_no_network_and_a_vanished_client_in_none() -> None:
    assert not is_within("10.1.2.3", ())
    assert not is_within("", OFFICE)


def test_who_commands_a_network_of_ipv6_addresses_is_one_peer() -> None:
    assert peer_of("2001:db8::7") == peer_of("2001:db8::ffff") != peer_of("2001:db8:0:1::7")
    assert peer_of("fe80::1") != peer_of("fe80::2")
    assert peer_of("10.0.0.7") == "10.0.0.7"
