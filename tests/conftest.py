"""How the tests run as a whole: the lab's one after another, and in CI none that is skipped for want of a peer."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from tests.built_file import built, shared_folder
from tests.program import Program

# A busy machine is no fault of the code: nothing here is tested by its time.
settings.register_profile("lanpost", deadline=None)
settings.load_profile("lanpost")

FOREIGN = ("peer", "lab", "machine")  # marks of tests that need more than Python
FOLDERS = [Path(__file__).parent / name for name in ("peers", "lab", "machines")]


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Lab tests share the host's network: one worker runs them all."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.xdist_group("lab"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A peer that is missing in CI is a hole in the net, not a skip."""
    report = yield
    wanted = report.skipped and not hasattr(report, "wasxfail")
    if in_ci() and wanted and any(item.get_closest_marker(name) for name in FOREIGN):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not take: {reason_of(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself."""
    report = yield
    if in_ci() and report.skipped and any(collector.path.is_relative_to(folder) for folder in FOLDERS):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not take: {reason_of(report)}"
    return report


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that ran within a test's own process says where logs go; the next test does not know of it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A running `lanpost serve` for all who only use it."""
    with Program(tmp_path_factory.mktemp("program")) as running:
        yield running


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lanpost.pyz of this checkout, built once for all workers of a run."""
    return built(shared_folder(tmp_path_factory) / "lanpost-dist")
