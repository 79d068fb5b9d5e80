"""Changes to one entry's attributes, and what they say of where a terminal is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.directory_running import NOW, address, binding

from lanpost.content.directory_schema import ATTRIBUTE_TYPES, attribute_type
from lanpost.content.directory_values import same_value
from lanpost.errors import DirectoryRefused
from lanpost.model.binding import Source
from lanpost.model.endpoint import Endpoint
from lanpost.service.directory_changes import (
    Held,
    Location,
    address_told,
    binding_of,
    change,
    check_classes,
    check_names,
    details_told,
    held,
    later,
    location,
)
from lanpost.wire.ldap_messages import Modification, ModificationKind, ResultCode

ADD, DELETE, REPLACE = ModificationKind.ADD, ModificationKind.DELETE, ModificationKind.REPLACE
FAX = address("fax1")


def entry() -> Held:
    return {"description": (b"Floor 2", b"By the door"), "iphostnumber": (b"10.0.0.7",), "lanpostport": (b"2525",)}


def after(kind: ModificationKind, attribute: str, *values: bytes) -> Held:
    found = entry()
    change(found, Modification(kind, attribute, values))
    return found


def code_of(kind: ModificationKind, attribute: str, *values: bytes) -> int:
    before = entry()
    with pytest.raises(DirectoryRefused) as refusal:
        change(before, Modification(kind, attribute, values))
    assert before == entry(), "refused, and yet changed"
    return int(refusal.value.code)


def test_values_are_added_taken_away_and_replaced() -> None:
    two = (b"Floor 2", b"By the door")
    assert after(ADD, "DESCRIPTION", b"New")["description"] == (*two, b"New")
    assert after(ADD, "2.5.4.13", b"New", b"Newer")["description"] == (*two, b"New", b"Newer")
    assert after(DELETE, "description", b"floor  2")["description"] == (b"By the door",)
    assert "description" not in after(DELETE, "description")
    assert "description" not in after(DELETE, "description", b"FLOOR 2", b"by the DOOR")
    assert after(REPLACE, "description", b"New")["description"] == (b"New",)
    assert "description" not in after(REPLACE, "description")
    assert after(REPLACE, "displayName") == entry()  # of what is not there nothing is no error (RFC 4511 §4.6)
    assert after(REPLACE, "fax", b"+43 1")["facsimiletelephonenumber"] == (b"+43 1",)


@pytest.mark.parametrize(
    ("kind", "attribute", "values", "code"),
    [
        (ADD, "description", (b"FLOOR 2",), ResultCode.ATTRIBUTE_OR_VALUE_EXISTS),
        (ADD, "description", (b"New", b"new"), ResultCode.ATTRIBUTE_OR_VALUE_EXISTS),
        (REPLACE, "description", (b"New", b"new"), ResultCode.ATTRIBUTE_OR_VALUE_EXISTS),
        (ADD, "description", (), ResultCode.PROTOCOL_ERROR),
        (DELETE, "description", (b"Floor 3",), ResultCode.NO_SUCH_ATTRIBUTE),
        (DELETE, "displayName", (), ResultCode.NO_SUCH_ATTRIBUTE),
        (DELETE, "displayName", (b"x",), ResultCode.NO_SUCH_ATTRIBUTE),
        (REPLACE, "displayName", (b"One", b"Two"), ResultCode.CONSTRAINT_VIOLATION),
        (ADD, "lanpostPort", (b"25",), ResultCode.CONSTRAINT_VIOLATION),
        (REPLACE, "lanpostPort", (b"x",), ResultCode.INVALID_ATTRIBUTE_SYNTAX),
        (REPLACE, "lanpostPort", (b"9" * 5000,), ResultCode.INVALID_ATTRIBUTE_SYNTAX),
        (REPLACE, "lanpostExpires", (b"tomorrow",), ResultCode.INVALID_ATTRIBUTE_SYNTAX),
        (REPLACE, "description", (b"\xff",), ResultCode.INVALID_ATTRIBUTE_SYNTAX),
        (REPLACE, "mail", ("fäx1@office.lan".encode(),), ResultCode.INVALID_ATTRIBUTE_SYNTAX),
        (REPLACE, "unheardof", (b"x",), ResultCode.UNDEFINED_ATTRIBUTE_TYPE),
        (REPLACE, "description;lang-de", (b"x",), ResultCode.UNDEFINED_ATTRIBUTE_TYPE),
        (REPLACE, "entryUUID", (b"x",), ResultCode.CONSTRAINT_VIOLATION),
        (REPLACE, "modifyTimestamp", (), ResultCode.CONSTRAINT_VIOLATION),
        (REPLACE, "userPassword", (b"x",), ResultCode.UNWILLING_TO_PERFORM),
        (REPLACE, "objectClass", (b"noSuchClass",), ResultCode.OBJECT_CLASS_VIOLATION),
        (REPLACE, "c", (b"AT",), ResultCode.OBJECT_CLASS_VIOLATION),  # answered, it would have to be kept
        (ADD, "dc", (b"office",), ResultCode.OBJECT_CLASS_VIOLATION),
        (ModificationKind.INCREMENT, "lanpostPort", (b"1",), ResultCode.UNWILLING_TO_PERFORM),
    ],
)
def test_changes_that_are_refused(
    kind: ModificationKind, attribute: str, values: tuple[bytes, ...], code: ResultCode
) -> None:
    assert code_of(kind, attribute, *values) == code


VALUES = (
    st.binary(max_size=6) | st.text(max_size=5).map(str.encode) | st.sampled_from([b"device", b"25", b"10.0.0.7"])
)
MODIFICATIONS = st.builds(
    Modification,
    st.sampled_from(ModificationKind),
    st.sampled_from([*(each.name for each in ATTRIBUTE_TYPES), "unheardof", ""]),
    st.lists(VALUES, max_size=3).map(tuple),
)


@given(st.lists(MODIFICATIONS, max_size=4))
def test_whatever_is_asked_for_the_entry_keeps_to_the_schema(modifications: list[Modification]) -> None:
    attributes = entry()
    for each in modifications:
        before = dict(attributes)
        try:
            key = change(attributes, each)
        except DirectoryRefused:
            assert attributes == before
            continue
        kind = attribute_type(each.attribute)
        assert kind is not None
        assert key == kind.name.lower()
        values = attributes.get(key, ())
        assert not kind.single or len(values) <= 1
        for number, value in enumerate(values):
            assert not any(same_value(kind, other, value) for other in values[:number])
        assert key not in attributes or values, "an attribute without values"


def test_an_entry_to_be_added() -> None:
    given_ = [("OBJECTclass", (b"device",)), ("cn", (b"fax1",)), ("description", (b"a",)), ("Description", (b"b",))]
    assert held(given_) == {"objectclass": (b"device",), "cn": (b"fax1",), "description": (b"a", b"b")}
    with pytest.raises(DirectoryRefused, match="no value"):
        held([("cn", ())])


# -- where it is


def told(touched: set[str], **attributes: str) -> Location | None:
    return location({name: (value.encode(),) for name, value in attributes.items()}, touched)


def test_a_change_of_something_else_says_nothing_of_the_location() -> None:
    assert told({"description"}, iphostnumber="10.0.0.7", description="x") is None


@pytest.mark.parametrize(
    ("touched", "attributes", "endpoint"),
    [
        ({"iphostnumber"}, {"iphostnumber": "10.0.0.7"}, "10.0.0.7:25"),
        ({"iphostnumber", "lanpostport"}, {"iphostnumber": "10.0.0.7", "lanpostport": "2525"}, "10.0.0.7:2525"),
        ({"iphostnumber"}, {"iphostnumber": "fe80::1%eth0"}, "[fe80::1%eth0]:25"),
        # Who writes one of the two does not know the other, which is still as it was.
        ({"mailhost"}, {"iphostnumber": "10.0.0.7", "mailhost": "[10.0.0.8]"}, "10.0.0.8:25"),
        ({"iphostnumber"}, {"iphostnumber": "10.0.0.9", "mailhost": "[10.0.0.8]"}, "10.0.0.9:25"),
        ({"mailhost"}, {"mailhost": "[IPv6:2001:db8::7]"}, "[2001:db8::7]:25"),
        # Of an expired binding where it led is left: a new lease makes it good again.
        ({"lanpostexpires"}, {"lanpostexpiredendpoint": "10.0.0.7:2525", "lanpostport": "2525"}, "10.0.0.7:2525"),
        ({"iphostnumber"}, {}, None),
        ({"iphostnumber", "mailhost"}, {}, None),
    ],
)
def test_where_a_change_says_it_is(touched: set[str], attributes: dict[str, str], endpoint: str | None) -> None:
    found = told(touched, **attributes)
    assert found is not None
    assert found.endpoint == (Endpoint.parse(endpoint) if endpoint else None)


@pytest.mark.parametrize(
    ("touched", "attributes", "code"),
    [
        ({"iphostnumber"}, {"iphostnumber": "printer.office.lan"}, ResultCode.INVALID_ATTRIBUTE_SYNTAX),
        ({"mailhost"}, {"mailhost": "10.0.0.7.example"}, ResultCode.INVALID_ATTRIBUTE_SYNTAX),
        ({"lanpostport"}, {"lanpostport": "25"}, ResultCode.OBJECT_CLASS_VIOLATION),
        ({"lanpostport"}, {"iphostnumber": "10.0.0.7", "lanpostport": "0"}, ResultCode.CONSTRAINT_VIOLATION),
        ({"lanpostport"}, {"iphostnumber": "10.0.0.7", "lanpostport": "65536"}, ResultCode.CONSTRAINT_VIOLATION),
        ({"lanpostsource"}, {"iphostnumber": "10.0.0.7", "lanpostsource": "x"}, ResultCode.CONSTRAINT_VIOLATION),
        (
            {"lanpostexpires"},
            {"lanpostexpiredendpoint": "x", "lanpostexpires": "20261124120000Z"},
            ResultCode.INVALID_ATTRIBUTE_SYNTAX,
        ),
    ],
)
def test_places_that_are_none(touched: set[str], attributes: dict[str, str], code: ResultCode) -> None:
    with pytest.raises(DirectoryRefused) as refusal:
        told(touched, **attributes)
    assert refusal.value.code == code


def test_a_lease_that_nobody_speaks_of_is_renewed_as_it_was() -> None:
    former = binding("fax1", updated=NOW - timedelta(hours=5), lasts=3600)
    place = Location(Endpoint("10.0.0.9"))
    renewed = binding_of(FAX, place, former, NOW)
    assert (renewed.updated, renewed.expires) == (NOW, NOW + timedelta(hours=1))
    assert renewed.source is Source.LDAP
    assert binding_of(FAX, place, binding("fax1", lasts=0), NOW).expires is None
    assert binding_of(FAX, place, None, NOW).expires is None
    for_good = Location(Endpoint("10.0.0.9"), says_expires=True)
    assert binding_of(FAX, for_good, former, NOW).expires is None


def test_a_lease_that_ends_before_it_begins_is_refused() -> None:
    ends = Location(Endpoint("10.0.0.9"), expires=NOW - timedelta(seconds=1), says_expires=True)
    with pytest.raises(DirectoryRefused) as refusal:
        binding_of(FAX, ends, None, NOW)
    assert refusal.value.code == ResultCode.CONSTRAINT_VIOLATION


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(min_value=timedelta(0)))
def test_there_is_a_last_moment(time: datetime, by: timedelta) -> None:
    found = later(time, by)
    assert time <= found
    assert found - time <= by
    assert found == datetime.max.replace(tzinfo=UTC) or found - time == by


# -- its name, its classes, its details


def test_all_addresses_of_an_entry_are_the_one_it_is_named_by() -> None:
    assert str(address_told({"mail": (b"Fax1@Office.lan",)}, FAX)) == "Fax1@Office.lan"
    assert address_told({"lanpostkey": (b"fax1@office.lan",)}, FAX) is FAX
    for key, value, code in (
        ("mail", b"fax2@office.lan", ResultCode.UNWILLING_TO_PERFORM),
        ("lanpostkey", b"FAX1@office.lan", ResultCode.UNWILLING_TO_PERFORM),
        ("maillocaladdress", b"no address", ResultCode.INVALID_ATTRIBUTE_SYNTAX),
    ):
        with pytest.raises(DirectoryRefused) as refusal:
            address_told({key: (value,)}, FAX)
        assert refusal.value.code == code


def test_a_terminal_is_a_device_and_nothing_else() -> None:
    check_classes({"objectclass": (b"top", b"DEVICE", b"ipHost", b"2.5.6.14")})
    for classes in ((), (b"top",), (b"organization",), (b"device", b"organization")):
        with pytest.raises(DirectoryRefused, match="device"):
            check_classes({"objectclass": classes})


def test_a_terminal_has_the_one_name_that_it_is_named_by() -> None:
    check_names({"cn": (b" FAX1 ",)}, "fax1")
    for values, code in (
        ((), ResultCode.NOT_ALLOWED_ON_RDN),
        ((b"fax2",), ResultCode.NOT_ALLOWED_ON_RDN),
        ((b"fax1", b"Front desk"), ResultCode.CONSTRAINT_VIOLATION),
    ):
        with pytest.raises(DirectoryRefused) as refusal:
            check_names({"cn": values}, "fax1")
        assert refusal.value.code == code


def test_details_are_what_address_books_can_show() -> None:
    assert list(details_told({"o": (b"Office",), "cn": (b"x",)})) == [("o", "Office")]
    with pytest.raises(DirectoryRefused) as refusal:
        details_told({"description": (b"two\nlines",)})
    assert refusal.value.code == ResultCode.CONSTRAINT_VIOLATION
