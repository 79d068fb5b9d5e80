from __future__ import annotations

from pathlib import Path

import pytest

from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.errors import ChartUnavailable, ConfigurationError


def settings(folder: Path, url: str) -> Settings:
    return Settings(data=folder, chart=ChartSettings(url=url))


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:chart.sqlite3", "data/chart.sqlite3"),
        ("SQLite:a/b.db", "data/a/b.db"),
        ("sqlite:{folder}/x.db", "x.db"),
        ("sqlite://{folder}/x.db", "x.db"),
    ],
)
async def test_a_sqlite_chart_is_made_where_the_url_says(tmp_path: Path, url: str, file: str) -> None:
    chart = open_chart(settings(tmp_path / "data", url.format(folder=tmp_path)))
    assert (tmp_path / file).is_file()
    await chart.close()


@pytest.mark.parametrize("url", ["postgresql://h/db", "chart.sqlite3", "", ":x", "sqlite"])
def test_another_kind_is_refused_with_those_that_exist(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"chart\.url = .* there is sqlite:"):
        open_chart(settings(tmp_path, url))


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://host/x"])
def test_a_url_without_a_file_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="write sqlite:FILE"):
        open_chart(settings(tmp_path, url))


def test_a_file_that_is_no_chart_makes_it_unavailable(tmp_path: Path) -> None:
    (tmp_path / "chart.sqlite3").write_text("x" * 5000)
    with pytest.raises(ChartUnavailable, match="restore it"):
        open_chart(settings(tmp_path, "sqlite:chart.sqlite3"))
