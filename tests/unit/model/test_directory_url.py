"""The URL of a terminal's entry in a directory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import InvalidValue
from lanpost.model.directory_url import DirectoryUrl
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.model.endpoint import Endpoint

ENTRY = "cn=fax1,ou=chart,dc=office,dc=lan"
SERVER = DirectoryUrl(True, Endpoint("10.0.0.5", 636))


@pytest.mark.parametrize(
    ("url", "server", "is_secure", "starts_tls"),
    [
        (f"ldaps://10.0.0.5:636/{ENTRY}", Endpoint("10.0.0.5", 636), True, False),
        (f"ldaps://10.0.0.5/{ENTRY}", Endpoint("10.0.0.5", 636), True, False),
        (f"ldap://[2001:db8::5]/{ENTRY}", Endpoint("2001:db8::5", 389), False, True),
        (f"LDAP://10.0.0.5:3389/{ENTRY}", Endpoint("10.0.0.5", 3389), False, True),
        (f"ldap://127.0.0.1/{ENTRY}", Endpoint("127.0.0.1", 389), False, False),
        (f"ldap://[::1]/{ENTRY}", Endpoint("::1", 389), False, False),
    ],
)
def test_server_and_entry_are_read(url: str, server: Endpoint, is_secure: bool, starts_tls: bool) -> None:
    found = DirectoryUrl.parse(url)
    assert (found.server, found.entry, found.is_secure, found.starts_tls) == (server, ENTRY, is_secure, starts_tls)
    assert DirectoryUrl.parse(str(found)) == found


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_any_entry_survives_being_written_into_a_url(name: str, above: str) -> None:
    entry = str(DistinguishedName.parse("o=lan").child("ou", above).child("cn", name))
    url = str(SERVER.of(entry))
    assert url.isascii()
    assert url.isprintable()
    assert DirectoryUrl.parse(url) == SERVER.of(entry)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ldaps://10.0.0.5:636", "names no entry"),
        ("ldaps://10.0.0.5:636/", "names no entry"),
        (f"ldaps://mail.office.lan/{ENTRY}", "host names are not looked up"),
        (f"ldaps:///{ENTRY}", "host names are not looked up"),
        (f"ldaps://10.0.0.5:99999/{ENTRY}", "an IP address, a port"),
        (f"ldaps://10.0.0.5:0/{ENTRY}", "an IP address, a port"),
        (f"ldaps://anna:secret@10.0.0.5/{ENTRY}", "an IP address, a port"),
        (f"ldapi://10.0.0.5/{ENTRY}", "write ldaps://"),
        (f"ldaps://10.0.0.5/{ENTRY}?mail", "nothing may follow the entry"),
        (f"ldaps://10.0.0.5/{ENTRY}#x", "nothing may follow the entry"),
        ("ldaps://10.0.0.5/cn", "not a distinguished name"),
        ("ldaps://10.0.0.5/cn=%ff", "not UTF-8"),
        (f"ldaps://[fe80::5]/{ENTRY}", "one link only"),
    ],
)
def test_what_is_no_such_url_is_refused_with_the_remedy(url: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        DirectoryUrl.parse(url)


def test_a_server_alone_has_no_entry() -> None:
    assert DirectoryUrl.parse_server("ldaps://10.0.0.5") == SERVER
    assert str(SERVER) == "ldaps://10.0.0.5:636"
    with pytest.raises(InvalidValue, match="nothing may follow the port"):
        DirectoryUrl.parse_server(f"ldaps://10.0.0.5/{ENTRY}")


@given(
    st.text()
    | st.text().map(lambda rest: "ldaps://" + rest)
    | st.text().map(lambda rest: f"ldap://10.0.0.5/{rest}")
)
def test_any_text_is_such_a_url_or_an_invalid_value(text: str) -> None:
    try:
        found = DirectoryUrl.parse(text)
    except InvalidValue:
        return
    assert DirectoryUrl.parse(str(found)) == found
