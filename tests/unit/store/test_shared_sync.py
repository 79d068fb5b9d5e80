"""Folder syncs shared by those who wait at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from lanpost.store import shared_sync
from lanpost.store.shared_sync import SharedSync


def test_all_who_ask_during_a_sync_share_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    done: list[Path] = []

    def slow(folder: Path) -> None:
        began.set()
        assert go_on.wait(10)
        done.append(folder)

    monkeypatch.setattr(shared_sync, "sync_folder", slow)
    syncs = SharedSync()
    with ThreadPoolExecutor(11) as pool:
        first = pool.submit(syncs.sync, tmp_path)
        assert began.wait(10)
        others = [pool.submit(syncs.sync, tmp_path) for _ in range(10)]
        while syncs._turns[tmp_path].asked < 11:
            threading.Event().wait(0.001)
        go_on.set()
        wait([first, *others])
    assert done == [tmp_path, tmp_path]
    assert not syncs._turns


def test_a_failed_sync_is_told_and_tried_by_the_next(tmp_path: Path) -> None:
    syncs = SharedSync()
    with pytest.raises(FileNotFoundError):
        syncs.sync(tmp_path / "missing")
    syncs.sync(tmp_path)
    assert not syncs._turns
