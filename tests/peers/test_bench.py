"""The harness itself, on what needs no mail server: source straight into sink."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import latency, memory, throughput
from bench.load import Shape, burst
from bench.processes import BenchError, cpu_seconds, free_port, program, pss_octets
from bench.sink import CountingSink
from bench.target import Raw, Stage

pytestmark = pytest.mark.peer
silent: list[str] = []


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    if not (program("smtp-source") and program("smtp-sink")):
        pytest.skip("smtp-source and smtp-sink are not installed (Postfix): scripts/install-peers")
    return Raw(Stage(tmp_path, free_port()))


def test_every_mail_is_counted_also_where_the_directory_is_smaller_than_the_load(raw: Raw) -> None:
    raw.stage = Stage(raw.stage.folder, raw.stage.sink_port, entries=60)
    sink = CountingSink(raw.stage.sink_port)
    try:
        assert burst(raw, sink, Shape(1024, kept=True), 140).mails == 140
        assert burst(raw, sink, Shape(1024, kept=False), 20).rate > 0
        assert sink.count == 160
    finally:
        sink.close()


def test_a_server_that_is_not_there_is_a_failure_of_that_target_alone(raw: Raw) -> None:
    dead = Raw(raw.stage)
    dead.name, dead.port = "dead", free_port()
    found = throughput.measure(
        [dead, raw], raw.stage.sink_port, rounds=1, seconds=0.01, sizes=(1024,), say=silent.append
    )
    assert [len(item.failures) for item in found] == [2, 0, 2, 0]
    assert [item.rate > 0 for item in found] == [False, True, False, True]


def test_latency_is_taken_to_the_arrival_and_to_the_answer(raw: Raw) -> None:
    found = latency.measure([raw], raw.stage.sink_port, rounds=1, probes=5, say=silent.append)
    assert [len(item.arrived) for item in found] == [5, 5]
    for item in found:
        assert not item.failure
        assert all(0 < arrived <= answered for arrived, answered in zip(item.arrived, item.answered, strict=True))


def test_what_is_no_server_has_no_memory(raw: Raw) -> None:
    assert memory.measure([raw], raw.stage.sink_port, connections=5, say=silent.append) == []


def test_a_process_of_ours_uses_time_and_memory(raw: Raw) -> None:
    sink = CountingSink(raw.stage.sink_port)
    try:
        burst(raw, sink, Shape(1024, kept=True), 400)
        while cpu_seconds([sink.pid]) == 0:  # the kernel counts in ticks, and a quick machine needs less than one
            burst(raw, sink, Shape(1024, kept=True), 400)
        assert pss_octets([sink.pid]) > 100_000
    finally:
        sink.close()


def test_mails_that_do_not_come_are_said_to_be_missing(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.sink.STALLED_SECONDS", 0.05)
    sink = CountingSink(raw.stage.sink_port)
    try:
        with pytest.raises(BenchError, match="3 mails have not arrived"):
            sink.wait_for(3)
    finally:
        sink.close()
