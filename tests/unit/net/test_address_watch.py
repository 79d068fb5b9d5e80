"""The watch for systems without rtnetlink: it looks, every few seconds, and sends nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lanpost.net import address_watch, netlink
from lanpost.net.address_watch import HookedWatch, PollWatch, open_watch, source_towards
from lanpost.net.netlink import Change, NetlinkWatch


def test_the_source_towards_a_server_is_the_address_that_reaches_it() -> None:
    assert source_towards("127.0.0.1") == "127.0.0.1"
    assert source_towards("::1") in ("::1", "")  # "" on a machine without IPv6


def test_a_name_is_not_looked_up_but_has_no_source() -> None:
    assert source_towards("mail.office.lan") == ""


async def test_it_tells_once_at_the_beginning_and_then_of_changes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = iter(["", "10.0.0.7", "10.0.0.7", "10.0.0.8"])
    monkeypatch.setattr(address_watch, "source_towards", lambda _: next(sources, "10.0.0.8"))
    told: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    watch = PollWatch(lambda _: told.put_nowait(watch.addresses), ["10.0.0.1"], seconds=0.001)
    async with asyncio.timeout(5):
        assert [await told.get() for _ in range(3)] == [set(), {"10.0.0.7"}, {"10.0.0.8"}]
    watch.close()
    watch.close()


async def test_without_rtnetlink_it_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "IS_AVAILABLE", False)
    watch = open_watch(lambda _: None, ["127.0.0.1"])
    assert isinstance(watch, PollWatch)
    watch.close()


@pytest.mark.skipif(not netlink.IS_AVAILABLE, reason="not Linux")
async def test_with_rtnetlink_the_kernel_tells_what_there_is() -> None:
    told: asyncio.Queue[Change] = asyncio.Queue()
    watch = open_watch(told.put_nowait, ["127.0.0.1"])
    assert isinstance(watch, NetlinkWatch)
    async with asyncio.timeout(5):
        assert await told.get() is Change.ADDRESSES
    assert "127.0.0.1" not in watch.addresses
    watch.close()
    watch.close()


async def test_a_watch_that_goes_by_hooks_alone_looks_when_told_and_a_few_times_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(address_watch, "FURTHER_LOOKS", (0.001,) * 3)
    sources = ["10.0.0.7"]
    monkeypatch.setattr(address_watch, "source_towards", lambda _: sources[0])
    told: asyncio.Queue[Change] = asyncio.Queue()
    hook = tmp_path / "hook"
    watch = open_watch(told.put_nowait, ["10.0.0.1"], hook, only_hook=True)
    async with asyncio.timeout(5):
        assert await told.get() is Change.ADDRESSES
        sources[0] = "10.0.0.8"
        hook.write_text("look")
        assert await told.get() is Change.ADDRESSES
    assert watch.addresses == {"10.0.0.8"}
    watch.close()


class CountingWatch:
    """A watch that counts how often it was told to look."""

    addresses = frozenset({"10.0.0.7"})

    def __init__(self) -> None:
        self.looks: list[float] = []
        self.looked = asyncio.Event()

    def look(self) -> None:
        self.looks.append(asyncio.get_running_loop().time())
        self.looked.set()

    def close(self) -> None:
        pass


async def test_hooks_that_call_without_end_are_heard_a_few_times_a_second_and_the_last_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address_watch, "HOOK_PAUSE", 0.05)
    inner = CountingWatch()
    watch = HookedWatch(inner, tmp_path / "hook")
    for _ in range(1000):
        watch.look()
    assert len(inner.looks) == 1
    inner.looked.clear()
    async with asyncio.timeout(5):
        await inner.looked.wait()
    assert len(inner.looks) == 2
    assert inner.looks[1] - inner.looks[0] >= 0.049
    watch.close()


async def test_a_link_that_came_up_between_two_looks_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = tmp_path / "lan0" / "carrier_up_count"
    count.parent.mkdir()
    count.write_text("1\n")
    monkeypatch.setattr(address_watch, "LINKS", tmp_path)
    told: asyncio.Queue[Change] = asyncio.Queue()
    watch = PollWatch(told.put_nowait, ["127.0.0.1"], seconds=None)
    async with asyncio.timeout(5):
        assert await told.get() is Change.ADDRESSES
    watch.look()
    assert told.empty()
    count.write_text("2\n")
    watch.look()
    assert told.get_nowait() is Change.LINK_UP
    assert told.empty()
    watch.close()
