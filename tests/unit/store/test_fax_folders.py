"""The folder of faxes: whole faxes, or nothing of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lanpost.errors import StoreError
from lanpost.store import fax_folders
from lanpost.store.fax_folders import FaxFolders


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[FaxFolders]:
    opened = FaxFolders(tmp_path / "faxes")
    yield opened
    opened.close()


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_fax_has_its_name_only_when_it_is_kept(folders: FaxFolders) -> None:
    fax = folders.receive("one")
    fax.write(b"Subject: x\r\n\r\n..dot\r\n")
    fax.finish_mail(b"Received: y\r\n").result()
    assert (fax.work / "mail.eml").read_bytes() == b"Received: y\r\nSubject: x\r\n\r\n.dot\r\n"
    assert names(folders.folder) == [".work"]
    assert fax.keep(b"{}").result() == folders.folder / "one"
    assert names(folders.folder) == [".work", "one"]
    assert folders.todos() == {"one": b"{}"}


def test_nothing_is_left_of_one_that_is_discarded(folders: FaxFolders) -> None:
    fax = folders.receive("one")
    for _ in range(10):
        if stored := fax.write(b"x" * 100_000 + b"\r\n"):
            stored.result()
    fax.finish_mail(b"").result()
    fax.discard().result()
    fax.discard().result()
    assert names(folders.folder / ".work") == ["todo"]


def test_a_fax_whose_name_cannot_be_made_durable_is_taken_back(
    folders: FaxFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender is not told 250 and sends it again: it must not be there twice."""
    fax = folders.receive("one")
    fax.finish_mail(b"").result()

    def fails(folder: Path) -> None:
        if folder == folders.folder:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(fax_folders, "sync_folder", fails)
    with pytest.raises(StoreError, match="Input/output error"):
        fax.keep(b"{}").result()
    assert names(folders.folder) == [".work"]


def test_what_is_to_be_done_is_kept_over_a_restart_as_long_as_the_fax_is(tmp_path: Path) -> None:
    for name in ("one", "two"):
        first = FaxFolders(tmp_path)
        fax = first.receive(name)
        fax.finish_mail(b"").result()
        fax.keep(b"1").result()
        first.write_todo(name, b"2").result()
        first.close()
    (tmp_path / "one" / "mail.eml").unlink()
    (tmp_path / "one").rmdir()
    again = FaxFolders(tmp_path)
    assert again.todos() == {"two": b"2"}
    again.remove_todo("two").result()
    assert again.todos() == {}
    again.close()


def test_a_folder_that_is_being_closed_takes_nothing(folders: FaxFolders) -> None:
    fax = folders.receive("one")
    folders.close()
    with pytest.raises(StoreError, match="is being closed"):
        fax.finish_mail(b"").result()
