"""`lanpost chart copy`: a chart moved between kinds; and the XML form of import and export."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram
from tests.slapd import Slapd
from tests.webdav_servers import Wsgidav

from lanpost.app import chart_copy
from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.cli.main import main
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import Chart

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


class Kinds:
    """A chart of every kind, by URL, and how each is logged in to."""

    def __init__(self, folder: Path, document: str, slapd: Slapd, ours: DirectoryProgram) -> None:
        self.folder = folder
        self.slapd = f"{slapd.url}/{slapd.base}"
        self.ours = f"{ours.url}/{BASE}"
        self.urls = ["sqlite:a.sqlite3", "xml:b.xml", document, self.slapd, self.ours]
        self.logins: dict[str, dict[str, Any]] = {}
        for url, name, password in ((self.slapd, slapd.bind_dn, slapd.password), (self.ours, ADMIN, PASSWORD)):
            file = folder / f"{url.rpartition(':')[2].partition('/')[0]}.password"
            file.write_text(password)
            self.logins[url] = {"bind_dn": name, "password_file": str(file)}

    def words(self, source: str, target: str) -> list[str]:
        """`lanpost chart copy` of the two."""
        options = [
            word
            for side, url in (("from", source), ("to", target))
            for key, value in self.logins.get(url, {}).items()
            for word in (f"--{side}-{key.replace('_', '-')}", value)
        ]
        return ["chart", "copy", source, target, *options]

    def hold(self, url: str, entries: list[Entry]) -> None:
        """Have it hold these entries and no others."""

        async def fill() -> None:
            chart = self._open(url)
            for entry in [each async for each in chart.entries()]:
                await chart.remove(entry.address)
            for entry in entries:
                await (chart.bind(entry.binding) if entry.binding else chart.add(entry.address))
                if entry.details:
                    await chart.describe(entry.address, entry.details)
            await chart.close()

        asyncio.run(fill())

    def held(self, url: str) -> list[Entry]:
        async def ask() -> list[Entry]:
            chart = self._open(url)
            found = [entry async for entry in chart.entries()]
            await chart.close()
            return found

        return asyncio.run(ask())

    def _open(self, url: str) -> Chart:
        return open_chart(Settings(data=self.folder, chart=ChartSettings(url=url, **self.logins.get(url, {}))))


@pytest.fixture
def kinds(tmp_path: Path, document: str) -> Iterator[Kinds]:
    with Slapd() as slapd, DirectoryProgram(tmp_path / "directory") as ours:
        ours.add_user("anna", "correct horse battery")
        yield Kinds(tmp_path, document, slapd, ours)


@pytest.mark.peer
def test_every_kind_is_copied_into_every_other_as_it_was(run: Run, kinds: Kinds) -> None:
    entries = by_key(ENTRIES[:6])
    kinds.hold("sqlite:a.sqlite3", entries)
    full = {"sqlite:a.sqlite3"}
    # Each is filled by another before it is a source.
    for source, target in permutations(kinds.urls, 2):
        assert source in full
        kinds.hold(target, [])
        assert run(*kinds.words(source, target)) == "6 entries: 6 written, 0 left\n", (source, target)
        full.add(target)
        assert kinds.held(target) == entries, (source, target)
        assert [str(each.address) for each in kinds.held(target)] == [str(each.address) for each in entries]
        assert run(*kinds.words(source, target)) == "6 entries: 0 written, 6 left\n", (source, target)


@pytest.mark.peer
def test_what_a_directory_cannot_hold_is_named_and_the_rest_is_copied(run: Run, kinds: Kinds) -> None:
    at = Endpoint("10.0.0.9")
    bad = {
        "two-names": Entry(named("two-names"), None, Details.of([("displayName", "A"), ("displayName", "B")])),
        "umlaut": Entry(named("umlaut"), None, Details.of([("telephoneNumber", "+49 ü")])),
        "a  b": Entry(named('"a  b"'), Binding(named('"a  b"'), at, NOW)),
        "anna": Entry(named("anna"), Binding(named("anna"), at, NOW)),
    }
    good = [*ENTRIES[:6], Entry(named('"a b"'), Binding(named('"a b"'), at, NOW))]
    kinds.hold("sqlite:a.sqlite3", [*good, *bad.values()])
    for target, expected in (
        (
            kinds.slapd,
            {
                "two-names": "constraint violation (displayName",
                "umlaut": "invalid attribute syntax (telephoneNumber",
                "a  b": "is there for a b@office.lan already",
            },
        ),
        (
            kinds.ours,
            {"two-names": "constraint violation (displayName has one value)", "anna": "is a person's mailbox here"},
        ),
    ):
        # Before those that are refused in one go with others, and those refused alone.
        kinds.hold(target, [Entry(named('"a b"'))])
        said = run(*kinds.words("sqlite:a.sqlite3", target), status=1)
        for name, why in expected.items():
            assert [
                line for line in said.splitlines() if line.startswith(str(bad[name].address)) and why in line
            ], said
        assert f"{len(expected)} entries are not in {target} as they are in sqlite:a.sqlite3" in said
        taken = [bad[name] for name in bad if name not in expected]
        known = [Entry(bad[name].address) for name in expected if bad[name].details]
        assert kinds.held(target) == by_key([*good, *taken, *known])


@pytest.mark.peer
def test_entries_that_only_a_directory_has_are_removed_when_told(run: Run, kinds: Kinds) -> None:
    kinds.hold("sqlite:a.sqlite3", ENTRIES[:3])
    for target in (kinds.slapd, kinds.ours):
        kinds.hold(target, ENTRIES[2:6])
        said = run(*kinds.words("sqlite:a.sqlite3", target), "--prune")
        assert said == "3 entries: 2 written, 1 left, 3 removed\n"
        assert kinds.held(target) == by_key(ENTRIES[:3])


def test_a_bar_is_shown_to_people_and_to_nobody_else(tmp_path: Path, config: Path) -> None:
    filled(tmp_path, "sqlite:a.sqlite3", ENTRIES)
    command = [sys.executable, "-m", "lanpost", "chart", "copy", "sqlite:a.sqlite3", "--config", str(config)]
    quiet = subprocess.run([*command, "xml:b.xml"], capture_output=True, text=True, timeout=60, check=True)
    assert (quiet.stdout, quiet.stderr) == ("53 entries: 53 written, 0 left\n", "")
    terminal, end = pty.openpty()
    shown = subprocess.run([*command, "xml:c.xml"], stdout=subprocess.PIPE, stderr=end, timeout=60, check=True)
    os.close(end)
    assert shown.stdout == b"53 entries: 53 written, 0 left\n"
    seen = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "Copying" in seen
    assert "100%" in seen


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
