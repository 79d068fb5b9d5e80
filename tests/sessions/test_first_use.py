"""A terminal with nothing but its name: what it claims, what it keeps before it asks, whom it believes then."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sessions.api_server import ApiServer, serving
from tests.sessions.scripted_registrar import Authority, Request, ScriptedRegistrar, make_authority

from lanpost.app import enrolment, registrar_way
from lanpost.app.discovery import Discovery
from lanpost.app.registrar_way import RegistrarWay
from lanpost.app.settings import Agent
from lanpost.errors import (
    ConfigurationError,
    RegistrarUnreachable,
    RegistrarUntrusted,
    RegistrationRefused,
    StoreError,
)
from lanpost.model.discovery import Found, FoundBy

OWN = ("10.0.0.7",)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    (tmp_path / "server").mkdir()
    async with serving(tmp_path / "server", claim=True) as server:
        yield server


class Link:
    """What a search finds, by the way it is found; a stand-in for DHCP and DNS-SD."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ways: list[Found]) -> None:
        self.ways = ways
        self.searched = 0
        monkeypatch.setattr(Discovery, "search", lambda *_, **__: self._search())

    async def _search(self) -> AsyncIterator[list[Found]]:
        for found in self.ways:
            self.searched += 1
            yield found


def terminal(folder: Path, *registrar: str, name: str = "cam1") -> RegistrarWay:
    return RegistrarWay(folder, Agent(name=name, registrar=registrar, port=2525))


def by_dhcp(url: str) -> Found:
    return Found(url, FoundBy.DHCP)


async def test_a_claim_makes_an_enrolment_that_registers_from_then_on(api: ApiServer, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{api.port}"
    way = terminal(tmp_path, url)
    registration = await way.register(OWN)
    assert (registration.address, registration.endpoint) == ("cam1@office.lan", "127.0.0.1:2525")
    assert (way.address, way.pin, way.found_by(url)) == ("cam1@office.lan", api.authority.pin, "configuration")

    again = terminal(tmp_path, name="")  # as after a restart, its name forgotten
    assert (await again.register(OWN)).address == "cam1@office.lan"
    assert (again.pin, again.found_by(url)) == (api.authority.pin, "configuration")
    assert (tmp_path / enrolment.FILE).stat().st_mode & 0o077 == 0
    assert not (tmp_path / enrolment.CLAIM_FILE).exists()


def claims(server: ScriptedRegistrar) -> list[Any]:
    return [request.body["key"] for request in server.requests if "key" in request.body]


async def test_the_key_is_on_the_disk_before_anybody_sees_it(authority: Authority, tmp_path: Path) -> None:
    kept = []

    def answer(request: Request) -> tuple[int, Any]:
        kept.append(json.loads((tmp_path / enrolment.CLAIM_FILE).read_text())["key"])
        return 201, {**server.bound(request)[1], "key": request.body["key"]}

    async with ScriptedRegistrar(authority, answer) as server:
        await terminal(tmp_path, server.url, name="fax1").register(OWN)
    assert kept == claims(server)


async def test_a_claim_whose_answer_is_lost_is_found_to_be_ours(api: ApiServer, tmp_path: Path) -> None:
    """The server has granted it and says so; we go away before we have heard that."""
    way = terminal(tmp_path, f"https://127.0.0.1:{api.port}")
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object) -> None:
            raise StoreError("no room left")

        patch.setattr(enrolment, "save", full)
        with pytest.raises(StoreError):
            await way.register(OWN)
    again = terminal(tmp_path, f"https://127.0.0.1:{api.port}")
    assert (await again.register(OWN)).address == "cam1@office.lan"
    assert (await terminal(tmp_path).register(OWN)).address == "cam1@office.lan"


