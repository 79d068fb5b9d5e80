"""Where tokens for a directory send terminals, and whom they tell them to trust."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from lanpost.app import token_urls
from lanpost.app.certificates import open_authority, utc_now
from lanpost.app.config import parse
from lanpost.app.directory_enrolment import DirectoryAccess, salted
from lanpost.app.registration import enrol, enrol_anew, open_terminals
from lanpost.app.settings import Settings
from lanpost.app.token_urls import directory_authority, directory_servers
from lanpost.errors import ChartUnavailable, ConfigurationError
from lanpost.model.address import MailAddress
from lanpost.store.authority import Authority

FAX = MailAddress.parse("fax1@office.lan")


def settings(folder: Path, text: str = "") -> Settings:
    return parse(f'data = "data"\n{text}', folder / "lanpost.toml")


@pytest.fixture(autouse=True)
def _two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_urls, "own_addresses", lambda: ("10.0.0.2", "2001:db8::2"))


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ('[ldap]\nlisten = ["0.0.0.0:389"]', ["ldaps://10.0.0.2:389"]),
        ('[ldap]\nlisten = ["[::]:636", "10.9.0.1:389"]', ["ldaps://[2001:db8::2]:636", "ldaps://10.9.0.1:389"]),
        (
            '[chart]\nurl = "ldap://10.0.0.5/o=x ldaps://10.0.0.6/o=x"',
            ["ldap://10.0.0.5:389", "ldaps://10.0.0.6:636"],
        ),
        (
            '[ldap]\nurls = ["ldaps://10.0.0.9"]\nlisten = ["0.0.0.0:389"]\n[chart]\nurl = "ldap://127.0.0.1/o=x"',
            ["ldaps://10.0.0.9:636"],
        ),
    ],
)
def test_servers_that_tokens_name(tmp_path: Path, text: str, urls: list[str]) -> None:
    assert [str(each) for each in directory_servers(settings(tmp_path, text))] == urls


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "set ldap.listen"),
        ('[chart]\nurl = "xml:chart.xml"', "set ldap.listen"),
        ('[ldap]\nlisten = ["0.0.0.0:0"]', "port 0"),
        ('[chart]\nurl = "ldap://127.0.0.1/o=x"', "set ldap.urls"),
        ('[chart]\nurl = "ldap://10.0.0.5/o=x"\nhost_attribute = "networkAddress"', "leave --ldap away"),
        ('[ldap]\nurls = ["ldaps://10.0.0.9/o=x"]', "nothing may follow the port"),
        ('[ldap]\nurls = ["https://10.0.0.9"]', "write ldaps://"),
        ('[chart]\nurl = "ldap://10.0.0.5/o=x"\nca_file = "nowhere.pem"', "chart.ca_file"),
    ],
)
def test_where_there_is_no_such_directory_the_remedy_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        DirectoryAccess.of(settings(tmp_path, text))


def test_the_authority_is_ours_or_the_one_that_the_chart_is_trusted_by(tmp_path: Path) -> None:
    here = settings(tmp_path, '[ldap]\nlisten = ["0.0.0.0:389"]')
    assert hashlib.sha256(directory_authority(here)).hexdigest() == open_authority(here).pin
    other = Authority.open(tmp_path / "other", utc_now())
    there = settings(tmp_path, f'[chart]\nurl = "ldap://10.0.0.5/o=x"\nca_file = "{other.ca_file}"')
    assert hashlib.sha256(directory_authority(there)).hexdigest() == other.pin
    (tmp_path / "two.pem").write_bytes(other.ca_pem + open_authority(here).ca_pem)
    with pytest.raises(ConfigurationError, match="2 certificates"):
        directory_authority(settings(tmp_path, '[chart]\nurl = "ldap://10.0.0.5/o=x"\nca_file = "two.pem"'))


async def test_a_token_for_our_own_directory_names_the_terminals_entry(tmp_path: Path) -> None:
    here = settings(tmp_path, '[ldap]\nlisten = ["10.0.0.2:389"]\nsuffix = "o=Müller"')
    token = await enrol(here, FAX, ldap=True)
    assert token.urls == ("ldaps://10.0.0.2:389/cn=fax1,ou=chart,o=M%C3%BCller",)
    assert token.pin == open_authority(here).pin
    again = await enrol_anew(here, FAX, ldap=True)
    assert (again.urls, again.authority) == (token.urls, token.authority)
    assert again.secret != token.secret


async def test_a_terminal_whose_directory_cannot_be_written_is_not_enrolled(tmp_path: Path) -> None:
    """Nobody listens there; the next try is not told that it is enrolled already."""
    here = settings(tmp_path, '[ldap]\nurls = ["ldaps://10.0.0.5"]\n[chart]\nurl = "ldap://127.0.0.1:9/o=x"')
    for _ in range(2):
        with pytest.raises(ChartUnavailable):
            await enrol(here, FAX, ldap=True)
    async with open_terminals(here) as terminals:
        assert [state async for state in terminals.states()] == []


def test_what_a_directory_keeps_of_a_secret_is_salted() -> None:
    first, second = salted("secret"), salted("secret")
    assert first != second
    octets = base64.b64decode(first.removeprefix(b"{SSHA}"))
    assert hashlib.sha1(b"secret" + octets[20:], usedforsecurity=False).digest() == octets[:20]
