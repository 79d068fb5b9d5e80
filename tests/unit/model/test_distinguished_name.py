"""Distinguished names: how they are written, and which are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import InvalidName
from lanpost.model.distinguished_name import MAX_DEPTH, MAX_PAIRS, MAX_TEXT, DistinguishedName, Value

BASE = DistinguishedName.parse("ou=chart,dc=office,dc=lan")
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,5}|2\.5\.4\.[0-9]", fullmatch=True)
values: st.SearchStrategy[Value] = st.text(max_size=8) | st.binary(min_size=1, max_size=5)
rdns = st.lists(st.tuples(names, values), min_size=1, max_size=3).map(tuple)
distinguished = st.builds(DistinguishedName, st.lists(rdns, max_size=4).map(tuple))


@given(distinguished)
def test_a_name_is_read_as_it_was_written(name: DistinguishedName) -> None:
    again = DistinguishedName.parse(str(name))
    assert again.rdns == name.rdns
    assert again == name
    assert hash(again) == hash(name)


@pytest.mark.parametrize(
    ("text", "found"),
    [  # RFC 4514 §4
        ("UID=jsmith,DC=example,DC=net", ((("UID", "jsmith"),), (("DC", "example"),), (("DC", "net"),))),
        ("OU=Sales+CN=J.  Smith", ((("OU", "Sales"), ("CN", "J.  Smith")),)),
        (r"CN=James \"Jim\" Smith\, III", ((("CN", 'James "Jim" Smith, III'),),)),
        (r"CN=Before\0dAfter", ((("CN", "Before\rAfter"),),)),
        ("1.3.6.1.4.1.1466.0=#04024869", ((("1.3.6.1.4.1.1466.0", b"\x04\x02Hi"),),)),
        (r"CN=Lu\C4\8Di\C4\87", ((("CN", "Lučić"),),)),
        ("CN=Lučić", ((("CN", "Lučić"),),)),
        (r"CN=\ x\ ", ((("CN", " x "),),)),
        (r"CN=\#x\=y=z", ((("CN", "#x=y=z"),),)),
        (r"CN=x\\ ", ((("CN", "x\\"),),)),
        (" cn = fax 1 ; dc = lan ", ((("cn", "fax 1"),), (("dc", "lan"),))),
        ("cn=#04 , dc=lan", ((("cn", b"\x04"),), (("dc", "lan"),))),
        ("cn=", ((("cn", ""),),)),
        ("", ()),
        ("  ", ()),
    ],
)
def test_names_as_people_and_programs_write_them(text: str, found: object) -> None:
    assert DistinguishedName.parse(text).rdns == found


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("fax1", 1),
        ("cn=a,", 6),
        (",cn=a", 1),
        ("cn=a,,dc=b", 6),
        ("cn=a+", 6),
        ("=a", 1),
        ("1.=a", 1),
        ("-cn=a", 1),
        ('cn="a"', 4),
        ("cn=a<b", 5),
        ("cn=a\0", 5),
        ("cn=a\\", 5),
        (r"cn=a\x", 5),
        (r"cn=a\4", 5),
        (r"cn=\ff", 4),
        ("cn=#", 4),
        ("cn=#0", 4),
        ("cn=#zz", 4),
        ("cn=#04x", 7),
    ],
)
def test_what_is_no_name_is_refused_with_its_position(text: str, position: int) -> None:
    with pytest.raises(InvalidName, match=rf"at character {position},"):
        DistinguishedName.parse(text)


@given(st.text(alphabet='cn=ab,+;# \\"0fF.', max_size=30) | st.text(max_size=30))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        found = DistinguishedName.parse(text)
    except InvalidName:
        return
    assert DistinguishedName.parse(str(found)) == found


@pytest.mark.parametrize(
    "same",
    [
        "CN=Fax  1,OU=Chart,DC=office,DC=LAN",
        "cn= fax 1 , ou = chart, dc=office,dc=lan",
        r"cn=\66ax 1,ou=chart,dc=office,dc=lan",
        "2.5.4.3=FAX 1,organizationalUnitName=chart,domainComponent=office,dc=lan",
        "cn=ｆａｘ 1,ou=chart,dc=office,dc=lan",
    ],
)
def test_spellings_that_are_the_same(same: str) -> None:
    name = DistinguishedName.parse("cn=fax 1,ou=chart,dc=office,dc=lan")
    assert DistinguishedName.parse(same) == name
    assert len({name, DistinguishedName.parse(same)}) == 1


def test_the_order_within_a_part_of_several_makes_no_difference() -> None:
    assert DistinguishedName.parse("cn=a+sn=b") == DistinguishedName.parse("SN=B+CN=A")
    assert DistinguishedName.parse("cn=a,sn=b") != DistinguishedName.parse("sn=b,cn=a")


@pytest.mark.parametrize("other", ["cn=fax1", "sn=fax", "cn=#666178", "cn=f ax", "cn=fax+sn=b", "cn=fax,dc=lan"])
def test_names_that_differ(other: str) -> None:
    assert DistinguishedName.parse("cn=fax") != DistinguishedName.parse(other)
    assert DistinguishedName.parse("cn=fax") != "cn=fax"


def test_octets_never_equal_a_text() -> None:
    assert DistinguishedName(((("cn", b"ab"),),)) != DistinguishedName(((("cn", "6162"),),))


def test_relations() -> None:
    fax = BASE.child("cn", "fax, 1")
    assert str(fax) == r"cn=fax\, 1,ou=chart,dc=office,dc=lan"
    assert fax.rdn == (("cn", "fax, 1"),)
    assert fax.parent == BASE
    assert fax.is_within(BASE)
    assert fax.is_within(DistinguishedName.parse("DC=Office,DC=LAN"))
    assert BASE.is_within(BASE)
    assert not BASE.is_within(fax)
    assert not DistinguishedName.parse("ou=chart,dc=home,dc=lan").is_within(BASE)
    root = DistinguishedName()
    assert fax.is_within(root)
    assert (root.parent, root.rdn, str(root)) == (None, (), "")
    assert not root.is_within(BASE)


def test_length_and_depth_are_bounded() -> None:
    assert len(DistinguishedName.parse(",".join(["dc=x"] * MAX_DEPTH)).rdns) == MAX_DEPTH
    with pytest.raises(InvalidName, match="65 parts"):
        DistinguishedName.parse(",".join(["dc=x"] * (MAX_DEPTH + 1)))
    with pytest.raises(InvalidName, match="17 attributes"):
        DistinguishedName.parse("+".join(["dc=x"] * (MAX_PAIRS + 1)))
    with pytest.raises(InvalidName, match="characters"):
        DistinguishedName.parse("cn=" + "x" * MAX_TEXT)
    with pytest.raises(InvalidName, match="0 attributes"):
        DistinguishedName(((),))
    with pytest.raises(InvalidName, match="no attribute"):
        BASE.child("c n", "x")