async def test_an_address_that_somebody_else_has_is_a_clear_refusal_each_time(
    api: ApiServer, tmp_path: Path
) -> None:
    await api.enrol("fax1")
    for _ in range(2):
        with pytest.raises(RegistrationRefused, match="is taken") as refused:
            await terminal(tmp_path, f"https://127.0.0.1:{api.port}", name="fax1").register(OWN)
        assert "lanpost terminal add fax1" in str(refused.value)
    assert not (tmp_path / enrolment.FILE).exists()


async def test_a_server_that_gives_nothing_to_strangers_is_a_clear_refusal(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    async with serving(tmp_path / "server") as api:
        with pytest.raises(RegistrationRefused, match="lanpost terminal add cam1"):
            await terminal(tmp_path, f"https://127.0.0.1:{api.port}").register(OWN)


async def test_another_server_in_the_place_of_the_pinned_one_gets_nothing_until_it_is_forgotten(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = make_authority(tmp_path / "other")
    async with ScriptedRegistrar(authority) as server:
        await terminal(tmp_path, server.url, name="fax1").register(OWN)
    async with ScriptedRegistrar(other, port=server.port) as impostor:
        with pytest.raises(RegistrarUntrusted, match="lanpost agent forget"):
            await terminal(tmp_path, name="fax1").register(OWN)
        assert impostor.requests == []
        enrolment.forget(tmp_path)
        way = terminal(tmp_path, impostor.url, name="fax1")
        await way.register(OWN)
        assert way.pin == other.pin


async def test_the_best_way_to_find_a_server_decides_and_a_refusal_is_an_answer(
    authority: Authority, api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing: Callable[[Request], tuple[int, Any]] = lambda _: (403, {"detail": "not from there"})  # noqa: E731
    async with ScriptedRegistrar(authority, refusing) as server:
        on_link = Found(f"https://127.0.0.1:{api.port}", FoundBy.DNS_SD, api.authority.pin)
        link = Link(monkeypatch, [by_dhcp(server.url)], [on_link])
        with pytest.raises(RegistrationRefused, match="not from there"):
            await terminal(tmp_path).register(OWN)
        assert link.searched == 1
    way = terminal(tmp_path)  # what DHCP named is silent now
    assert (await way.register(OWN)).url == on_link.url
    assert way.found_by(on_link.url) == "dns-sd"


async def test_who_does_not_have_the_pin_that_was_told_is_shown_no_name(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedRegistrar(authority) as server:
        Link(monkeypatch, [Found(server.url, FoundBy.DNS_SD, "a" * 64)])
        with pytest.raises(RegistrarUnreachable, match="not who it was said to be"):
            await terminal(tmp_path).register(OWN)
        assert server.requests == []


async def test_a_terminal_with_a_whole_address_passes_servers_of_other_domains_by(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedRegistrar(authority) as server:
        Link(monkeypatch, [Found(server.url, FoundBy.DNS_SD, authority.pin, "other.lan")])
        with pytest.raises(RegistrarUnreachable, match="no server of our domain"):
            await terminal(tmp_path, name="fax1@office.lan").register(OWN)
        assert server.requests == []


async def test_a_configured_server_that_is_silent_brings_no_other_in(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedRegistrar(authority) as server:
        link = Link(monkeypatch, [by_dhcp(server.url)])
        with pytest.raises(RegistrarUnreachable):
            await terminal(tmp_path, "https://127.0.0.1:9").register(OWN)
        assert (link.searched, server.requests) == (0, [])


async def test_an_answer_for_another_address_is_not_kept(authority: Authority, tmp_path: Path) -> None:
    async with ScriptedRegistrar(authority) as server:  # which answers for fax1, whoever asks
        with pytest.raises(RegistrarUnreachable, match="answered for fax1"):
            await terminal(tmp_path, server.url, name="cam1").register(OWN)
    assert not (tmp_path / enrolment.FILE).exists()


async def test_an_enrolled_terminal_finds_its_server_elsewhere_and_remembers(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    async with (
        ScriptedRegistrar(make_authority(tmp_path / "other")) as stranger,
        ScriptedRegistrar(authority) as server,
    ):
        enrolment.save(tmp_path, enrolment.Enrolment(server.token("fax1@office.lan", "https://127.0.0.1:9")))
        link = Link(monkeypatch, [by_dhcp(stranger.url)], [Found(server.url, FoundBy.DNS_SD, authority.pin)])
        way = terminal(tmp_path, name="")
        assert (await way.register(OWN)).url == server.url
        assert way.found_by(server.url) == "dns-sd"
        assert stranger.requests == []
        assert (link.searched, len(server.requests)) == (2, 1)
        await terminal(tmp_path, name="").register(OWN)
        assert (link.searched, len(server.requests)) == (2, 2)


async def test_a_server_that_answers_that_it_is_unwell_is_not_looked_for_elsewhere(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedRegistrar(authority, lambda _: (503, {"detail": "in maintenance"})) as server:
        enrolment.save(tmp_path, enrolment.Enrolment(server.token()))
        link = Link(monkeypatch, [by_dhcp("https://127.0.0.1:9")])
        with pytest.raises(RegistrarUnreachable, match="in maintenance"):
            await terminal(tmp_path, name="").register(OWN)
        assert link.searched == 0


async def test_strangers_that_were_found_are_told_of_and_told_nothing(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = make_authority(tmp_path / "other")
    async with ScriptedRegistrar(other) as stranger:
        token = ScriptedRegistrar(authority).token("fax1@office.lan", "https://127.0.0.1:9")
        enrolment.save(tmp_path, enrolment.Enrolment(token))
        lying = Found(stranger.url, FoundBy.DNS_SD, authority.pin)
        Link(monkeypatch, [Found("https://127.0.0.1:8", FoundBy.DNS_SD, other.pin), lying])
        with pytest.raises(RegistrarUnreachable, match="told nothing") as error:
            await terminal(tmp_path, name="").register(OWN)
        assert stranger.requests == []
        assert all(url in str(error.value) for url in (stranger.url, "https://127.0.0.1:8"))


async def test_a_configured_place_comes_before_the_tokens(authority: Authority, tmp_path: Path) -> None:
    async with ScriptedRegistrar(authority) as server:
        enrolment.save(tmp_path, enrolment.Enrolment(server.token("fax1@office.lan", "https://127.0.0.1:9")))
        way = terminal(tmp_path, server.url, name="")
        assert (await way.register(OWN)).url == server.url
        assert way.found_by(server.url) == "configuration"


async def test_a_terminal_that_was_renamed_at_the_server_still_goes_by_the_name_in_its_configuration(
    authority: Authority, tmp_path: Path
) -> None:
    async with ScriptedRegistrar(authority) as server:
        await terminal(tmp_path, server.url, name="fax1").register(OWN)

        def renamed(request: Request) -> tuple[int, Any]:
            return 200, {**server.bound(request)[1], "address": "fax9@office.lan"}

        server.answer = renamed
        await terminal(tmp_path, name="fax1").register(OWN)
        for name in ("fax1", "fax9", ""):
            assert terminal(tmp_path, name=name).address == "fax9@office.lan"
        with pytest.raises(ConfigurationError):
            terminal(tmp_path, name="fax2")


async def test_a_name_that_is_not_the_enrolled_one_is_told(authority: Authority, tmp_path: Path) -> None:
    enrolment.save(tmp_path, enrolment.Enrolment(ScriptedRegistrar(authority, port=9).token()))
    for name in ("fax1", "FAX1@office.lan", ""):
        assert terminal(tmp_path, name=name).address == "fax1@office.lan"
    with pytest.raises(ConfigurationError, match="lanpost agent forget"):
        terminal(tmp_path, name="fax2")


def test_where_no_server_is_known_addresses_are_looked_for_all_the_same(tmp_path: Path) -> None:
    assert terminal(tmp_path).hosts == registrar_way.SOMEWHERE
