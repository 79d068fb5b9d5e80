"""What the chart in an XML file promises beyond the port: hand edits, broken ones, the file's own attributes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lanpost.errors import InvalidValue, StoreBusy, StoreError, StoreFull
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.service import chart_document
from lanpost.service.ports import Change
from lanpost.store import chart_xml_file
from lanpost.store.chart_xml_file import XmlFileChart

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)
HERE = Endpoint("10.0.0.7")
THERE = Endpoint("10.0.0.8")


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def bound(text: str, endpoint: Endpoint = HERE) -> Binding:
    return Binding(named(text), endpoint, NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "charts" / "chart.xml"


@pytest.fixture
def chart(file: Path) -> Iterator[XmlFileChart]:
    chart = XmlFileChart(file, "office.lan")
    yield chart
    chart.close()


def edit(file: Path, old: str, new: str) -> None:
    """As an editor does it: another file takes the name."""
    text = file.read_text("utf-8")
    assert old in text
    part = file.with_name("edited")
    part.write_text(text.replace(old, new), "utf-8")
    part.replace(file)


# --- edits by hand --------------------


def test_an_edit_takes_effect_at_the_next_question(chart: XmlFileChart, file: Path) -> None:
    chart.bind(bound("fax1"))
    seen = chart.last_change()
    edit(file, "10.0.0.7", "10.0.0.8")
    entry = chart.look_up(named("fax1"))
    assert entry
    assert entry.binding == bound("fax1", THERE)
    assert [address for _, address in chart.changes_since(seen)] == [named("fax1")]
    assert chart.bound_to(HERE) == []
    assert chart.bound_to(THERE) == [bound("fax1", THERE)]


def test_an_edit_in_place_takes_effect_too(chart: XmlFileChart, file: Path) -> None:
    chart.bind(bound("fax1"))
    file.write_text(file.read_text().replace("</chart>", '<terminal address="fax2"/></chart>'))
    assert chart.look_up(named("fax2")) == Entry(named("fax2"))


def test_a_file_written_wholly_by_hand_is_a_chart_and_is_written_on(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(
        '<chart xmlns="urn:lanpost:chart:1"><!-- mine -->'
        '<terminal address="b"><detail name="o">Acme</detail></terminal>'
        '<terminal address="a"><endpoint host="10.0.0.7"/></terminal></chart>'
    )
    os.utime(file, (NOW.timestamp(), NOW.timestamp()))
    chart = XmlFileChart(file, "office.lan")
    known = Entry(named("b"), None, Details.of([("o", "Acme")]))
    assert chart.entries() == [Entry(named("a"), bound("a")), known]  # since the file says so
    chart.add(named("c"))
    chart.close()
    again = XmlFileChart(file, "office.lan")
    assert again.entries() == [Entry(named("a"), bound("a")), known, Entry(named("c"))]
    again.close()


def test_a_broken_edit_leaves_the_last_good_chart_in_force_and_keeps_everybody_from_writing(
    chart: XmlFileChart, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart_xml_file, "GRACE_SECONDS", 0)
    chart.bind(bound("fax1"))
    good = file.read_bytes()
    edit(file, "</terminal>", "</terminl>")
    broken = file.read_bytes()
    for _ in range(3):
        assert chart.look_up(named("fax1")) == Entry(named("fax1"), bound("fax1"))
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "chart.xml, line 5, column " in errors[0]
    assert "mismatched tag" in errors[0]
    for write in (chart.add, chart.unbind, chart.remove):
        with pytest.raises(StoreError, match=r"chart\.xml, line 5, column .* until that is mended"):
            write(named("fax1"))
    assert file.read_bytes() == broken
    with pytest.raises(StoreError, match=r"chart\.xml, line 5"):
        XmlFileChart(file)
    file.write_bytes(good)
    chart.bind(bound("fax2"))
    assert len(chart.entries()) == 2


def test_an_editor_that_is_just_writing_is_not_complained_of(
    chart: XmlFileChart, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chart.bind(bound("fax1"))
    good = file.read_bytes()
    file.write_bytes(good[:-20])
    assert chart.look_up(named("fax1"))
    file.write_bytes(good)
    assert chart.look_up(named("fax1"))
    assert not caplog.records


def test_a_file_that_is_gone_changes_nothing_and_is_not_made_anew(chart: XmlFileChart, file: Path) -> None:
    chart.bind(bound("fax1"))
    away = file.rename(file.with_name("away"))
    assert chart.look_up(named("fax1"))
    with pytest.raises(StoreError, match="is gone; put it back"):
        chart.bind(bound("fax2"))
    assert not file.exists()
    away.rename(file)
    chart.bind(bound("fax2"))
    assert len(chart.entries()) == 2


def test_an_edit_at_the_very_moment_of_a_write_is_kept(
    chart: XmlFileChart, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart.bind(bound("fax1"))
    real = chart_document.text_of

    def edited_meanwhile(lines: list[str]) -> bytes:
        monkeypatch.setattr(chart_xml_file, "text_of", real)
        edit(file, "</chart>", '<terminal address="byhand"/></chart>')
        return real(lines)

    monkeypatch.setattr(chart_xml_file, "text_of", edited_meanwhile)
    chart.bind(bound("fax2"))
    assert [entry.address.local for entry in chart.entries()] == ["byhand", "fax1", "fax2"]
    assert list(file.parent.glob(".*")) == []


# --- the file --------------------


def test_mode_and_owner_stay(chart: XmlFileChart, file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o664)
    if os.geteuid() == 0:
        os.chown(file, 1234, 4321)
    before = file.stat()
    chart.bind(bound("fax1"))
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "etc" / "chart.xml"
    XmlFileChart(real).close()
    link = tmp_path / "chart.xml"
    link.symlink_to(real)
    chart = XmlFileChart(link, "office.lan")
    chart.bind(bound("fax1"))
    chart.close()
    assert link.is_symlink()
    assert "fax1" in real.read_text()


def test_a_write_that_finds_no_room_changes_nothing_and_leaves_nothing(
    chart: XmlFileChart, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart.bind(bound("fax1"))
    before = file.read_bytes()
    monkeypatch.setattr(chart_document, "MAX_DOCUMENT", 500)
    with pytest.raises(StoreFull, match="lanpost chart copy"):
        chart.bind_many(bound(f"fax{number}") for number in range(10))
    assert file.read_bytes() == before
    assert len(chart.entries()) == 1
    assert {path.name for path in file.parent.iterdir()} == {"chart.xml", "chart.xml.lock"}


def test_what_xml_cannot_hold_is_refused_and_the_transaction_with_it(chart: XmlFileChart) -> None:
    with pytest.raises(InvalidValue, match="cannot hold the owner"):
        chart.bind_many([bound("fax1"), Binding(named("fax2"), HERE, NOW, owner="\x00")])
    assert chart.entries() == []


def test_a_transaction_writes_the_file_once(chart: XmlFileChart, file: Path) -> None:
    inode = file.stat().st_ino
    with chart.transaction():
        chart.bind(bound("fax1"))
        chart.add(named("fax2"))
        assert file.stat().st_ino == inode
    assert len(chart.entries()) == 2


def test_a_process_that_keeps_the_lock_is_named(chart: XmlFileChart, file: Path) -> None:
    other = XmlFileChart(file, busy_seconds=0.01)
    with chart.transaction(), pytest.raises(StoreBusy, match=r"another process keeps chart\.xml\.lock"):
        other.add(named("fax1"))
    other.add(named("fax1"))
    other.close()


def test_readers_beside_a_writer_see_whole_charts(chart: XmlFileChart, file: Path) -> None:
    chart.bind_many(bound(f"fax{number}") for number in range(200))
    reader = XmlFileChart(file, "office.lan")
    ended = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not ended.is_set():
            seen.append(len({entry.binding.endpoint for entry in reader.entries("", 200) if entry.binding}))

    thread = threading.Thread(target=read)
    thread.start()
    for port in range(1, 30):
        chart.bind_many(bound(f"fax{number}", Endpoint("10.0.0.7", port)) for number in range(200))
    ended.set()
    thread.join()
    reader.close()
    assert set(seen) == {1}


# --- changes, for those who keep a copy --------------------


def test_every_change_is_fed_in_order_whoever_made_it(chart: XmlFileChart, file: Path) -> None:
    start = chart.last_change()
    chart.bind(bound("fax1"))
    chart.add(named("fax2"))
    other = XmlFileChart(file, "office.lan")
    other.remove(named("fax2"))
    other.describe(named("fax1"), Details.of([("l", "Room 3")]))
    told = chart.feed(start)
    assert told is not None
    by_address = {change.address.local: change.entry for change in told}
    assert by_address == {"fax1": other.look_up(named("fax1")), "fax2": None}
    numbers = [change.number for change in told]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == chart.last_change()
    assert chart.feed(numbers[0], 1) == [told[1]]
    assert chart.feed(numbers[-1]) == []
    assert chart.feed(start - 1) is None
    assert chart.feed(chart.last_change() + 1) is None
    assert other.generation() != chart.generation()
    other.close()


def test_details_and_knowledge_are_no_bindings_to_a_watcher(chart: XmlFileChart, file: Path) -> None:
    chart.bind(bound("fax1"))
    start = chart.last_change()
    chart.describe(named("fax1"), Details.of([("l", "Room 3")]))
    edit(file, "Room 3", "Room 4")
    edit(file, "</chart>", '<terminal address="fax2"/></chart>')
    assert chart.changes_since(start) == []
    other = XmlFileChart(file, "office.lan")
    other.bind(Binding(named("fax1"), HERE, NOW + timedelta(hours=1)))  # a renewal
    assert [address for _, address in chart.changes_since(start)] == [named("fax1")]
    other.close()


def test_numbers_go_on_growing_when_it_is_opened_again(chart: XmlFileChart, file: Path) -> None:
    chart.bind_many(bound(f"fax{number}") for number in range(100))
    again = XmlFileChart(file, "office.lan")
    assert again.last_change() > chart.last_change()
    again.close()


def test_too_many_removals_are_forgotten_and_that_is_told(
    chart: XmlFileChart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart_document, "REMOVED_KEPT", 3)
    for number in range(6):
        chart.bind(bound(f"fax{number}"))
    start = chart.last_change()
    for number in range(6):
        chart.remove(named(f"fax{number}"))
    assert chart.feed(start) is None
    last = chart.feed(chart.last_change() - 3)
    assert last is not None
    assert [(change.address.local, change.entry) for change in last] == [
        ("fax3", None),
        ("fax4", None),
        ("fax5", None),
    ]
    assert all(isinstance(change, Change) for change in last)
