"""A lanpost.pyz looked through: what is broken is named before anything is done with it."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from lanpost.content.archive import MANIFEST, Wheel, read_wheel, write_manifest
from lanpost.errors import StoreError
from lanpost.store.archive_file import check_archive, open_archive, publisher_signature, read_member, this_machine

WHEEL = b"a wheel" * 1000
NAME = "uvloop-0.23.0-cp311-cp311-manylinux_2_17_x86_64.whl"


def wheel(content: bytes = WHEEL, size: int | None = None) -> Wheel:
    return read_wheel(NAME, hashlib.sha256(content).hexdigest(), len(content) if size is None else size)


def archive(folder: Path, *, manifest: bytes | None = None, content: bytes | None = WHEEL) -> Path:
    if manifest is None:
        manifest = write_manifest("0.1.0", [(3, 11)], ["x86_64"], [wheel()])
    file = folder / "lanpost.pyz"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("lanpost/__init__.py", "pass\n")
        if manifest:
            made.writestr(MANIFEST, manifest)
        if content is not None:
            made.writestr(f"wheels/{NAME}", content)
    return file


def test_a_whole_one_is_taken(tmp_path: Path) -> None:
    assert check_archive(archive(tmp_path)) == open_archive(tmp_path / "lanpost.pyz")
    assert read_member(tmp_path / "lanpost.pyz", f"wheels/{NAME}") == WHEEL


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"content": None}, f"wheels/{NAME} is missing"),
        ({"content": b"b wheel" * 1000}, f"wheels/{NAME} is not the one that {MANIFEST} names"),
        ({"manifest": write_manifest("1", [(3, 11)], ["x86_64"], [wheel(size=1)])}, "is not the one that"),
        ({"manifest": b""}, "not a lanpost.pyz, or cut short"),
        ({"manifest": b"{"}, "cannot be read"),
    ],
)
def test_one_that_lacks_something_is_refused(made: dict[str, bytes | None], said: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=said):
        check_archive(archive(tmp_path, **made))


def test_every_octet_counts(tmp_path: Path) -> None:
    whole = archive(tmp_path).read_bytes()
    right = open_archive(tmp_path / "lanpost.pyz")
    broken = tmp_path / "broken.pyz"
    for place in range(0, len(whole), 97):
        broken.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with suppress(StoreError):  # nobody looks at some, as at the time of a member
            assert check_archive(broken) == right
        broken.write_bytes(whole[:place])
        with pytest.raises(StoreError, match="fetch or copy it anew"):
            check_archive(broken)


def test_a_file_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    for reading in (check_archive, open_archive):
        with pytest.raises(StoreError, match="No such file"):
            reading(tmp_path / "none.pyz")


def test_a_signature_that_is_none_is_told_of(tmp_path: Path) -> None:
    assert publisher_signature(tmp_path / "lanpost.pyz") == ""
    (tmp_path / "lanpost.pyz.publisher.sig").write_bytes(b"\xff")
    with pytest.raises(StoreError, match="not a signature of ssh-keygen"):
        publisher_signature(tmp_path / "lanpost.pyz")


def test_this_machine_is_told_by_what_its_python_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = this_machine()
    assert machine.python == sys.version_info[:2]
    assert machine.architecture == os.uname().machine
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert this_machine().architecture == f"{os.uname().machine} with a 32-bit Python"


@pytest.mark.parametrize("error", [ValueError("unrecognized configuration name"), OSError(22, "Invalid argument")])
def test_another_c_library_has_no_glibc(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def confstr(_name: str) -> str:
        raise error

    monkeypatch.setattr(os, "confstr", confstr)
    assert this_machine().glibc is None
