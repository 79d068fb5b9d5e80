"""The chart's entries as entries of a directory, and whatever else a directory may hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.directory_entry import (
    AttributeNames,
    address_named,
    attributes_of,
    endpoint_of,
    entries_of,
    merged,
    name_of,
)
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint

NOW = datetime(2026, 11, 23, 20, 15, 0, 123456, tzinfo=UTC)
HOME = "office.lan"
ADDRESSES = [
    "fax1",
    "FAX1@Office.LAN",
    "fax1@elsewhere.lan",
    '"a b"',
    '"a@b"',
    '"a\\"b\\\\"',
    "büro",
    "ファクス@büro.lan",
    "fax@[IPv6:2001:db8::7]",
]


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, HOME)


def lowered(attributes: Mapping[str, tuple[bytes, ...]]) -> dict[str, tuple[bytes, ...]]:
    return {name.lower(): values for name, values in attributes.items()}


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_name_leads_back_to_its_address_and_to_no_other(address: str) -> None:
    assert address_named(name_of(named(address), HOME), HOME) == named(address)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("endpoint", ["10.0.0.7", "[2001:db8::7]:2525", "[fe80::7%eth0]:25"])
def test_an_entry_comes_back_as_it_was(address: str, endpoint: str) -> None:
    binding = Binding(
        named(address), Endpoint.parse(endpoint), NOW, NOW + timedelta(hours=1), Source.DHCP, "dhcp@office.lan"
    )
    entry = Entry(named(address), binding, Details.of([("o", "Büro"), ("o", "Acme"), ("telephoneNumber", "+81")]))
    attributes = attributes_of(entry, HOME)
    (back,) = entries_of(lowered(attributes), HOME)
    assert back == entry
    assert str(back.address) == str(named(address))
    assert all(value.isascii() for name in ("mail", "mailLocalAddress") for value in attributes.get(name, ()))


def test_only_a_bound_entry_is_a_host() -> None:
    attributes = attributes_of(Entry(named("fax1")), HOME)
    assert b"ipHost" not in attributes["objectClass"]
    assert "ipHostNumber" not in attributes
    bound = attributes_of(Entry(named("fax1"), Binding(named("fax1"), Endpoint("10.0.0.7"), NOW)), HOME)
    assert b"ipHost" in bound["objectClass"]
    assert bound["lanpostNextHop"] == (b"smtp:[10.0.0.7]:25",)
    assert bound["mailHost"] == (b"[10.0.0.7]",)


def test_what_somebody_wrote_with_stock_classes_only_is_read() -> None:
    (entry,) = entries_of(
        {"cn": [b"fax9"], "maillocaladdress": [b"fax9@office.lan"], "mailhost": [b"[10.0.0.9]"]}, HOME
    )
    assert entry.binding is not None
    assert (entry.binding.endpoint, entry.binding.source) == (Endpoint("10.0.0.9"), Source.LDAP)
    assert entry.binding.is_live(NOW)


def test_an_entry_with_two_addresses_is_two() -> None:
    entries = entries_of(
        {"maillocaladdress": [b"a@office.lan", b"b@office.lan", b"no address @"], "iphostnumber": [b"10.0.0.9"]},
        HOME,
    )
    assert [entry.address for entry in entries] == [named("a"), named("b")]


def test_another_directory_may_call_it_otherwise() -> None:
    names = AttributeNames("mail", "networkAddress", "smtpPort")
    attributes = {"mail": [b"fax1@office.lan"], "networkaddress": [b"10.0.0.9"], "smtpport": [b"2525"]}
    (entry,) = entries_of(attributes, HOME, names)
    assert entry.binding is not None
    assert entry.binding.endpoint == Endpoint("10.0.0.9", 2525)


@pytest.mark.parametrize(
    ("attributes", "endpoint"),
    [
        ({"iphostnumber": [b"scanner.office.lan", b"10.0.0.7"]}, "10.0.0.7"),
        ({"iphostnumber": [b"10.0.0.7"], "lanpostport": [b"0"]}, "10.0.0.7"),
        ({"iphostnumber": [b"10.0.0.7"], "lanpostport": [b"99999999999"]}, "10.0.0.7"),
        ({"mailhost": [b"[10.0.0.7]:26"]}, "10.0.0.7:26"),
        ({"mailhost": [b"[IPv6:2001:db8::7]"]}, "[2001:db8::7]:25"),
        ({"mailhost": [b"[2001:db8::7]"]}, "[2001:db8::7]:25"),
        ({"mailhost": [b"mail.office.lan"]}, ""),
        ({"iphostnumber": [b"\xff"]}, ""),
        ({}, ""),
    ],
)
def test_an_endpoint_is_an_ip_or_none(attributes: dict[str, list[bytes]], endpoint: str) -> None:
    assert endpoint_of(attributes) == (Endpoint.parse(endpoint) if endpoint else None)


def test_a_lease_apart_and_its_terminal_are_one_entry() -> None:
    account = Entry(named("fax1"), Binding(named("fax1"), Endpoint("10.0.0.7"), NOW), Details.of([("o", "Acme")]))
    lease = Entry(named("fax1"), Binding(named("fax1"), Endpoint("10.0.0.8"), NOW + timedelta(seconds=1)))
    for order in ([account, lease], [lease, account]):
        assert merged(order) == {named("fax1"): Entry(named("fax1"), lease.binding, account.details)}
    assert merged([Entry(named("fax1")), lease]) == {named("fax1"): lease}


NAMES = ["maillocaladdress", "lanpostaddress", "iphostnumber", "mailhost", "lanpostport", "lanpostupdated"]
NAMES += ["lanpostexpires", "entryexpiretimestamp", "lanpostsource", "lanpostowner", "o", "description"]
SOME = st.sampled_from(
    [b"fax1@office.lan", b"10.0.0.7", b"[10.0.0.7]", b"20261123201500Z", b"19700101000000Z", b""]
)


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.binary(max_size=40) | SOME, max_size=3)))
def test_whatever_a_directory_holds_is_read_or_passed_over(attributes: dict[str, list[bytes]]) -> None:
    for entry in entries_of(attributes, HOME):
        assert entry.binding is None or entry.binding.address == entry.address
