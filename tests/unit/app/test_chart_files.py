from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lanpost.app.chart_files import (
    FORMS,
    MAX_BAD_KEPT,
    ChartFile,
    form_of,
    length_of,
    opened_for_export,
    opened_for_import,
)
from lanpost.errors import ConfigurationError, StoreError

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "given", "form"),
    [
        ("a.csv", None, "csv"),
        ("a.JSON", None, "json"),
        ("a.xml", None, "xml"),
        ("-", None, "csv"),
        ("-", "json", "json"),
        ("a", "csv", "csv"),
    ],
)
def test_the_form_is_the_one_asked_for_or_that_of_the_ending(name: str, given: str | None, form: str) -> None:
    assert form_of(name, given) is FORMS[form]


def test_an_unknown_ending_is_refused_with_what_to_say() -> None:
    with pytest.raises(ConfigurationError, match="--format csv or json or xml"):
        form_of("chart.xlsx")


def test_a_survey_counts_everything_and_keeps_some_of_what_is_bad(tmp_path: Path) -> None:
    file = tmp_path / "chart.csv"
    lines = [
        "\ufeffaddress,endpoint",
        *(f"fax{number},10.0.0.7" for number in range(6000)),
        "büro,",
        *["x y,"] * 200,
    ]
    file.write_text("\n".join(lines), "utf-8")
    told: list[int] = []
    with opened_for_import(str(file)) as text, ChartFile(text, FORMS["csv"], "office.lan", NOW) as source:
        assert length_of(text) == file.stat().st_size
        found = source.survey(told.append)
        assert (found.bound, found.unbound, found.bad) == (6000, 1, 200)
        assert len(found.bad_records) == MAX_BAD_KEPT
        keys = [binding.address.key for binding in source.bindings()]
        assert len(keys) == 6000
        assert keys == sorted(keys)
        assert [str(address) for address in source.unbound()] == ["büro@office.lan"]
    assert told == sorted(told)
    assert told[-1] == len("\n".join(lines)) - 1  # without the byte order mark


def test_a_failed_export_leaves_the_former_file(tmp_path: Path) -> None:
    file = tmp_path / "chart.csv"
    file.write_text("former")
    with pytest.raises(ZeroDivisionError), opened_for_export(str(file)) as text:
        text.write(str(1 / 0))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("chart.csv", "former")]
    with opened_for_export(str(file)) as text:
        text.write("new")
        assert file.read_text() == "former"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("chart.csv", "new")]


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"nowhere/chart\.csv cannot be written"),
        opened_for_export(str(tmp_path / "nowhere" / "chart.csv")),
    ):
        pass
    with pytest.raises(StoreError, match="cannot be read"), opened_for_import(str(tmp_path)):
        pass


def test_a_device_is_written_to_as_it_is() -> None:
    with opened_for_export("/dev/null") as text:
        text.write("x")
    assert not Path("/dev/null").is_file()
