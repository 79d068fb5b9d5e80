"""Opens the chart that the settings name. A new kind of store adds its scheme to KINDS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lanpost.app.chart_directory import open_directory
from lanpost.app.chart_directory import url_problem as directory_problem
from lanpost.app.settings import Settings
from lanpost.app.threaded_chart import ThreadedChart
from lanpost.app.webdav import open_webdav
from lanpost.app.webdav import url_problem as webdav_problem
from lanpost.errors import ChartUnavailable, ConfigurationError, StoreError
from lanpost.service.ports import Chart, ChartStore
from lanpost.store import formats
from lanpost.store.chart_sqlite import SqliteChart
from lanpost.store.chart_xml_file import XmlFileChart


class _Kind(NamedTuple):
    """`problem` with what follows the scheme, and its remedy, or ""; `open` where there is none."""

    problem: Callable[[str], str]
    open: Callable[[Settings, str], Chart]


def _path(rest: str) -> str:
    return rest.removeprefix("//") if rest.startswith("///") else rest  # sqlite:///x is sqlite:/x


def _file_kind(scheme: str, open_store: Callable[[Path, Settings], ChartStore]) -> _Kind:
    """A chart in a file on this machine, as `scheme:PATH`."""

    def problem(rest: str) -> str:
        path = _path(rest)
        is_path = path and not path.startswith("//")
        return "" if is_path else f"write {scheme}:FILE, relative to `data`, or {scheme}:/PATH"

    def open_file(settings: Settings, rest: str) -> Chart:
        formats.require(settings.data)
        try:
            return ThreadedChart(open_store(settings.data / Path(_path(rest)), settings))
        except StoreError as error:
            raise ChartUnavailable(str(error)) from error

    return _Kind(problem, open_file)


def _webdav_kind(scheme: str) -> _Kind:
    """A chart in an XML document on a document server."""
    return _Kind(partial(webdav_problem, scheme), lambda settings, rest: open_webdav(settings, scheme, rest))


def _directory_kind(scheme: str) -> _Kind:
    """A chart in an LDAP directory."""
    return _Kind(partial(directory_problem, scheme), lambda settings, _rest: open_directory(settings))


KINDS = {
    "sqlite": _file_kind("sqlite", lambda file, _: SqliteChart(file)),
    "xml": _file_kind("xml", lambda file, settings: XmlFileChart(file, settings.domain)),
    "ldap": _directory_kind("ldap"),
    "ldaps": _directory_kind("ldaps"),
    "http": _webdav_kind("http"),
    "https": _webdav_kind("https"),
}


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

    Raises ConfigurationError for a URL that cannot be used, ChartUnavailable where the chart cannot, StoreError
    where the data folder that it is in is of another version's format.
    """
    if problem := url_problem(settings.chart.url):
        raise ConfigurationError(f"{settings.file or 'built-in settings'}: {problem}")
    scheme, _, rest = settings.chart.url.partition(":")
    return KINDS[scheme.lower()].open(settings, rest)


def missing_file(settings: Settings) -> Path | None:
    """The file of `chart.url` where it is one that does not exist yet: opening would make it."""
    scheme, _, rest = settings.chart.url.partition(":")
    if scheme.lower() not in ("sqlite", "xml"):
        return None
    file = settings.data / Path(_path(rest))
    return None if file.exists() else file
