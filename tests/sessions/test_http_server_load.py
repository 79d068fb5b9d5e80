"""A crowd at the registration API: what it leaves behind, and what becomes of whom cannot be served now."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.sessions.api_server import Answer, ApiServer, serving
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from lanpost.model.binding import Binding
from lanpost.net import api as api_module
from lanpost.net.tls_transport import TlsTransport
from lanpost.store.chart_sqlite import SqliteChart

KINDS = (TlsTransport, H11Protocol, RequestResponseCycle)


class StuckStore(SqliteChart):
    """A chart on a disk that hangs until it is let go."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.let_go = threading.Event()
        self.is_asked = threading.Event()

    def bind_many(self, bindings: Iterable[Binding]) -> int:
        self.is_asked.set()
        self.let_go.wait(10)
        return super().bind_many(bindings)


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[StuckStore]:
    store = StuckStore(tmp_path / "chart.sqlite3")
    yield store
    store.let_go.set()


async def put(api: ApiServer, name: str = "fax1") -> Answer:
    return await api.ask("PUT", f"/v1/bindings/{name}", {}, api.secrets[name])


async def test_connections_that_are_over_need_no_garbage_collection(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        await api.enrol("fax1")
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                assert (await put(api)).status == 200
            async with asyncio.timeout(5):
                while api.server.count:  # noqa: ASYNC110 - nobody else tells of a connection that is closed
                    await asyncio.sleep(0)
            left = Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, KINDS))
            assert left == {}
        finally:
            gc.enable()


async def test_a_chart_that_hangs_sends_terminals_away_before_they_give_up(
    tmp_path: Path, stuck: StuckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "CHART_SECONDS", 0.05)
    async with serving(tmp_path, store=stuck) as api:
        await api.enrol("fax1")
        refused = await put(api)
        assert (refused.status, refused.headers["retry-after"]) == (503, "10")
        assert "come again later" in refused.json["detail"]
        stuck.let_go.set()
        monkeypatch.undo()
        assert (await put(api)).status == 200


async def test_no_more_wait_for_the_chart_than_are_allowed_to(
    tmp_path: Path, stuck: StuckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "MAX_WRITING", 1)
    async with serving(tmp_path, store=stuck) as api:
        for name in ("fax1", "fax2"):
            await api.enrol(name)
        first = asyncio.ensure_future(put(api))
        await asyncio.to_thread(stuck.is_asked.wait, 10)
        refused = await put(api, "fax2")
        assert (refused.status, "retry-after" in refused.headers) == (503, True)
        stuck.let_go.set()
        assert (await first).status == 200
        assert (await put(api, "fax2")).status == 200
