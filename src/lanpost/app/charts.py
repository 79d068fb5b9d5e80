"""Opens the chart that the settings name. A new kind of store adds its scheme to OPENERS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lanpost.app.settings import Settings
from lanpost.app.threaded_chart import ThreadedChart
from lanpost.errors import ChartUnavailable, ConfigurationError, StoreError
from lanpost.service.ports import Chart
from lanpost.store.chart_sqlite import SqliteChart


def _open_sqlite(settings: Settings, rest: str) -> Chart:
    path = rest.removeprefix("//") if rest.startswith("///") else rest  # sqlite:///x is sqlite:/x
    if not path or path.startswith("//"):
        raise ConfigurationError(
            f"chart.url = {settings.chart.url!r}: write sqlite:FILE, relative to `data`, or sqlite:/PATH"
        )
    try:
        return ThreadedChart(SqliteChart(settings.data / Path(path)))
    except StoreError as error:
        raise ChartUnavailable(str(error)) from error


OPENERS: dict[str, Callable[[Settings, str], Chart]] = {"sqlite": _open_sqlite}


def open_chart(settings: Settings) -> Chart:
    """The chart of `chart.url`, made if it is a file that does not exist yet. The caller closes it.

    Raises ConfigurationError for a URL that cannot be used, ChartUnavailable where the chart cannot.
    """
    scheme, colon, rest = settings.chart.url.partition(":")
    opener = OPENERS.get(scheme.lower())
    if opener is None or not colon:
        known = ", ".join(f"{name}:" for name in OPENERS)
        raise ConfigurationError(
            f"{settings.file or 'built-in settings'}: chart.url = {settings.chart.url!r}:"
            f" no such kind of chart; there is {known} as in sqlite:chart.sqlite3"
        )
    return opener(settings, rest)
