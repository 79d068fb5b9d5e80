"""Files made durable."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lanpost.errors import StoreError, StoreFull
from lanpost.store.files import make_file_once, replace_file, store_error, sync_folder, write_new_file


def test_a_new_file_holds_all_chunks_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_new_file(path, [b"one", b"", b"two"]) == 6
    assert path.read_bytes() == b"onetwo"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_file_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    with pytest.raises(FileExistsError):
        write_new_file(path, [b"second"])
    assert path.read_bytes() == b"first"


def test_nothing_is_left_where_the_content_breaks_off(tmp_path: Path) -> None:
    def content() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the reader failed")

    with pytest.raises(RuntimeError):
        write_new_file(tmp_path / "file", content())
    assert list(tmp_path.iterdir()) == []


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data[:3])))
    assert write_new_file(tmp_path / "file", [b"ten octets"]) == 10
    assert (tmp_path / "file").read_bytes() == b"ten octets"


def test_replacing_leaves_one_file_with_the_new_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")
    replace_file(path, b"new")
    assert [(item.name, item.read_bytes()) for item in tmp_path.iterdir()] == [("file", b"new")]


def test_a_folder_that_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreError)]
)
def test_no_room_is_told_from_other_failures(number: int, kind: type[StoreError]) -> None:
    made = store_error(OSError(number, os.strerror(number)), "the mailbox of anna")
    assert type(made) is kind
    assert str(made).startswith("the mailbox of anna: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("write", [replace_file, make_file_once])
def test_what_root_writes_in_a_services_folder_is_the_services_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    """Else it could not be read if root is killed in between; and what had the name by then might be given away."""
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    owners: list[int] = []

    def watched(name: str) -> None:
        put = getattr(os, name)

        def put_in_place(source: Path, target: Path) -> None:
            owners.append(os.stat(source).st_uid)  # noqa: PTH116 - as it is given
            put(source, target)

        monkeypatch.setattr(os, name, put_in_place)

    for name in ("link", "replace"):
        watched(name)
    write(folder / "file", b"content")
    assert owners == [65534]
    assert (folder / "file").stat().st_uid == 65534
