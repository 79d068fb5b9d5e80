"""Filters against one entry: every kind, every rule, and what is neither true nor false."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.service.directory_matching import compiled
from lanpost.wire import ldap_filter as f
from lanpost.wire.ldap_filter_text import parse_filter

HELD: Mapping[str, Sequence[bytes]] = {
    "objectClass": (b"top", b"device", b"ipHost"),
    "cn": (b"Fax  One",),
    "o": ("Büro Süd".encode(), b"Office"),
    "mail": (b"fax1@office.lan",),
    "lanpostKey": (b"fax1@office.lan",),
    "lanpostPort": (b"2525",),
    "lanpostExpires": (b"20261124120000.5Z",),
    "telephoneNumber": (b"+43 1 234-567",),
    "facsimileTelephoneNumber": (b"+43 1 999$fineResolution",),
    "description": (b"a*b(c)\\",),
    "hasSubordinates": (b"FALSE",),
    "entryUUID": (b"5f1a9e1e-8c3b-4c8e-9d5e-0a1b2c3d4e5f",),
    "entryDN": (b"cn=Fax One,ou=chart,dc=office,dc=lan",),
    "displayName": (b"\xff",),  # no UTF-8: nothing that is asked for
}


class Entry:
    name = "cn=Fax One,ou=chart,dc=office,dc=lan"

    def values(self, name: str) -> Sequence[bytes]:
        return HELD.get(name, ())


def parts(_entry: object) -> Sequence[tuple[str, str]]:
    return [("cn", "Fax One"), ("ou", "chart"), ("dc", "office"), ("dc", "lan")]


def truth(searched: f.Filter | str) -> bool | None:
    found = parse_filter(searched) if isinstance(searched, str) else searched
    return compiled(found, parts)(Entry())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(cn=fax one)", True),
        ("(CN= FAX   one )", True),
        ("(commonName=fax one)", True),
        ("(2.5.4.3=fax one)", True),
        ("(cn=faxone)", False),
        ("(l=anywhere)", False),
        ("(o=büro süd)", True),
        ("(o=BU\u0308RO SÜD)", True),  # decomposed
        ("(o=\uff2fffice)", True),  # full width
        ("(cn~=fax ONE)", True),
        ("(mail=FAX1@Office.LAN)", True),
        ("(mail=fäx1@office.lan)", None),  # IA5String
        ("(lanpostKey=FAX1@office.lan)", False),  # caseExact
        ("(lanpostKey=fax1@office.lan)", True),
        ("(objectClass=DEVICE)", True),
        ("(objectClass=2.5.6.14)", True),
        ("(objectClass=1.3.6.1.1.1.2.6)", True),
        ("(objectClass=organization)", False),
        ("(objectClass=nobodyKnowsThis)", None),
        ("(objectClass=1.2.3.4)", False),
        ("(lanpostPort=2525)", True),
        ("(lanpostPort=02525)", True),
        ("(lanpostPort=x)", None),
        ("(lanpostPort>=2525)", True),
        ("(lanpostPort>=300)", True),  # as numbers, not as texts
        ("(lanpostPort<=300)", False),
        ("(lanpostExpires=20261124130000.5+0100)", True),
        ("(lanpostExpires<=20261124120001Z)", True),
        ("(lanpostExpires>=20261124120001Z)", False),
        ("(lanpostExpires>=tomorrow)", None),
        ("(telephoneNumber=+431234567)", True),
        ("(telephoneNumber=+43-1-2345-67)", True),
        ("(telephoneNumber=* 234 5*)", True),
        ("(telephoneNumber=*-*)", True),
        ("(telephoneNumber=+431 *67)", True),
        ("(telephoneNumber=*68)", False),
        ("(facsimileTelephoneNumber=+431999)", True),
        ("(fax=*999)", True),
        ("(telephoneNumber>=0)", None),  # no ordering
        ("(mail>=a)", None),
        ("(hasSubordinates=FALSE)", True),
        ("(hasSubordinates=false)", None),
        ("(entryUUID=5F1A9E1E-8C3B-4C8E-9D5E-0A1B2C3D4E5F)", True),
        ("(entryDN=CN=fax one, OU=chart,dc=office,dc=lan)", True),
        ("(entryDN=no name)", None),
        ("(displayName=x)", False),
        ("(displayName=*)", True),
        ("(cn=*)", True),
        ("(l=*)", False),
        ("(userPassword=*)", False),
        ("(objectClass=*)", True),
        ("(unknown=*)", None),
        ("(unknown=x)", None),
        ("(unknown>=x)", None),
        ("(unknown=x*)", None),
        ("(cn;lang-en=fax one)", None),
        ("(cn=fa*)", True),
        ("(cn=*one)", True),
        ("(cn=f*x*e)", True),
        ("(cn=fa*fa*)", False),
        ("(cn=fax one*one)", False),  # the pieces must not overlap
        ("(cn= fa*)", True),  # blanks at the edge of a value do not count
        ("(cn=*one )", True),
        ("(cn=fax *)", True),
        ("(cn=fax o*)", True),
        ("(cn=fa x*)", False),
        ("(cn=*x * o*)", True),  # between two words there is a blank for each of them
        ("(cn=* fax*)", True),  # at the beginning there is one
        ("(cn=* ax*)", False),
        ("(cn=* *)", True),
        ("(mail=*@OFFICE.lan)", True),
        ("(mail=ü*)", None),
        ("(lanpostKey=FAX*)", False),
        ("(lanpostPort=25*)", None),  # no substrings
        ("(objectClass=dev*)", None),
        ("(description=a\\2ab\\28c\\29\\5c)", True),
        ("(description=*\\2a*)", True),
        ("(description=a\\2a*\\29\\5c)", True),
        ("(description=\\2a*)", False),
        ("(cn:=fax one)", True),
        ("(cn:caseIgnoreMatch:=FAX one)", True),
        ("(cn:caseExactMatch:=FAX one)", False),
        ("(cn:2.5.13.5:=Fax One)", True),
        ("(cn:noSuchRule:=fax one)", None),
        ("(unknown:caseIgnoreMatch:=x)", None),
        ("(:caseIgnoreMatch:=office)", True),
        ("(:caseIgnoreMatch:=nowhere)", False),
        ("(:telephoneNumberMatch:=+431234567)", True),
        ("(:integerMatch:=2525)", True),
        ("(:noSuchRule:=x)", None),
        ("(ou:=chart)", False),
        ("(ou:dn:=CHART)", True),
        ("(dc:dn:=lan)", True),
        ("(o:dn:=lan)", False),
        ("(:dn:caseIgnoreMatch:=chart)", True),
        ("(&)", True),
        ("(|)", False),
    ],
)
def test_truth_of(text: str, expected: bool | None) -> None:
    assert truth(text) is expected
    assert truth(f.Not(parse_filter(text))) is (None if expected is None else not expected)


TRUTHS: Mapping[bool | None, f.Filter] = {True: f.And(()), False: f.Or(()), None: f.Present("unknown")}


@pytest.mark.parametrize(("left", "right"), list(product(TRUTHS, TRUTHS)))
def test_and_and_or_have_three_values(left: bool | None, right: bool | None) -> None:
    both = (TRUTHS[left], TRUTHS[right])
    assert truth(f.And(both)) is (False if False in (left, right) else None if None in (left, right) else True)
    assert truth(f.Or(both)) is (True if True in (left, right) else None if None in (left, right) else False)


VALUES = st.one_of(st.binary(max_size=12), st.text(max_size=8).map(str.encode), st.sampled_from([b"", b" ", b"-"]))
KINDS = st.sampled_from([*HELD, "unknown", "", "userPassword", "supportedControl", "attributeTypes"])
SIMPLE = st.one_of(
    st.builds(f.Equals, KINDS, VALUES),
    st.builds(f.Approximately, KINDS, VALUES),
    st.builds(f.GreaterOrEqual, KINDS, VALUES),
    st.builds(f.LessOrEqual, KINDS, VALUES),
    st.builds(f.Present, KINDS),
    st.builds(f.Substrings, KINDS, VALUES, st.lists(VALUES, max_size=2).map(tuple), VALUES),
    st.builds(
        f.Extensible, KINDS, st.sampled_from(["", "caseIgnoreMatch", "2.5.13.30", "x"]), VALUES, st.booleans()
    ),
)


@given(SIMPLE)
def test_any_filter_has_a_truth(searched: f.Filter) -> None:
    assert truth(searched) in (True, False, None)


@given(
    st.text(alphabet="aB ", max_size=6).map(str.strip).filter(lambda text: "  " not in text),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_a_value_is_found_by_its_pieces(value: str, one: int, other: int) -> None:
    first, last = sorted((min(one, len(value)), min(other, len(value))))
    pieces = [value[:first], value[first:last], value[last:]]

    class Held:
        def values(self, name: str) -> Sequence[bytes]:
            return (value.encode(),)

    middle = (pieces[1].encode(),) if pieces[1] else ()
    searched = f.Substrings("cn", pieces[0].encode(), middle, pieces[2].encode())
    assert compiled(searched, lambda _: [])(Held()) is True
