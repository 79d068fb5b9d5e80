"""Where a terminal is, as what is written into a directory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lanpost.content.directory_entry import LOCATION, address_attributes, attributes_of, location_of
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.model.endpoint import Endpoint
from lanpost.service.directory_changes import Held, change, location
from lanpost.service.directory_modifications import (
    has_leases,
    is_lease,
    is_located,
    lease_attributes,
    located,
    taken_away,
    with_bound_class,
)
from lanpost.wire.ldap_messages import Modification, ModificationKind

FAX = MailAddress.parse("fax1@office.lan")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HERE = Binding(FAX, Endpoint("10.0.0.7"), NOW, NOW + timedelta(hours=1))
FOR_GOOD = Binding(FAX, Endpoint("2001:db8::7", 2525), NOW)


def held(entry: Entry) -> Held:
    return {name.lower(): values for name, values in attributes_of(entry, "office.lan").items()}


def test_a_location_takes_the_place_of_all_of_the_former_one() -> None:
    """As our own directory, which is strict, reads the changes."""
    entry = held(Entry(FAX, HERE))
    touched = {change(entry, each) for each in located(location_of(FOR_GOOD))}
    assert touched == {name.lower() for name in LOCATION}
    assert entry == held(Entry(FAX, FOR_GOOD))
    found = location(entry, touched)
    assert found is not None
    assert (found.endpoint, found.expires, found.says_expires) == (FOR_GOOD.endpoint, None, True)


def test_an_entry_becomes_bound_and_nowhere_again() -> None:
    entry = held(Entry(FAX))
    assert not is_located(entry)
    for each in with_bound_class(located(location_of(HERE))):
        change(entry, each)
    assert is_located(entry)
    assert {name: sorted(values) for name, values in entry.items()} == {
        name: sorted(values) for name, values in held(Entry(FAX, HERE)).items()
    }
    for each in taken_away(entry):
        change(entry, each)
    assert entry == held(Entry(FAX))


def test_the_class_is_taken_only_from_an_entry_that_has_it() -> None:
    remove = Modification(ModificationKind.DELETE, "objectClass", (b"ipHost",))
    assert remove in taken_away({"objectclass": (b"device", b"IPHOST")})
    assert remove not in taken_away({"objectclass": (b"device",)})


def test_a_lease_bears_the_address_by_which_mail_finds_it_but_not_the_one_of_address_books() -> None:
    lease = dict(lease_attributes(address_attributes(FAX), location_of(HERE)))
    assert lease["mailLocalAddress"] == (b"fax1@office.lan",)
    assert lease["ipHostNumber"] == (b"10.0.0.7",)
    assert "mail" not in lease
    assert is_lease({"objectclass": lease["objectClass"]})
    # An address that is not ASCII has no mailLocalAddress: an attribute without values cannot be added.
    unicode = dict(lease_attributes({**address_attributes(FAX), "mailLocalAddress": ()}, location_of(HERE)))
    assert "mailLocalAddress" not in unicode


def test_leases_are_where_the_directory_says() -> None:
    name = DistinguishedName.parse("cn=fax1,ou=chart,dc=office,dc=lan")
    assert has_leases(name, [b"o=else", b"DC=office, dc=LAN"])
    assert not has_leases(name, [])
    assert not has_leases(name, [b"ou=chart,dc=else,dc=lan", b"no name", b"\xff"])
