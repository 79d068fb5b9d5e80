"""How long a single mail takes, alone on its way: until it has arrived, and until the sender has its 250."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.load import Probe
from bench.processes import BenchError
from bench.sink import StampingSink
from bench.target import Target

SIZE = 4096
WARM_UP = 20


@dataclass
class Latency:
    """Milliseconds of each probe, from MAIL (kept connection) or from connecting (one connection a mail)."""

    target: str
    kept: bool
    arrived: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    failure: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "target": self.target,
            "connections": "kept" if self.kept else "new",
            "probes": len(self.arrived),
            "arrived_ms": {"p50": quantile(self.arrived, 50), "p99": quantile(self.arrived, 99)},
            "answered_ms": {"p50": quantile(self.answered, 50), "p99": quantile(self.answered, 99)},
            "failure": self.failure,
        }


def quantile(values: Sequence[float], percent: int) -> float:
    """0 where there is nothing to take it of."""
    if len(values) < 2:
        return 0.0
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def measure(
    targets: Sequence[Target], sink_port: int, *, rounds: int, probes: int, say: Callable[[str], None]
) -> list[Latency]:
    """`probes` mails a round to every running target."""
    sink = StampingSink(sink_port)
    numbers = _Numbers()
    try:
        found = [Latency(target.name, kept) for kept in (True, False) for target in targets]
        for turn in range(rounds + 1):
            for one in found:
                if one.failure:
                    continue
                target = next(item for item in targets if item.name == one.target)
                try:
                    arrived, answered = _round(target, sink, one.kept, numbers, probes if turn else WARM_UP)
                except (BenchError, OSError) as error:
                    one.failure = str(error)
                    say(f"latency: {target.name} failed: {error}")
                    continue
                if turn:
                    one.arrived += arrived
                    one.answered += answered
        for one in found:
            kind = "kept" if one.kept else "new"
            say(
                f"latency, {kind}: {one.target} arrived p50 {quantile(one.arrived, 50)} "
                f"p99 {quantile(one.arrived, 99)} ms, answered p50 {quantile(one.answered, 50)} ms"
            )
        return found
    finally:
        sink.close()


class _Numbers:
    """Probe numbers: never one twice, so that a late arrival is not taken for another's."""

    def __init__(self) -> None:
        self.last = 0

    def take(self) -> int:
        self.last += 1
        return self.last


def _round(
    target: Target, sink: StampingSink, kept: bool, numbers: _Numbers, probes: int
) -> tuple[list[float], list[float]]:
    arrived: list[float] = []
    answered: list[float] = []
    probe = Probe(target.port)
    if kept:
        probe.connect()
    for _ in range(probes):
        number = numbers.take()
        start = time.monotonic_ns()
        if not kept:
            probe.connect()
        probe.send((number - 1) % target.stage.entries + 1, number, SIZE)
        answered.append((time.monotonic_ns() - start) / 1e6)
        arrived.append((sink.arrival(number) - start) / 1e6)
        if not kept:
            probe.close()
    probe.close()
    return arrived, answered
