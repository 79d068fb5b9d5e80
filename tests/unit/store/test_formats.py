"""The format of a data folder: a newer one is never touched, an older one brought up to date by services only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import lanpost
from lanpost.content.chart_xml_text import NAMESPACE
from lanpost.errors import StoreError
from lanpost.model.token import PREFIX
from lanpost.store import accounts, chart_sqlite, formats, journal, last_deliveries
from lanpost.store.formats import claim, refusal, require, written_format
from lanpost.store.sqlite import Schema

OPENERS = pytest.mark.parametrize("opened", [claim, require])


def mark(data: Path, number: int, program: str = "9.1.0") -> bytes:
    data.mkdir(exist_ok=True)
    text = json.dumps({"format": number, "program": program, "of a later version": True}).encode()
    (data / formats.FILE_NAME).write_bytes(text)
    return text


def everything(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


@OPENERS
def test_a_new_folder_is_of_our_format(tmp_path: Path, opened: Callable[[Path], None]) -> None:
    data = tmp_path / "not/there"
    assert written_format(data) is None
    assert not refusal(data)
    opened(data)
    assert written_format(data) == formats.FORMAT
    assert json.loads((data / "format.json").read_bytes()) == {
        "format": formats.FORMAT,
        "program": lanpost.__version__,
    }
    assert data.stat().st_mode & 0o777 == 0o700


@OPENERS
def test_a_folder_of_a_newer_format_is_refused_and_not_touched(
    tmp_path: Path, opened: Callable[[Path], None]
) -> None:
    mark(tmp_path, formats.FORMAT + 1)
    (tmp_path / "accounts.sqlite3").write_bytes(b"of whatever kind")
    before = everything(tmp_path)
    with pytest.raises(StoreError) as caught:
        opened(tmp_path)
    text = str(caught.value)
    assert text == refusal(tmp_path)
    assert text.startswith(f"{tmp_path} is of format {formats.FORMAT + 1}, made by lanpost 9.1.0; this is lanpost ")
    assert f"reads format {formats.FORMAT} at most" in text
    assert "install lanpost 9.1.0 (or newer), or restore the backup" in text
    assert everything(tmp_path) == before


def test_a_folder_from_before_there_was_a_format_is_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    assert written_format(tmp_path) == formats.ORIGINAL


def test_only_a_service_brings_a_folder_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tls").mkdir()
    monkeypatch.setattr(formats, "FORMAT", 2)
    with pytest.raises(
        StoreError, match=r"is of format 1, this lanpost .* has 2: start the service of this version"
    ):
        require(tmp_path)
    assert written_format(tmp_path) == 1
    claim(tmp_path)
    assert written_format(tmp_path) == 2
    require(tmp_path)


@OPENERS
@pytest.mark.parametrize("text", ["", "[]", '{"format": "2"}', '{"format": 0}', '{"format": true}', "{}", "\x00"])
def test_a_mark_that_cannot_be_read_opens_nothing(
    tmp_path: Path, opened: Callable[[Path], None], text: str
) -> None:
    (tmp_path / "format.json").write_text(text)
    with pytest.raises(StoreError, match=r'format.json: cannot be read.*backup, or write \{"format": 1\} if'):
        opened(tmp_path)
    assert (tmp_path / "format.json").read_text() == text


def test_a_full_disk_does_not_keep_a_folder_of_our_format_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(formats, "replace_file", full)
    (tmp_path / "spool").mkdir()
    claim(tmp_path)
    require(tmp_path)
    monkeypatch.setattr(formats, "FORMAT", 2)
    with pytest.raises(StoreError, match="the disk is full"):
        claim(tmp_path)


# What the parts of a data folder were in each format. A part that changes so that an
# earlier version cannot read it raises formats.FORMAT, and gets a line here.
PARTS = {
    1: {
        "accounts": 3,
        "chart": 3,
        "last deliveries": 1,
        "journal": 1,
        "token": "lanpost1.",
        "XML chart": "urn:lanpost:chart:1",
    },
}


def test_no_part_changes_without_the_format() -> None:
    schemas: dict[str, Schema] = {
        "accounts": accounts.SCHEMA,
        "chart": chart_sqlite.SCHEMA,
        "last deliveries": last_deliveries.SCHEMA,
    }
    parts = {name: schema.version for name, schema in schemas.items()}
    others = {"journal": journal.FORMAT, "token": PREFIX, "XML chart": NAMESPACE}
    assert PARTS[formats.FORMAT] == {**parts, **others}


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / formats.FILE_NAME)
    with pytest.raises(StoreError, match=r"format\.json: cannot be read"):
        refusal(tmp_path)
