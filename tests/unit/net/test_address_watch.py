"""The watch for systems without rtnetlink: it looks, every few seconds, and sends nothing."""

from __future__ import annotations

import asyncio

import pytest

from lanpost.net import address_watch, netlink
from lanpost.net.address_watch import PollWatch, open_watch, source_towards
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
