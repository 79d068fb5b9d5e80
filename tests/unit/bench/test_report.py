"""The report says what was measured, what was not, and the ratios between the two."""

from __future__ import annotations

import json
from pathlib import Path

from bench.latency import quantile
from bench.load import Burst, Shape
from bench.machine import Machine
from bench.report import Report, table
from bench.throughput import Series


def series(target: str, *seconds: float, failures: tuple[str, ...] = ()) -> Series:
    rounds = [Burst(mails=1000, seconds=item, cpu_seconds=0.5) for item in seconds]
    return Series(target, Shape(4096, kept=True), rounds, list(failures))


def report(tmp_path: Path) -> Report:
    found = Report(Machine.here(tmp_path), {"nginx": "not installed"}, {})
    found.throughput = [series("postfix", 2.0, 1.0, 8.0), series("lanpost", 0.2, 0.1, 0.4)]
    return found


def test_the_median_of_the_rounds_is_shown_with_ours_over_theirs(tmp_path: Path) -> None:
    text = "\n".join(" ".join(line.split()) for line in report(tmp_path).lines())
    assert "4 KB, kept 500 5,000 10.00" in text
    assert "NOT MEASURED: nginx: not installed" in text


def test_a_failed_target_is_shown_as_failed_and_gives_no_ratio(tmp_path: Path) -> None:
    found = report(tmp_path)
    found.throughput[1] = series("lanpost", failures=("3 mails have not arrived",))
    text = "\n".join(" ".join(line.split()) for line in found.lines())
    assert "4 KB, kept 500 failed -" in text
    assert "FAILED: lanpost, 3 mails have not arrived" in text


def test_json_has_every_round(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    report(tmp_path).write_json(file)
    figures = json.loads(file.read_text("utf-8"))
    assert [item["rate"] for item in figures["throughput"]] == [500.0, 5000.0]
    assert [item["seconds"] for item in figures["throughput"][0]["rounds"]] == [2.0, 1.0, 8.0]
    assert figures["machine"]["filesystem"]


def test_quantiles() -> None:
    assert quantile([float(number) for number in range(1, 102)], 50) == 51.0
    assert quantile([float(number) for number in range(1, 102)], 99) == 100.0
    assert quantile([], 99) == 0.0


def test_a_table_without_rows_is_its_header() -> None:
    assert table(["a", "bc"], []) == ["a  bc"]
