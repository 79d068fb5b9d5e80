"""What of the settings reaches tokens, certificates and the registrar's rules."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from lanpost.app import certificates, token_urls
from lanpost.app.certificates import Certificates, names_of, utc_now
from lanpost.app.config import parse
from lanpost.app.registration import enrol, enrol_anew, open_terminals, rules_of
from lanpost.app.settings import Settings
from lanpost.app.token_urls import registrar_urls
from lanpost.errors import ConfigurationError, RegistrationRefused
from lanpost.model.address import MailAddress
from lanpost.store.authority import CA_LIFETIME

FAX = MailAddress.parse("fax1@office.lan")


def settings(folder: Path, text: str = "") -> Settings:
    return parse(f'data = "data"\n{text}', folder / "lanpost.toml")


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (token_urls, certificates):
        monkeypatch.setattr(module, "own_addresses", lambda: ("10.0.0.2", "10.1.0.2", "2001:db8::2"))


@pytest.mark.usefixtures("two_addresses")
@pytest.mark.parametrize(
    ("http", "urls"),
    [
        ("", ("https://10.0.0.2:8025", "https://10.1.0.2:8025")),
        ('listen = ["[::]:443"]', ("https://[2001:db8::2]:443",)),
        ('listen = ["10.9.0.1:443", "[::1]:444"]', ("https://10.9.0.1:443", "https://[::1]:444")),
        ('urls = ["https://10.0.0.5:1"]', ("https://10.0.0.5:1",)),
    ],
)
def test_urls_that_tokens_name(tmp_path: Path, http: str, urls: tuple[str, ...]) -> None:
    assert registrar_urls(settings(tmp_path, f"[http]\n{http}")) == urls


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ('urls = "https://10.0.0.2:8025"', "a list in brackets"),
        ('urls = ["https://mail.office.lan:8025"]', "host names are not looked up"),
        ('urls = ["http://10.0.0.2:8025"]', "write https://"),
        ('listen = ["10.0.0.2:0"]', "port 0"),
        ("listen = []", "http.urls"),
    ],
)
def test_urls_that_no_token_can_name(tmp_path: Path, http: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        registrar_urls(settings(tmp_path, f"[http]\n{http}"))


def test_without_a_network_there_is_still_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_urls, "own_addresses", tuple)
    assert registrar_urls(settings(tmp_path)) == ("https://127.0.0.1:8025",)


async def test_a_token_names_this_server_and_a_second_one_replaces_it(tmp_path: Path) -> None:
    here = settings(tmp_path, '[http]\nlisten = ["10.0.0.2:8025"]')
    token = await enrol(here, FAX, speaks_for_others=True)
    assert token.urls == ("https://10.0.0.2:8025",)
    assert token.pin == Certificates(here).authority.pin
    with pytest.raises(RegistrationRefused):
        await enrol(here, FAX)
    again = await enrol_anew(here, FAX)
    assert (again.pin, again.address) == (token.pin, FAX)
    assert again.secret != token.secret
    async with open_terminals(here) as terminals:
        assert (await terminals.state(FAX)).terminal.speaks_for_others


async def test_where_no_token_can_be_made_nobody_is_enrolled(tmp_path: Path) -> None:
    here = settings(tmp_path, "[http]\nlisten = []")
    with pytest.raises(ConfigurationError):
        await enrol(here, FAX)
    async with open_terminals(here) as terminals:
        assert [state async for state in terminals.states()] == []


def test_the_rules_are_those_of_the_settings(tmp_path: Path) -> None:
    rules = rules_of(
        settings(
            tmp_path,
            'domain = "Lab.lan"\n[registrar]\npolicy = "claim"\nnetworks = ["10.0.0.0/8"]\nlifetime = "500ms"\n'
            "[delivery]\nendpoint_ports = [25, 2525]",
        )
    )
    assert (rules.domain, rules.claim, rules.endpoint_ports) == ("lab.lan", True, (25, 2525))
    assert (rules.lifetime, rules.min_lifetime) == (timedelta(seconds=0.5), timedelta(seconds=0.5))
    assert [str(network) for network in rules.networks] == ["10.0.0.0/8"]


@pytest.mark.usefixtures("two_addresses")
def test_the_certificate_bears_every_name_of_the_server(tmp_path: Path) -> None:
    here = settings(tmp_path, 'hostname = "post.office.lan"\n[http]\nlisten = ["0.0.0.0:8025", "10.9.0.1:8025"]')
    names = names_of(here)
    assert names.hostname == "post.office.lan"
    assert set(names.hosts) == {"10.0.0.2", "10.1.0.2", "2001:db8::2", "10.9.0.1", "127.0.0.1", "::1"}


@pytest.mark.usefixtures("two_addresses")
async def test_a_running_server_renews_and_keeps_the_old_one_where_it_cannot(tmp_path: Path) -> None:
    now = [utc_now()]
    running = Certificates(settings(tmp_path), clock=lambda: now[0])
    assert not await running.renew()
    now[0] += timedelta(days=300)
    assert await running.renew()
    assert not await running.renew()
    now[0] += CA_LIFETIME
    assert not await running.renew()
