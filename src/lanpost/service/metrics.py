"""Counters and gauges, and the text in which Prometheus reads them (exposition format 0.0.4).

Names are made where the program is wired; whoever counts is handed the counter. Nothing here is thread-safe:
count on the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_SERIES = 256  # label values of one metric; more are counted under "other", so that no client can fill memory
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_OTHER = "other"


class Counter:
    """A number that only grows, split by the values of at most one label."""

    __slots__ = ("_values", "help", "label", "name")

    def __init__(self, name: str, help: str, label: str = "") -> None:  # noqa: A002 -- Prometheus's word
        self.name, self.help, self.label = name, help, label
        self._values: dict[str, float] = {} if label else {"": 0}

    def add(self, value: str = "", amount: float = 1) -> None:
        """Count `amount` under the label's `value`; "" where the counter has no label."""
        if value not in self._values and len(self._values) >= MAX_SERIES:
            value = _OTHER
        self._values[value] = self._values.get(value, 0) + amount

    def value(self, label_value: str = "") -> float:
        """What was counted so far."""
        return self._values.get(label_value, 0)

    def lines(self) -> list[str]:
        return [_line(self.name, self.label, key, number) for key, number in sorted(self._values.items())]


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def counter(self, name: str, help: str, label: str = "") -> Counter:  # noqa: A002
        """The counter of that name, made at its first mention. By custom its name ends in `_total`."""
        self._check(name)
        if name not in self._counters:
            self._counters[name] = Counter(name, help, label)
        return self._counters[name]

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:  # noqa: A002
        """A number that is read anew each time somebody asks; a later mention replaces an earlier one."""
        self._check(name)
        self._gauges[name] = (help, read)

    def text(self) -> str:
        """Everything, as `GET /metrics` answers it."""
        lines: list[str] = []
        for counter in self._counters.values():
            lines += [f"# HELP {counter.name} {_escaped(counter.help)}", f"# TYPE {counter.name} counter"]
            lines += counter.lines()
        for name, (text, read) in self._gauges.items():
            lines += [f"# HELP {name} {_escaped(text)}", f"# TYPE {name} gauge", _line(name, "", "", read())]
        return "\n".join(lines) + "\n" if lines else ""

    @staticmethod
    def _check(name: str) -> None:
        if not _NAME.match(name):
            raise ValueError(f"{name!r} cannot be the name of a metric")


def _line(name: str, label: str, value: str, number: float) -> str:
    quoted = _escaped(value).replace('"', '\\"')
    shown = f"{number:.0f}" if float(number).is_integer() else repr(float(number))
    return f'{name}{{{label}="{quoted}"}} {shown}' if label else f"{name} {shown}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
