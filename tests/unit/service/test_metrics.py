"""The text that Prometheus reads."""

from __future__ import annotations

import pytest

from lanpost.service.metrics import MAX_SERIES, Metrics


def test_counters_and_gauges_in_the_exposition_format() -> None:
    metrics = Metrics()
    metrics.counter("a_total", "All.").add()
    by_status = metrics.counter("b_total", "By\nstatus.", "status")
    by_status.add('2"0\\0', 1_234_567_890)
    by_status.add("404", 0.5)
    metrics.gauge("c", "Now.", lambda: 7)
    assert metrics.text() == (
        "# HELP a_total All.\n# TYPE a_total counter\na_total 1\n"
        "# HELP b_total By\\nstatus.\n# TYPE b_total counter\n"
        'b_total{status="2\\"0\\\\0"} 1234567890\nb_total{status="404"} 0.5\n'
        "# HELP c Now.\n# TYPE c gauge\nc 7\n"
    )


def test_a_counter_is_made_once_and_its_series_are_bounded() -> None:
    metrics = Metrics()
    counter = metrics.counter("a_total", "All.", "client")
    for number in range(MAX_SERIES + 10):
        metrics.counter("a_total", "All.", "client").add(str(number))
    assert counter.value("other") == 10
    assert len(counter.lines()) == MAX_SERIES + 1


def test_a_name_that_prometheus_cannot_read_is_a_bug() -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        Metrics().counter("two words", "")
