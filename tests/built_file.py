"""lanpost.pyz of this checkout: `built(folder)`, or the fixture `pyz` (tests/conftest.py) for all of a run."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def built(folder: Path, version: str = "") -> Path:
    """`folder/lanpost.pyz`, built if it is not there yet: of several processes the first does. `version`: the one
    it is to call itself."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "lanpost.pyz"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            command = [sys.executable, "-m", "release", "--output", str(file)]
            subprocess.run([*command, *(["--version", version] if version else [])], cwd=ROOT, check=True)
    return file


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One that all workers of a test run have in common."""
    base = factory.getbasetemp()
    return base.parent if base.name.startswith("popen-gw") else base
