"""Searching for a registrar: real lease files, and real multicast DNS on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from lanpost.app import advertisement, discovery
from lanpost.app.advertisement import Advertisement
from lanpost.app.discovery import Discovery, at_directory
from lanpost.app.settings import Agent
from lanpost.errors import DiscoveryUnavailable
from lanpost.model.discovery import POP3_TYPE, REGISTRAR_TYPE, Found, FoundBy
from lanpost.net import service_advertiser
from lanpost.net.service_browser import Instance, browse

PIN = "0123456789abcdef" * 4
LOOPBACK = "127.0.0.1"


def lease(folder: Path, name: str, address: str, smtp: str = "", ldap: str = "") -> None:
    packed = bytes(map(int, smtp.split("."))).hex() if smtp else ""
    (folder / f"{name}.lease").write_text(f"address={address}\n69={packed}\n95={ldap.encode().hex()}\n")


def searching(folder: Path, *ways: str) -> Discovery:
    return Discovery(Agent(discover=ways, lease_files=(f"{folder}/*.lease",)))


async def found(search: Discovery, *addresses: str, directories: bool = False) -> list[list[str]]:
    return [[each.url for each in group] async for group in search.search(addresses, directories=directories)]


async def test_only_leases_of_addresses_that_are_ours_now_are_looked_at(tmp_path: Path) -> None:
    lease(tmp_path, "yesterday", "192.168.1.7", "192.168.1.1")
    lease(tmp_path, "today", "10.0.0.7", "10.0.0.1")
    assert await found(searching(tmp_path, "dhcp"), "10.0.0.7") == [["https://10.0.0.1:8025"]]
    assert await found(searching(tmp_path, "dhcp"), "10.0.0.8") == []
    assert await found(searching(tmp_path), "10.0.0.7") == []
    assert await found(searching(tmp_path, "dhcp", "dns-sd")) == []  # without an address there is no link


@pytest.mark.parametrize(
    ("ldap", "urls"),
    [
        ("ldap://10.0.0.5/ou=chart,o=lan", ["https://10.0.0.5:8025", "ldap://10.0.0.5:389"]),
        ("ldaps://10.0.0.5", ["https://10.0.0.5:8025", "ldaps://10.0.0.5:636"]),
        ("https://10.0.0.5:9025", ["https://10.0.0.5:9025"]),
        ("ldap://directory.office.lan/o=lan", []),
        ("ldap://127.0.0.1/o=lan", []),
        ("http://10.0.0.5:8025", []),
        ("https://10.0.0.5/elsewhere?x", []),
        ("ldap://10.0.0.5:0/", []),
        ("ldap://me@10.0.0.5/", []),
        ("ldap://[/", []),
    ],
)
async def test_option_95_is_a_url_with_an_ip_address_or_nothing(
    tmp_path: Path, ldap: str, urls: Sequence[str]
) -> None:
    lease(tmp_path, "today", "10.0.0.7", ldap=ldap)
    expected = [list(urls)] if urls else []
    assert await found(searching(tmp_path, "dhcp"), "10.0.0.7", directories=True) == expected


async def test_what_is_nearest_comes_first(tmp_path: Path) -> None:
    lease(tmp_path, "a", "10.0.0.7", "172.17.0.1")
    lease(tmp_path, "b", "10.0.0.7", "10.0.0.1")
    ((first, second),) = await found(searching(tmp_path, "dhcp"), "10.0.0.7")
    assert (first, second) == ("https://10.0.0.1:8025", "https://172.17.0.1:8025")


async def test_dhcp_comes_before_the_link_and_is_looked_at_again_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def browsing(*_: object) -> list[Instance]:
        lease(tmp_path, "today", "10.0.0.7", "10.0.0.1")  # a client that has written late
        return [Instance(REGISTRAR_TYPE, ("10.0.0.2",), 8025, {})]

    monkeypatch.setattr(discovery, "browse", browsing)
    search = searching(tmp_path, "dhcp", "dns-sd")
    expected = [["https://10.0.0.1:8025"], ["https://10.0.0.2:8025"]]
    assert await found(search, "10.0.0.7") == expected
    assert await found(search, "10.0.0.7") == expected


async def test_that_there_is_no_multicast_is_told_once_and_finds_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search = searching(tmp_path, "dns-sd")
    for _ in range(2):
        assert await found(search, "192.0.2.7") == []
    assert len([record for record in caplog.records if "cannot look" in record.getMessage()]) == 1


def test_a_terminal_of_a_directory_asks_for_its_own_entry_wherever_one_was_found() -> None:
    own = ("https://10.0.0.2:8025", "ldaps://10.0.0.5:636/cn=fax1,ou=chart,o=lan")
    assert list(at_directory(own, "ldap://10.0.0.9:390")) == ["ldaps://10.0.0.9:390/cn=fax1,ou=chart,o=lan"]
    assert list(at_directory(own[:1], "ldap://10.0.0.9:390")) == []
    assert list(at_directory(own, "https://10.0.0.9:8025")) == ["https://10.0.0.9:8025"]


async def shown(pin: str) -> Found | None:
    """What a search on the loopback finds of the server with that pin; other tests may have theirs there."""
    found = await browse([REGISTRAR_TYPE], [LOOPBACK])
    ports = [each.port for each in found if each.text.get("pin") == pin]
    return Found(f"https://{LOOPBACK}:{ports[0]}", FoundBy.DNS_SD, pin) if ports else None


async def test_a_server_tells_of_itself_where_it_is_reached_and_follows_its_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own: list[str] = [LOOPBACK]
    moves = asyncio.Queue[None]()
    monkeypatch.setattr(advertisement, "own_addresses", lambda: tuple(own))
    monkeypatch.setattr(advertisement, "SETTLE_SECONDS", 0.01)

    async def moved() -> None:
        moves.put_nowait(None)

    listening = {"http": [("0.0.0.0", 18025)], "pop3": [("0.0.0.0", 110)], "smtp": [("0.0.0.0", 25)]}
    telling = Advertisement("post.office.lan", "office.lan", PIN, listening, moved)
    task = asyncio.ensure_future(telling.run())
    try:
        async with asyncio.timeout(20):
            while await shown(PIN) is None:
                pass
            assert moves.empty()
            own.clear()
            telling._changed.set()
            await moves.get()
            while await shown(PIN) is not None:  # it has said goodbye
                pass
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_server_without_multicast_runs_on_and_tells_it_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = asyncio.Semaphore(0)

    async def missing() -> None:
        asked.release()
        raise DiscoveryUnavailable("no library here")

    monkeypatch.setattr(service_advertiser, "load_library", missing)
    monkeypatch.setattr(advertisement, "own_addresses", lambda: ("10.0.0.2",))
    monkeypatch.setattr(advertisement, "LOOK_SECONDS", 0.01)

    async def moved() -> None:
        pytest.fail("nothing has moved")

    telling = Advertisement("post", "office.lan", PIN, {"http": [("0.0.0.0", 8025)]}, moved)
    task = asyncio.ensure_future(telling.run())
    async with asyncio.timeout(10):
        for _ in range(3):
            await asked.acquire()
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert capsys.readouterr().out.count("services not advertised") == 1


@pytest.mark.parametrize(
    ("host", "own", "reached"),
    [
        ("0.0.0.0", ("10.0.0.2", "fd00::2"), ("10.0.0.2",)),
        ("::", ("10.0.0.2", "fd00::2"), ("fd00::2",)),
        ("10.0.0.2", ("10.0.0.2", "10.1.0.2"), ("10.0.0.2",)),
        ("127.0.0.1", ("10.0.0.2",), ()),
    ],
)
def test_only_addresses_where_the_registrar_listens_are_told(
    host: str, own: Sequence[str], reached: Sequence[str]
) -> None:
    assert advertisement.reached({"http": [(host, 8025)]}, own) == reached


def test_only_services_that_are_reached_there_are_told_each_once() -> None:
    listening = {
        "http": [("10.0.0.2", 8025)],
        "pop3": [("127.0.0.1", 110), ("0.0.0.0", 1110)],
        "ldap": [("127.0.0.1", 389)],
        "submission": [],
        "smtp": [("0.0.0.0", 25)],
    }
    services = advertisement.services_at(listening, ["10.0.0.2"], {"pin": PIN})
    assert [(each.type, each.port, dict(each.text)) for each in services] == [
        (REGISTRAR_TYPE, 8025, {"pin": PIN}),
        (POP3_TYPE, 1110, {}),
    ]
