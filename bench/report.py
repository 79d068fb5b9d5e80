"""The figures as tables, with the ratios that matter, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.latency import Latency, quantile
from bench.machine import Machine
from bench.memory import Memory
from bench.throughput import Series

# Ours, and what it is held against.
RATIOS = (("lanpost", "postfix"), ("lanpost-spool", "postfix"), ("lanpost", "nginx"))


@dataclass
class Report:
    machine: Machine
    missing: dict[str, str]  # targets that could not run, and why
    settings: dict[str, object]
    throughput: list[Series] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    def write_json(self, file: Path) -> None:
        file.write_text(
            json.dumps(
                {
                    "machine": asdict(self.machine),
                    "settings": self.settings,
                    "missing": self.missing,
                    "throughput": [item.as_json() for item in self.throughput],
                    "latency": [item.as_json() for item in self.latency],
                    "memory": [item.as_json() for item in self.memory],
                },
                indent=2,
            )
            + "\n",
            "utf-8",
        )

    def failures(self) -> list[str]:
        """What could not be measured, and why."""
        found = [f"{item.target}, {failure}" for item in self.throughput for failure in item.failures]
        found += [f"{item.target}, latency: {item.failure}" for item in self.latency if item.failure]
        return found + [f"{item.target}, memory: {item.failure}" for item in self.memory if item.failure]

    def lines(self) -> Iterable[str]:
        yield from self.machine.lines()
        for name, reason in self.missing.items():
            yield f"NOT MEASURED: {name}: {reason}"
        if self.throughput:
            yield from ("", "Mails/s, median of the rounds, until the sink has them all", *self._rates())
            yield from ("", "CPU per mail in ms, all of the server's processes", *self._cpu())
        if self.latency:
            yield from ("", "Single 4 KB mails one after another, milliseconds", *self._latency())
        if self.memory:
            yield from ("", "Memory (PSS, MB), all of the server's processes", *self._memory())
        yield from (f"FAILED: {failure}" for failure in self.failures())

    def _rates(self) -> list[str]:
        names = _unique(item.target for item in self.throughput)
        ratios = [pair for pair in RATIOS if set(pair) <= set(names)]
        rows = []
        for label in _unique(item.shape.label for item in self.throughput):
            rate = {item.target: item.rate for item in self.throughput if item.shape.label == label}
            row = [label, *(f"{rate[name]:,.0f}" if rate[name] else "failed" for name in names)]
            row += [_ratio(rate[ours], rate[theirs]) for ours, theirs in ratios]
            rows.append(row)
        return table(["load", *names, *(f"{ours}/{theirs}" for ours, theirs in ratios)], rows)

    def _cpu(self) -> list[str]:
        names = [name for name in _unique(item.target for item in self.throughput) if name != "raw"]
        rows = []
        for label in _unique(item.shape.label for item in self.throughput):
            cpu = {item.target: item.cpu_milliseconds for item in self.throughput if item.shape.label == label}
            rows.append([label, *(f"{cpu[name]:.3f}" if cpu[name] else "failed" for name in names)])
        return table(["load", *names], rows)

    def _latency(self) -> list[str]:
        rows = [
            [
                item.target,
                "kept" if item.kept else "new",
                *(_milliseconds(item.arrived, percent) for percent in (50, 99)),
                *(_milliseconds(item.answered, percent) for percent in (50, 99)),
            ]
            for item in self.latency
        ]
        return table(["", "connection", "arrived p50", "p99", "answered p50", "p99"], rows)

    def _memory(self) -> list[str]:
        rows = [[item.target, f"{item.rest / 1e6:.1f}", f"{item.connected / 1e6:.1f}"] for item in self.memory]
        return table(["", "at rest", "connected"], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """First column to the left, figures to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    ]


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _milliseconds(values: Sequence[float], percent: int) -> str:
    return f"{quantile(values, percent):.2f}" if values else "failed"


def _ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if ours and theirs else "-"
