"""Two builds of one source give one file, wherever and however they are made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.built_file import ROOT

SOURCES = ("src", "release", "docs", "deploy", "schemas", "bench", "fuzz", "requirements")


def test_the_same_bytes_come_from_another_folder_at_another_time_by_another_umask(
    pyz: Path, tmp_path: Path
) -> None:
    checkout = tmp_path / "elsewhere"
    checkout.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, checkout / name, copy_function=shutil.copyfile)
    for file in [*ROOT.glob("*.md"), ROOT / "pyproject.toml", ROOT / "LICENSE", ROOT / ".gitignore"]:
        shutil.copyfile(file, checkout / file.name)
    for folder, _, names in os.walk(checkout):
        for name in names:
            os.utime(Path(folder, name), (10**9, 10**9))
    again = tmp_path / "again.pyz"
    subprocess.run(
        [sys.executable, "-m", "release", "--output", again, "--cache", ROOT / ".make" / "wheels"],
        cwd=checkout,
        env={**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"},
        umask=0o077,
        check=True,
    )
    assert again.read_bytes() == pyz.read_bytes()


def test_a_build_is_checked_by_the_digest_beside_it(pyz: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--quiet", f"{pyz.name}.sha256"], cwd=pyz.parent, check=True)
