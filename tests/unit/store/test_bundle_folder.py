"""Files brought to a stick that somebody else has prepared."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanpost.errors import StoreError
from lanpost.store.bundle_folder import BundleFolder, Content

CONTENT = Content.of(b"new")


def test_no_link_on_the_stick_leads_to_a_file_of_this_machine(tmp_path: Path) -> None:
    own, stick = tmp_path / "passwd", tmp_path / "stick"
    own.write_text("root")
    stick.mkdir()
    for name in ("file", ".file.part"):
        (stick / name).symlink_to(own)
    BundleFolder(stick).write("file", CONTENT)
    assert own.read_text() == "root"
    assert (stick / "file").read_bytes() == b"new"
    assert not (stick / "file").is_symlink()


def test_no_link_on_the_stick_leads_to_a_folder_of_this_machine(tmp_path: Path) -> None:
    own, stick = tmp_path / "etc", tmp_path / "stick"
    for folder in (own, stick):
        folder.mkdir()
    (stick / "documentation").symlink_to(own)
    with pytest.raises(StoreError, match="is a link to another place"):
        BundleFolder(stick).write("documentation/index.html", CONTENT)
    assert list(own.iterdir()) == []
    (stick / "documentation").unlink()
    BundleFolder(stick).write("documentation/index.html", CONTENT)
    assert (stick / "documentation/index.html").read_bytes() == b"new"
