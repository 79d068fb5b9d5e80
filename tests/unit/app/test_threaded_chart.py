"""What the writer's thread and the watchers promise beyond the port."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

import lanpost
from lanpost.app import threaded_chart
from lanpost.app.threaded_chart import ThreadedChart
from lanpost.errors import ChartUnavailable, StoreBusy
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.endpoint import Endpoint
from lanpost.store.chart_sqlite import PAGE, SqliteChart

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def bound(text: str) -> Binding:
    return Binding(named(text), Endpoint("10.0.0.7"), NOW)


@pytest.fixture
def store(tmp_path: Path) -> SqliteChart:
    return SqliteChart(tmp_path / "chart.sqlite3")


@pytest.fixture
async def chart(store: SqliteChart) -> AsyncIterator[ThreadedChart]:
    chart = ThreadedChart(store)
    yield chart
    await chart.close()


@asynccontextmanager
async def writing(chart: ThreadedChart, store: SqliteChart) -> AsyncIterator[list[str]]:
    """The thread has taken up a first write and waits, since somebody else is writing, until the end of the block.

    Yields the statements that the thread begins.
    """
    statements: list[str] = []
    begun = threading.Event()

    def trace(statement: str) -> None:
        statements.append(statement)
        begun.set()

    store._writer.set_trace_callback(trace)
    other = SqliteChart(store.file)
    with other.transaction():
        first = asyncio.ensure_future(chart.bind(bound("first")))
        await asyncio.to_thread(begun.wait)
        yield statements
    other.close()
    await first


async def test_writes_that_wait_share_one_transaction(chart: ThreadedChart, store: SqliteChart) -> None:
    async with writing(chart, store) as statements:
        others = [asyncio.ensure_future(chart.bind(bound(f"fax{number}"))) for number in range(200)]
        await asyncio.sleep(0)
    await asyncio.gather(*others)
    assert statements.count("COMMIT") == 2
    assert len(store.changes_since(0)) == 201


async def test_callers_and_watchers_of_many_changes_leave_others_their_turn(
    chart: ThreadedChart, store: SqliteChart
) -> None:
    rounds = 0  # of the event loop

    async def count() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    async def bind(number: int) -> int:
        await chart.bind(bound(f"fax{number}"))
        return rounds

    async def watch() -> list[int]:
        told: list[int] = []
        async for _ in watched:
            told.append(rounds)
            if len(told) == 1000:
                break
        return told

    watched = chart.watch()
    watching = asyncio.ensure_future(watch())
    async with writing(chart, store):
        others = [asyncio.ensure_future(bind(number)) for number in range(999)]
        await asyncio.sleep(0)
        counting = asyncio.ensure_future(count())
    answered = Counter(await asyncio.gather(*others))
    assert max(answered.values()) <= threaded_chart.SETTLED_AT_ONCE
    assert max(Counter(await watching).values()) <= PAGE
    counting.cancel()


async def test_inquiries_go_on_while_a_write_waits(chart: ThreadedChart, store: SqliteChart) -> None:
    await chart.bind(bound("fax1"))
    async with writing(chart, store):
        waiting = asyncio.ensure_future(chart.bind(bound("fax2")))
        await asyncio.sleep(0)
        assert await chart.look_up(named("fax1")) == Entry(named("fax1"), bound("fax1"))
        assert await chart.look_up(named("fax2")) is None
        assert not waiting.done()
    await waiting
    assert await chart.look_up(named("fax2"))


async def test_more_writes_than_may_wait_are_refused(store: SqliteChart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_chart, "MAX_WAITING", 3)
    chart = ThreadedChart(store)
    async with writing(chart, store):
        waiting = [asyncio.ensure_future(chart.bind(bound(f"fax{number}"))) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ChartUnavailable, match="3 changes wait"):
            await chart.bind(bound("too-much"))
    await asyncio.gather(*waiting)
    assert await chart.look_up(named("too-much")) is None
    await chart.close()


async def test_a_caller_who_leaves_before_his_turn_changes_nothing(
    chart: ThreadedChart, store: SqliteChart
) -> None:
    async with writing(chart, store):
        leaving = asyncio.ensure_future(chart.bind(bound("leaving")))
        staying = asyncio.ensure_future(chart.bind(bound("staying")))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
    await staying
    assert await chart.look_up(named("leaving")) is None
    assert await chart.look_up(named("staying"))


async def test_everybody_in_a_failed_transaction_learns_why(chart: ThreadedChart, store: SqliteChart) -> None:
    await chart.bind(bound("fax1"))
    store._writer.execute("PRAGMA max_page_count = 12")
    writes = [chart.bind_many(bound(f"fax{number}-{part}") for number in range(500)) for part in range(2)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results] == [ChartUnavailable, ChartUnavailable]
    assert "no room left" in str(results[0])
    assert await chart.look_up(named("fax1"))


async def test_one_callers_mistake_is_his_alone(chart: ThreadedChart, store: SqliteChart) -> None:
    async with writing(chart, store):
        wrong = asyncio.ensure_future(chart.bind(cast("Any", "no binding")))
        right = asyncio.ensure_future(chart.bind(bound("right")))
        await asyncio.sleep(0)
    await right
    with pytest.raises(AttributeError):
        await wrong
    assert await chart.look_up(named("right"))


class Recovering(SqliteChart):
    """A chart whose file another process is recovering for the first few questions."""

    busy = 3

    def look_up(self, address: MailAddress) -> Entry | None:
        self._wait()
        return super().look_up(address)

    def last_change(self) -> int:
        self._wait()
        return super().last_change()

    def _wait(self) -> None:
        if self.busy:
            self.busy -= 1
            raise StoreBusy("recovering")


async def test_an_inquiry_outlasts_a_short_recovery(tmp_path: Path) -> None:
    chart = ThreadedChart(Recovering(tmp_path / "chart.sqlite3"))
    await chart.bind(bound("fax1"))
    assert await chart.look_up(named("fax1"))
    await chart.close()


async def test_an_inquiry_gives_up_on_a_long_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_chart, "READ_PAUSES", (0.001,))
    chart = ThreadedChart(Recovering(tmp_path / "chart.sqlite3"))
    with pytest.raises(ChartUnavailable, match="recovering"):
        await chart.look_up(named("fax1"))
    await chart.close()


async def test_our_own_changes_are_told_without_waiting_for_the_poll(
    chart: ThreadedChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded_chart, "POLL_SECONDS", 3600)
    watch = chart.watch()
    future = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await chart.bind(bound("fax1"))
    assert await future == named("fax1")
    future = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await chart.bind(bound("fax2"))
    assert await future == named("fax2")


async def test_nothing_asks_the_store_when_nobody_watches(chart: ThreadedChart, store: SqliteChart) -> None:
    watch = chart.watch()
    with suppress(TimeoutError):
        async with asyncio.timeout(threaded_chart.POLL_SECONDS / 5):
            await anext(watch)
    statements: list[str] = []
    store._reader.set_trace_callback(statements.append)
    await asyncio.sleep(threaded_chart.POLL_SECONDS * 2)
    assert statements == []


async def test_closing_does_what_waits_first(chart: ThreadedChart, store: SqliteChart) -> None:
    writes = [asyncio.ensure_future(chart.bind(bound(f"fax{number}"))) for number in range(50)]
    await asyncio.sleep(0)
    await chart.close()
    await asyncio.gather(*writes)
    again = SqliteChart(store.file)
    assert again.last_change() == 50
    again.close()


async def test_closing_goes_on_though_its_caller_leaves(chart: ThreadedChart, store: SqliteChart) -> None:
    async with writing(chart, store):
        write = asyncio.ensure_future(chart.bind(bound("fax1")))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(chart.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    await write
    await chart.close()


def test_a_program_that_forgets_to_close_ends_all_the_same(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from lanpost.app.charts import open_chart; from lanpost.app.settings import Settings\n"
        "from lanpost.model.address import MailAddress\n"
        "async def main():\n"
        "    assert await open_chart(Settings(data=Path(sys.argv[1]))).add(MailAddress.parse('fax1@office.lan'))\n"
        "asyncio.run(main())\n"
    )
    source = str(Path(lanpost.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        env={"PYTHONPATH": source},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
