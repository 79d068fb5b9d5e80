from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lanpost.errors import InvalidAddress
from lanpost.model import address
from lanpost.model.address import MailAddress


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("fax1", "fax1@office.lan"),
        ("Fax1@Office.LAN", "fax1@office.lan"),
        ('"john doe"@x.lan', "john doe@x.lan"),
        ('"fax1"@x.lan', "fax1@x.lan"),
        ("FAX=+12027653000/T33S=1387@gw", "fax=+12027653000/t33s=1387@gw"),
        ("É@exämple.lan", "é@exämple.lan"),
        ("e\u0301@x.lan", "é@x.lan"),  # decomposed and composed are one address
        ("Ｆａｘ１@x.lan", "fax1@x.lan"),  # full width, from a Japanese keyboard
        ("a@xn--exmple-cua.lan", "a@exämple.lan"),
        ("a@[10.0.0.7]", "a@[10.0.0.7]"),
        ("a@[IPv6:2001:DB8::0:7]", "a@[2001:db8::7]"),
    ],
)
def test_one_address_has_one_key_however_it_is_spelt(text: str, key: str) -> None:
    assert MailAddress.parse(text, "office.lan").key == key


@pytest.mark.parametrize(
    "text",
    ["", "@", "a@", "@b", "a..b@c", ".a@c", "a b@c", "a@b.", "a@-b", "a@[10.0.0]", "a@[::1]", "a@[IPv6:10.0.0.1]",
     '"a@b', '"a\x01"@b', "a@b c", "x" * 65 + "@b", "a@" + "b" * 256, "a@xn--\u00e9", "a\u0000@b",
     "a\u200b\u00a0@b"],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidAddress):
        MailAddress.parse(text, "office.lan")


def test_a_bare_name_needs_a_default_domain() -> None:
    with pytest.raises(InvalidAddress, match="no default domain"):
        MailAddress.parse("fax1")


def test_quotes_come_back_where_they_are_needed() -> None:
    assert str(MailAddress.parse(r'"a\"b c"@x')) == r'"a\"b c"@x'
    assert str(MailAddress.parse('"plain"@x')) == "plain@x"


def test_two_spellings_are_equal_and_hash_alike() -> None:
    assert len({MailAddress.parse("Fax1@X.lan"), MailAddress.parse("fax1@x.LAN")}) == 1


@given(st.text(max_size=90))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = MailAddress.parse(text, "office.lan")
    except InvalidAddress:
        return
    assert MailAddress.parse(str(address), "office.lan") == address


@given(st.text("aZ0.-_@x\n é[", max_size=24) | st.from_regex(r"[a-zA-Z.-]{1,70}@[xXn.-]{1,9}[a-z-]{0,260}\Z"))
@example("a@xn--x")
@example("A.b-C_d@Office.lan")
def test_the_short_way_for_plain_addresses_leads_to_the_same(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(address, "_PLAIN", re.compile(r"(?!)"))
        expected = read(text)
    assert read(text) == expected


def read(text: str) -> tuple[str, str, str] | None:
    try:
        found = address._parse.__wrapped__(text, "office.lan")
    except InvalidAddress:
        return None
    return found.local, found.domain, found.key
