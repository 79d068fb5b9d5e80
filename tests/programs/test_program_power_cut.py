"""Every terminal registers again in one moment, as after a power cut: none is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench.processes import stop
from bench.registration_load import Plan, result_of, run_load
from bench.registrations import Server, fill, lost

TERMINALS = 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, tmp_path / "secrets")
    server.configure()
    fill(server, TERMINALS)
    server.start()
    yield server
    stop(server.process)


def test_all_terminals_that_come_at_once_are_in_the_chart_in_the_end(server: Server) -> None:
    since = datetime.now(UTC)
    assert lost(server, since, TERMINALS) == TERMINALS  # before
    plan = Plan("https", server.http_port, str(server.secrets), 0, TERMINALS, window=0.0)
    result = result_of(run_load(plan))
    assert result.registered >= TERMINALS
    assert len(result.waits) == TERMINALS
    assert lost(server, since, TERMINALS) == 0
