"""`lanpost chart copy`: a chart moved between kinds; and the XML form of import and export."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from tests.webdav_servers import Wsgidav

from lanpost.app import chart_copy
from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.cli.main import main
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint

NOW = datetime(2026, 11, 23, 20, 15, 0, 123456, tzinfo=UTC)
Run = Callable[..., str]


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


FAX1 = Binding(
    named("Fax1"), Endpoint("fe80::7", 2525, "eth0"), NOW, NOW + timedelta(days=1), Source.AGENT, "fax1@x.lan"
)
ENTRIES = [
    Entry(named('"a b"@büro.lan'), None, Details.of([("o", "Acme | <Söhne>"), ("o", "B"), ("l", "Room 3")])),
    Entry(named("Fax1"), FAX1, Details.of([("displayName", "Fax")])),
    Entry(named("known")),
    *(Entry(named(f"n{n}"), Binding(named(f"n{n}"), Endpoint("10.0.0.7", n + 1), NOW)) for n in range(50)),
]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "lanpost.toml"
    file.write_text(f'data = "{tmp_path}"\n')
    monkeypatch.setenv("LANPOST_CONFIG", str(file))
    return file


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*words: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == status, err
        return err if status else out

    return run_command


@pytest.fixture
def document(tmp_path: Path) -> Iterator[str]:
    with Wsgidav(tmp_path / "dav") as server:
        yield server.url


def filled(folder: Path, url: str, entries: list[Entry]) -> None:
    async def fill() -> None:
        chart = open_chart(Settings(data=folder, chart=ChartSettings(url=url)))
        for entry in entries:
            if entry.binding:
                await chart.bind(entry.binding)
            else:
                await chart.add(entry.address)
            await chart.describe(entry.address, entry.details)
        await chart.close()

    asyncio.run(fill())


def held(folder: Path, url: str) -> list[Entry]:
    async def ask() -> list[Entry]:
        chart = open_chart(Settings(data=folder, chart=ChartSettings(url=url)))
        found = [entry async for entry in chart.entries()]
        await chart.close()
        return found

    return asyncio.run(ask())


def by_key(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.address.key)


def test_a_chart_goes_round_all_kinds_as_it_was(run: Run, tmp_path: Path, document: str) -> None:
    filled(tmp_path, "sqlite:a.sqlite3", ENTRIES)
    way = ["sqlite:a.sqlite3", "xml:b.xml", document, "sqlite:c.sqlite3"]
    for source, target in pairwise(way):
        assert run("chart", "copy", source, target) == "53 entries: 53 written, 0 left\n"
        found = held(tmp_path, target)
        assert found == by_key(ENTRIES)
        assert [str(entry.address) for entry in found] == [str(entry.address) for entry in by_key(ENTRIES)]
        assert run("chart", "copy", source, target) == "53 entries: 0 written, 53 left\n"


def test_what_only_the_target_has_stays_unless_told_otherwise(run: Run, tmp_path: Path) -> None:
    filled(tmp_path, "sqlite:a.sqlite3", ENTRIES)
    was = [
        Entry(named("0")),
        Entry(named("known"), Binding(named("known"), Endpoint("10.0.0.9"), NOW)),
        Entry(named("zz")),
    ]
    filled(tmp_path, "xml:b.xml", was)
    said = run("chart", "copy", "sqlite:a.sqlite3", "xml:b.xml")
    assert "2 entries that only xml:b.xml has stay there; --prune removes them" in said
    assert held(tmp_path, "xml:b.xml") == by_key([*ENTRIES, was[0], was[2]])
    said = run("chart", "copy", "sqlite:a.sqlite3", "xml:b.xml", "--prune")
    assert said == "53 entries: 0 written, 53 left, 2 removed\n"
    assert held(tmp_path, "xml:b.xml") == by_key(ENTRIES)


def test_what_the_target_cannot_hold_is_named_and_the_rest_is_copied(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart_copy, "MAX_NAMED", 2)
    bad = [
        Entry(named(f"x{n}"), Binding(named(f"x{n}"), Endpoint("10.0.0.7"), NOW, owner="a\x01b")) for n in range(3)
    ]
    filled(tmp_path, "sqlite:a.sqlite3", [*ENTRIES, *bad])
    said = run("chart", "copy", "sqlite:a.sqlite3", "xml:b.xml", status=1).splitlines()
    assert len(said) == 3
    assert said[0].startswith("x0@office.lan: x0@office.lan: XML cannot hold the owner 'a\\x01b'")
    assert "3 entries are not in xml:b.xml as they are in sqlite:a.sqlite3" in said[2]
    assert held(tmp_path, "xml:b.xml") == by_key(ENTRIES)


def test_a_target_that_cannot_be_read_is_left_as_it_is(run: Run, tmp_path: Path) -> None:
    filled(tmp_path, "sqlite:a.sqlite3", ENTRIES)
    (tmp_path / "b.xml").write_text("<chart>\n half an edit")
    assert "b.xml, line 1, column 1" in run("chart", "copy", "sqlite:a.sqlite3", "xml:b.xml", status=1)
    assert (tmp_path / "b.xml").read_text() == "<chart>\n half an edit"


def test_what_cannot_be_copied_is_told(run: Run, tmp_path: Path) -> None:
    filled(tmp_path, "xml:a.xml", [])
    assert "there is no such chart" in run("chart", "copy", "sqlite:none.sqlite3", "xml:a.xml", status=1)
    assert not (tmp_path / "none.sqlite3").exists()
    assert "name two charts" in run("chart", "copy", "xml:a.xml", "xml:a.xml", status=1)
    assert "no such kind of chart" in run("chart", "copy", "xml:a.xml", "nosql:b", status=1)
    assert "refused by 127.0.0.1:1" in run("chart", "copy", "xml:a.xml", "http://127.0.0.1:1/c.xml", status=1)


def test_credentials_are_given_for_either_side(run: Run, tmp_path: Path, config: Path) -> None:
    filled(tmp_path, "sqlite:a.sqlite3", ENTRIES)
    (tmp_path / "password").write_text("secret")
    options = [*("--to-user", "lanpost"), *("--to-password-file", str(tmp_path / "password"))]
    with Wsgidav(tmp_path / "dav", user=("lanpost", "secret")) as server:
        assert "401" in run("chart", "copy", "sqlite:a.sqlite3", server.url, status=1)
        run("chart", "copy", "sqlite:a.sqlite3", server.url, *options)
        with config.open("a") as file:
            file.write(f'[chart]\nurl = "{server.url}"\nuser = "lanpost"\npassword_file = "{tmp_path}/password"\n')
        assert run("chart", "copy", server.url, "xml:b.xml") == "53 entries: 53 written, 0 left\n"


@pytest.mark.parametrize("form", ["csv", "json", "xml"])
def test_every_form_bears_details_and_all(run: Run, tmp_path: Path, form: str) -> None:
    filled(tmp_path, "sqlite:chart.sqlite3", ENTRIES)
    file = str(tmp_path / f"out.{form}")
    run("chart", "export", file)
    run("chart", "import", file)  # no harm
    before = run("chart", "list", "--json")
    (tmp_path / "chart.sqlite3").unlink()
    assert run("chart", "import", file) == "51 bindings imported, 2 known without an endpoint\n"
    assert run("chart", "list", "--json") == before
    assert json.loads(before)[0]["o"] == ["Acme | <Söhne>", "B"]


def test_a_broken_xml_file_is_refused_with_the_place(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "in.xml"
    file.write_text(
        '<chart xmlns="urn:lanpost:chart:1">\n<terminal address="a"/>\n<terminal address="b c"/>\n</chart>'
    )
    said = run("chart", "import", str(file), status=1)
    assert "in.xml, line 3, column 1: <terminal>: 'b c' is not a mail address" in said
    assert run("chart", "import", str(file), "--skip-bad").startswith("0 bindings imported, 1 known")
    file.write_text('<!DOCTYPE x SYSTEM "file:///etc/passwd"><chart/>')
    assert "no document type declaration" in run("chart", "import", str(file), status=1)
