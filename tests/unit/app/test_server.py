"""What of the server's wiring can be seen without running it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from lanpost.app.process_rules import clients_share, share
from lanpost.app.settings import Settings


@pytest.mark.parametrize(("workers", "part"), [(0, 200), (1, 600), (2, 300), (7, 86)])
def test_a_limit_is_shared_by_as_many_processes_as_run(
    workers: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2})  # what "auto", 0, counts
    assert share(replace(Settings(), workers=workers), 600) == part


@pytest.mark.parametrize(("workers", "limit"), [(1, 10), (1, 1000), (2, 10), (2, 1000), (4, 5000)])
def test_clients_within_the_limit_are_taken_though_dealt_out_by_chance(workers: int, limit: int) -> None:
    part = clients_share(replace(Settings(), workers=workers), limit)
    spread = 5 * (limit * (workers - 1) / workers**2) ** 0.5  # of a fair deal, five times its deviation
    assert min(limit, limit / workers + spread) <= part <= limit
