"""The watch over a chart that others write: nothing shared stays, whether it was written before or meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lanpost.app.handover_watch import watching_handovers
from lanpost.app.threaded_chart import ThreadedChart
from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.endpoint import Endpoint
from lanpost.store.chart_sqlite import SqliteChart

NOW = datetime.now(UTC)


def bound(name: str, minutes_ago: int) -> Binding:
    address = MailAddress.parse(name, "office.lan")
    updated = NOW - timedelta(minutes=minutes_ago)
    return Binding(address, Endpoint("10.0.0.7"), updated, NOW + timedelta(hours=1), Source.AGENT, address.key)


async def until_unbound(chart: ThreadedChart, name: str) -> None:
    address = bound(name, 1).address
    async with asyncio.timeout(10):
        while (entry := await chart.look_up(address)) and entry.binding:  # noqa: ASYNC110 - another task's doing
            await asyncio.sleep(0.005)
    assert entry  # still a terminal


async def test_what_was_written_before_and_what_another_writes_meanwhile(tmp_path: Path) -> None:
    ours, theirs = (ThreadedChart(SqliteChart(tmp_path / "chart.sqlite3")) for _ in range(2))
    await theirs.bind_many([bound("a", 3), bound("b", 2)])
    async with watching_handovers(ours, lambda: datetime.now(UTC)):
        await until_unbound(ours, "a")
        await theirs.bind(bound("c", 1))
        await until_unbound(ours, "b")
        entry = await ours.look_up(bound("c", 1).address)
        assert entry
        assert entry.binding == bound("c", 1)
    await ours.close()
    await theirs.close()


async def test_it_goes_on_after_the_chart_could_not_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanpost.app.handover_watch.LOOK_SECONDS", 0.01)
    chart = ThreadedChart(SqliteChart(tmp_path / "chart.sqlite3"))
    bound_to, failures = chart.bound_to, 0

    async def fail_twice(endpoint: Endpoint) -> object:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise ChartUnavailable("away")
        return await bound_to(endpoint)

    monkeypatch.setattr(chart, "bound_to", fail_twice)
    await chart.bind_many([bound("a", 3), bound("b", 2)])
    async with watching_handovers(chart, lambda: datetime.now(UTC)):
        await until_unbound(chart, "a")
    assert failures == 2
    await chart.close()
