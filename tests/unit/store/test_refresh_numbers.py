from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lanpost.errors import StoreError
from lanpost.store import refresh_numbers
from lanpost.store.refresh_key import FILE_NAME, RefreshKey
from lanpost.store.refresh_numbers import RefreshNumbers


def test_numbers_grow_and_are_on_disk_before_they_are_used(tmp_path: Path) -> None:
    numbers = RefreshNumbers(tmp_path, 1000)
    assert numbers.next() == (1000, 1)
    assert json.loads((tmp_path / "refresh.json").read_text()) == {"version": 1, "epoch": 1000, "sequence": 1}
    assert numbers.next(3) == (1000, 2)
    assert numbers.next() == (1000, 5)


def test_nothing_is_given_out_that_could_not_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = RefreshNumbers(tmp_path, 1000)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(refresh_numbers, "replace_file", full)
    with pytest.raises(StoreError):
        numbers.next()
    monkeypatch.undo()
    assert numbers.next() == (1000, 1)


@pytest.mark.parametrize("now", [1000, 0, 5000])
def test_each_opening_begins_a_greater_epoch_whatever_the_clock_says(tmp_path: Path, now: int) -> None:
    first = RefreshNumbers(tmp_path, 1000).next()
    assert RefreshNumbers(tmp_path, now).next() > first


def test_a_folder_restored_from_yesterday_uses_no_number_again(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    RefreshNumbers(tmp_path / "data", 1000).next()
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    lost = RefreshNumbers(tmp_path / "data", 1500).next(10)
    assert RefreshNumbers(tmp_path / "backup", 2000).next() > lost


def test_what_a_terminal_proves_to_know_is_counted_on_from(tmp_path: Path) -> None:
    numbers = RefreshNumbers(tmp_path, 1000)
    assert not numbers.raise_above((1000, 0))
    assert numbers.raise_above((7000, 3))
    assert numbers.next() == (7001, 1)
    assert RefreshNumbers(tmp_path, 0).next() == (7002, 1)


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "refresh.json").write_text('{"version": 1, "epoch": "x"}')
    with pytest.raises(StoreError, match=r"refresh\.json: cannot be read; remove it"):
        RefreshNumbers(tmp_path, 1000)


def test_the_key_is_made_once_by_whoever_comes_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = {key.public for key in threads.map(lambda _: RefreshKey.open(tmp_path / "tls"), range(16))}
    assert len(keys) == 1
    assert (tmp_path / "tls" / FILE_NAME).stat().st_mode & 0o777 == 0o600
    key = RefreshKey.open(tmp_path / "tls")
    assert key.made(key.sign(b"x"), b"x")
    assert not key.made(key.sign(b"x"), b"y")


def test_a_file_that_is_no_such_key_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("no key")
    with pytest.raises(StoreError, match="not an Ed25519 key"):
        RefreshKey.open(tmp_path)
