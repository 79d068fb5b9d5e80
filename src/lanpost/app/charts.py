"""Opens the chart that the settings name. A new kind of store adds its scheme to KINDS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lanpost.app.settings import Settings
from lanpost.app.threaded_chart import ThreadedChart
from lanpost.errors import ChartUnavailable, ConfigurationError, StoreError
from lanpost.service.ports import Chart
from lanpost.store.chart_sqlite import SqliteChart


class _Kind(NamedTuple):
    """`problem` with what follows the scheme, and its remedy, or ""; `open` where there is none."""

    problem: Callable[[str], str]
    open: Callable[[Settings, str], Chart]


def _sqlite_path(rest: str) -> str:
    return rest.removeprefix("//") if rest.startswith("///") else rest  # sqlite:///x is sqlite:/x


def _sqlite_problem(rest: str) -> str:
    path = _sqlite_path(rest)
    return "" if path and not path.startswith("//") else "write sqlite:FILE, relative to `data`, or sqlite:/PATH"


def _open_sqlite(settings: Settings, rest: str) -> Chart:
    try:
        return ThreadedChart(SqliteChart(settings.data / Path(_sqlite_path(rest))))
    except StoreError as error:
        raise ChartUnavailable(str(error)) from error


KINDS = {"sqlite": _Kind(_sqlite_problem, _open_sqlite)}


def url_problem(url: str) -> str:
    """What is wrong with a `chart.url`, and the remedy; "" where nothing is. Opens nothing."""
    scheme, colon, rest = url.partition(":")
    kind = KINDS.get(scheme.lower())
    if kind is None or not colon:
        known = ", ".join(f"{name}:" for name in KINDS)
        problem = f"no such kind of chart; there is {known} as in sqlite:chart.sqlite3"
    else:
        problem = kind.problem(rest)
    return f"chart.url = {url!r}: {problem}" if problem else ""


def open_chart(settings: Settings) -> Chart:
    """The chart of `chart.url`, made if it is a file that does not exist yet. The caller closes it.

    Raises ConfigurationError for a URL that cannot be used, ChartUnavailable where the chart cannot.
    """
    if problem := url_problem(settings.chart.url):
        raise ConfigurationError(f"{settings.file or 'built-in settings'}: {problem}")
    scheme, _, rest = settings.chart.url.partition(":")
    return KINDS[scheme.lower()].open(settings, rest)
