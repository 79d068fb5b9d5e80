"""The enrolment token survives a careless paste, and says so when it did not."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.token import MAX_TOKEN, PREFIX, EnrolmentToken

TOKEN = EnrolmentToken(
    ("https://10.0.0.2:8025", "https://[2001:db8::2]:8025"),
    "0123456789abcdef" * 4,
    MailAddress.parse("fax1@office.lan"),
    "k3_Secret-of-the-terminal.~+/x==",
)

AUTHORITY = b"a CA certificate, in DER"
PIN = hashlib.sha256(AUTHORITY).hexdigest()
LDAP = "ldaps://10.0.0.5:636/cn=fax1,ou=chart,dc=office,dc=lan"


def sealed(body: bytes) -> str:
    """A token with a right checksum and any content at all."""
    text = PREFIX + base64.urlsafe_b64encode(body).decode().rstrip("=")
    return f"{text}.{base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:6]).decode()}"


def fields(**changed: Any) -> str:
    whole = {
        "urls": list(TOKEN.urls),
        "pin": TOKEN.pin,
        "address": str(TOKEN.address),
        "secret": TOKEN.secret,
    }
    return sealed(json.dumps({**whole, **changed}).encode())


def test_a_token_is_one_ascii_word_and_reads_back_the_same() -> None:
    text = TOKEN.encode()
    assert text.isascii()
    assert text.split() == [text]
    assert text.startswith("lanpost1.")
    assert EnrolmentToken.decode(text) == TOKEN


def test_spaces_and_line_breaks_of_a_paste_do_not_matter() -> None:
    text = TOKEN.encode()
    assert EnrolmentToken.decode(f"  {text[:70]}\r\n  {text[70:]}\n") == TOKEN


def test_the_secret_does_not_show_in_a_log() -> None:
    assert TOKEN.secret not in repr(TOKEN)


@pytest.mark.parametrize("cut", range(1, len(TOKEN.encode()) - len(PREFIX) + 1))
def test_a_cut_paste_is_named_as_such(cut: int) -> None:
    with pytest.raises(InvalidValue, match=r"cut short or altered.*paste it again"):
        EnrolmentToken.decode(TOKEN.encode()[:-cut])


@given(position=st.integers(len(PREFIX), len(TOKEN.encode()) - 1), char=st.characters())
def test_one_altered_character_is_found(position: int, char: str) -> None:
    text = TOKEN.encode()
    altered = text[:position] + char + text[position + 1 :]
    if "".join(altered.split()) != text:
        with pytest.raises(InvalidValue):
            EnrolmentToken.decode(altered)


def test_a_later_version_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"version 2.*install"):
        EnrolmentToken.decode("lanpost2.anything")


@pytest.mark.parametrize(
    "text", ["", "fax1", "lanpost agent enrol", "eyJhbGciOiJIUzI1NiJ9.e30.x", "x" * (MAX_TOKEN + 1)]
)
def test_other_texts_are_not_tokens(text: str) -> None:
    with pytest.raises(InvalidValue):
        EnrolmentToken.decode(text)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"urls": []}, "1 to 32 URLs"),
        ({"urls": ["https://10.0.0.2:8025"] * 33}, "1 to 32 URLs"),
        ({"urls": "https://10.0.0.2:8025"}, "does not hold"),
        ({"urls": ["https://mail.office.lan:8025"]}, "host names are not looked up"),
        ({"urls": ["http://10.0.0.2:8025"]}, "write https://"),
        ({"urls": ["ftp://10.0.0.2:8025"]}, "write https://"),
        ({"urls": ["https://u:p@10.0.0.2:8025"]}, "write https://"),
        ({"urls": ["https://10.0.0.2:99999"]}, "an IP address and a port"),
        ({"urls": ["https://10.0.0.2:8025/v1"]}, "nothing may follow"),
        ({"pin": "ab"}, "pin"),
        ({"pin": 7}, "does not hold"),
        ({"address": "no one@office.lan"}, "mail address"),
        ({"address": "fax1"}, "no default domain"),
        ({"secret": "two words"}, "secret"),
        ({"secret": "x\r\nX-Evil: 1"}, "secret"),
        ({"secret": None}, "does not hold"),
    ],
)
def test_wrong_contents_are_refused_with_a_reason(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        EnrolmentToken.decode(fields(**changed))


def test_plain_http_is_for_loopback() -> None:
    assert EnrolmentToken.decode(fields(urls=["http://127.0.0.1:8025", "http://[::1]:8025"])).urls[0]


@given(st.text() | st.text().map(lambda rest: PREFIX + rest) | st.binary().map(sealed))
def test_any_text_is_a_token_or_an_invalid_value(text: str) -> None:
    try:
        token = EnrolmentToken.decode(text)
    except InvalidValue:
        return
    assert EnrolmentToken.decode(token.encode()) == token


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_is_a_token_or_an_invalid_value(value: Any) -> None:
    with pytest.raises(InvalidValue):
        EnrolmentToken.decode(sealed(json.dumps(value).encode()))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(InvalidValue):
        EnrolmentToken.decode(sealed(b"[" * 5000))


@pytest.mark.parametrize("urls", [(LDAP,), ("https://10.0.0.2:8025", LDAP), (LDAP.replace("ldaps", "ldap"),)])
def test_a_token_for_a_directory_brings_the_authority_to_trust(urls: tuple[str, ...]) -> None:
    token = EnrolmentToken(urls, PIN, TOKEN.address, TOKEN.secret, AUTHORITY)
    assert EnrolmentToken.decode(token.encode()) == token


def test_a_token_for_a_directory_on_loopback_needs_none() -> None:
    url = "ldap://127.0.0.1:389/cn=fax1,ou=chart,o=lan"
    assert EnrolmentToken.decode(fields(urls=[url])).authority == b""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"urls": [LDAP]}, "holds the CA certificate"),
        ({"urls": [LDAP.replace("ldaps", "ldap")]}, "holds the CA certificate"),
        ({"urls": [LDAP], "ca": base64.b64encode(AUTHORITY).decode()}, "not the one that its pin names"),
        ({"urls": [LDAP], "pin": PIN, "ca": "%%%"}, "does not hold"),
        ({"urls": [LDAP], "pin": PIN, "ca": 7}, "does not hold"),
        ({"urls": ["ldaps://10.0.0.5"], "pin": PIN, "ca": base64.b64encode(AUTHORITY).decode()}, "names no entry"),
        ({"urls": ["ldaps://dir.office.lan/o=x"]}, "host names are not looked up"),
    ],
)
def test_wrong_contents_for_a_directory_are_refused_with_a_reason(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        EnrolmentToken.decode(fields(**changed))
