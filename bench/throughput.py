"""Mails/s and CPU per mail: rounds of every target in turn, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.load import SESSIONS, Burst, Shape, burst
from bench.processes import BenchError
from bench.sink import CountingSink
from bench.target import Target

SIZES = (1024, 4096, 102_400)
WARM_UP = 200  # mails: processes are started, caches filled, a first rate is known
FEWEST = 200
FAILURES = 2  # of one target under one shape of load: then it is left out of the other rounds


@dataclass
class Series:
    """All rounds of one target under one shape of load."""

    target: str
    shape: Shape
    rounds: list[Burst] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def given_up(self) -> bool:
        """Failed too often to try further rounds."""
        return len(self.failures) >= FAILURES

    @property
    def rate(self) -> float:
        """Mails/s, the median of the rounds that were sound; 0 where none was."""
        return statistics.median(item.rate for item in self.rounds) if self.rounds else 0.0

    @property
    def cpu_milliseconds(self) -> float:
        return statistics.median(item.cpu_milliseconds for item in self.rounds) if self.rounds else 0.0

    def as_json(self) -> dict[str, object]:
        return {
            "target": self.target,
            "size": self.shape.size,
            "connections": "kept" if self.shape.kept else "new",
            "rate": round(self.rate, 1),
            "cpu_ms": round(self.cpu_milliseconds, 4),
            "rounds": [
                {"mails": item.mails, "seconds": round(item.seconds, 4), "cpu_seconds": round(item.cpu_seconds, 3)}
                for item in self.rounds
            ],
            "failures": self.failures,
        }


def measure(
    targets: Sequence[Target],
    sink_port: int,
    *,
    rounds: int,
    seconds: float,
    sizes: Sequence[int] = SIZES,
    say: Callable[[str], None],
) -> list[Series]:
    """Every shape of load on every running target. What fails is said."""
    found: list[Series] = []
    sink = CountingSink(sink_port)
    try:
        for shape in (Shape(size, kept) for size in sizes for kept in (True, False)):
            series = [Series(target.name, shape) for target in targets]
            found += series
            warm: dict[str, float] = {}
            for turn in range(rounds + 1):
                for target, one in zip(targets, series, strict=True):
                    if one.given_up:
                        continue
                    try:
                        if turn == 0:
                            warm[target.name] = burst(target, sink, shape, WARM_UP).rate
                            continue
                        done = burst(target, sink, shape, _mails(one.rate or warm.get(target.name, 0.0), seconds))
                    except BenchError as error:
                        # What is still on its way must not be counted as the next target's.
                        one.failures.append(f"{shape.label}: {error} {sink.close()}".strip())
                        say(f"failed: {one.failures[-1]}")
                        sink = CountingSink(sink_port)
                        continue
                    one.rounds.append(done)
            rates = ", ".join(f"{one.target} {one.rate:,.0f}" for one in series)
            say(f"{shape.label}: {rates} mails/s")
    finally:
        sink.close()
    return found


def _mails(rate: float, seconds: float) -> int:
    """As many as should last so long, the same for every session."""
    return max(FEWEST, int(rate * seconds / SESSIONS) * SESSIONS)
