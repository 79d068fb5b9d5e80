"""Filters as people and programs write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ldap_values import filters

from lanpost.errors import InvalidFilter
from lanpost.wire.ldap_filter import (
    MAX_DEPTH,
    MAX_ITEMS,
    And,
    Equals,
    Extensible,
    Filter,
    GreaterOrEqual,
    Not,
    Or,
    Present,
    Substrings,
)
from lanpost.wire.ldap_filter_text import MAX_TEXT, escape_value, filter_text, parse_filter


@given(filters)
def test_a_filter_is_read_as_it_was_written(filter_: Filter) -> None:
    text = filter_text(filter_)
    assert text.isascii()
    assert text.isprintable()
    assert parse_filter(text) == filter_


@pytest.mark.parametrize(
    ("text", "filter_"),
    [  # RFC 4515 §4, and what address books ask
        ("(cn=Babs Jensen)", Equals("cn", b"Babs Jensen")),
        ("(!(cn=Tim Howes))", Not(Equals("cn", b"Tim Howes"))),
        (
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
            And(
                (
                    Equals("objectClass", b"Person"),
                    Or((Equals("sn", b"Jensen"), Substrings("cn", b"Babs J", (), b""))),
                )
            ),
        ),
        ("(o=univ*of*mich*)", Substrings("o", b"univ", (b"of", b"mich"), b"")),
        ("(seeAlso=)", Equals("seeAlso", b"")),
        ("(cn:caseExactMatch:=Fred Flintstone)", Extensible("cn", "caseExactMatch", b"Fred Flintstone", False)),
        ("(cn:=Betty Rubble)", Extensible("cn", "", b"Betty Rubble", False)),
        ("(sn:dn:2.4.6.8.10:=Barney Rubble)", Extensible("sn", "2.4.6.8.10", b"Barney Rubble", True)),
        ("(o:dn:=Ace Industry)", Extensible("o", "", b"Ace Industry", True)),
        ("(:1.2.3:=Wilma Flintstone)", Extensible("", "1.2.3", b"Wilma Flintstone", False)),
        ("(:DN:2.4.6.8.10:=Dino)", Extensible("", "2.4.6.8.10", b"Dino", True)),
        (
            r"(o=Parens R Us \28for all your parenthetical needs\29)",
            Equals("o", b"Parens R Us (for all your parenthetical needs)"),
        ),
        (r"(cn=*\2A*)", Substrings("cn", b"", (b"*",), b"")),
        (r"(filename=C:\5cMyFile)", Equals("filename", b"C:\\MyFile")),
        (r"(bin=\00\00\00\04)", Equals("bin", b"\0\0\0\4")),
        (r"(sn=Lu\c4\8di\c4\87)", Equals("sn", "Lučić".encode())),
        ("(sn=Lučić)", Equals("sn", "Lučić".encode())),
        (r"(1.3.6.1.4.1.1466.0=\04\02\48\69)", Equals("1.3.6.1.4.1.1466.0", b"\4\2Hi")),
        ("(&)", And(())),
        ("(|)", Or(())),
        ("(&(mail=*)(cn=fa*))", And((Present("mail"), Substrings("cn", b"fa", (), b"")))),
        ("(cn=a=b)", Equals("cn", b"a=b")),
        ("(cn;lang-de>=m)", GreaterOrEqual("cn;lang-de", b"m")),
        (" ( & (a=1) (b= 2) ) ", And((Equals("a", b"1"), Equals("b", b" 2")))),
    ],
)
def test_what_the_standard_shows(text: str, filter_: Filter) -> None:
    assert parse_filter(text) == filter_


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("cn=x", 1),
        ("(cn=x", 6),
        ("(cn=x))", 7),
        ("(cn)", 2),
        ("(=x)", 2),
        ("(:=x)", 2),
        ("(cn=a**b)", 5),
        ("(cn=**)", 5),
        ("(cn>=a*)", 7),
        (r"(cn=a\2)", 5),
        (r"(cn=a\zz)", 5),
        ("(cn=a\0)", 6),
        ("(c n=a)", 2),
        ("(!(a=b)(c=d))", 8),
        ("(&(a=b)", 8),
        ("(cn=\ud800)", 5),
    ],
)
def test_what_is_no_filter_is_refused_with_its_position(text: str, position: int) -> None:
    with pytest.raises(InvalidFilter, match=rf"at character {position},"):
        parse_filter(text)


@given(st.text(alphabet="()&|!=*:<>~\\ab0;. ", max_size=40) | st.text(max_size=40))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        found = parse_filter(text)
    except InvalidFilter:
        return
    assert parse_filter(filter_text(found)) == found


def test_depth_and_size_are_bounded() -> None:
    deepest = "(!" * (MAX_DEPTH - 1) + "(a=b)" + ")" * (MAX_DEPTH - 1)
    assert filter_text(parse_filter(deepest)) == deepest
    with pytest.raises(InvalidFilter, match="deeper than 16"):
        parse_filter(f"(&{deepest})")
    with pytest.raises(InvalidFilter, match="deeper than 16"):
        parse_filter("(!" * 10_000)
    largest = f"(|{'(a=b)' * MAX_ITEMS})"
    assert filter_text(parse_filter(largest)) == largest
    with pytest.raises(InvalidFilter, match="256 items"):
        parse_filter(f"(&{largest}(a=b))")
    with pytest.raises(InvalidFilter, match="65537 characters"):
        parse_filter("(" * (MAX_TEXT + 1))


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("fax1@office.lan", "fax1@office.lan"),
        ("*)(uid=*", r"\2a\29\28uid=\2a"),
        (b"\0\\\xff\n", r"\00\5c\ff\0a"),
        ("ü", r"\c3\bc"),
    ],
)
def test_a_value_cannot_be_more_than_a_value(value: bytes | str, escaped: str) -> None:
    assert escape_value(value) == escaped


@given(st.binary(max_size=30))
def test_any_value_is_read_as_it_was_escaped(value: bytes) -> None:
    assert parse_filter(f"(cn={escape_value(value)})") == Equals("cn", value)
