"""Clients of the directory that ask for much and read nothing: it stays quick for the others, and small."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.processes import cpu_seconds, pss_octets
from tests.directory_program import BASE, DirectoryProgram
from tests.directory_running import Client

from lanpost.wire.ldap_filter import Equals, Present
from lanpost.wire.ldap_messages import Scope, SearchEntry, SearchRequest

ENTRIES = 10_000
SLOW = 200  # clients who read nothing
SEARCHES = 64  # of each, for all entries
QUIET_SECONDS = 0.5  # without work: the server waits for them to read
LOOK_UPS = 300
MEMORY = 250_000  # octets that one of them may cost
EVERYTHING = SearchRequest(BASE, Scope.ONE, Present("objectClass"))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DirectoryProgram]:
    with DirectoryProgram(tmp_path) as running:
        rows = "".join(f"fax{number},10.1.{number // 250}.{number % 250 + 1}\n" for number in range(ENTRIES))
        (tmp_path / "chart.csv").write_text(f"address,endpoint\n{rows}", "ascii")
        running.lanpost("chart", "import", str(tmp_path / "chart.csv"))
        yield running


def count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def look_up_seconds(client: Client) -> float:
    """The median of many inquiries."""
    seconds = []
    for number in range(LOOK_UPS):
        name = f"fax{number * 31 % ENTRIES}"
        request = SearchRequest(BASE, Scope.SUBTREE, Equals("mailLocalAddress", f"{name}@office.lan".encode()))
        begin = time.perf_counter()
        assert client.names(request) == ([f"cn={name},{BASE}"], 0)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def wait_until_quiet(directory: DirectoryProgram, pid: int) -> None:
    """All of them are stuck: there is nothing that the server could do for anybody."""
    seen = [0.0, time.monotonic()]

    def is_quiet() -> bool:
        used, now = cpu_seconds([pid]), time.monotonic()
        if used > seen[0]:
            seen[:] = [used, now]
        return now - seen[1] > QUIET_SECONDS

    directory.wait_until(is_quiet, "nothing to be done", 90)


@pytest.mark.timeout(240)
def test_they_cost_nobody_time_and_little_memory(directory: DirectoryProgram) -> None:
    assert directory.process
    pid = directory.process.pid
    open_files = Path(f"/proc/{pid}/fd")
    with Client(directory.port) as honest, ExitStack() as stack:
        look_up_seconds(honest)
        before, memory, files = look_up_seconds(honest), pss_octets([pid]), count(open_files)
        slow = [stack.enter_context(Client(directory.port, receive_buffer=4096)) for _ in range(SLOW)]
        ids = [each.send(*[EVERYTHING] * SEARCHES) for each in slow]
        wait_until_quiet(directory, pid)
        assert directory.lanpost_json("status")["clients"] == SLOW + 1
        assert look_up_seconds(honest) < 5 * before + 0.001
        assert pss_octets([pid]) - memory < SLOW * MEMORY
        # One who changes his mind has what he asked for.
        first, *others = ids[0]
        for each in others:
            slow[0].session.abandon(each)
        slow[0].flush()
        told = 0
        while first in slow[0].session.open_operations:
            message = slow[0].next()
            assert message is not None
            told += isinstance(message.operation, SearchEntry) and message.id == first
        assert told == ENTRIES
    directory.wait_until(lambda: count(open_files) < files, "their connections to be closed")
    assert '"level": "error"' not in directory.log()
