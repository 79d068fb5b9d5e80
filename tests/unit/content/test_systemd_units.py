"""What systemd is told: units that it understands, and that leave little exposed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lanpost.content.systemd_units import ROLES, unit, unit_name

MOST_EXPOSED = 2.0  # of 10, as `systemd-analyze security` reckons


def analyze(*words: str | Path) -> str:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.fixture(params=ROLES)
def unit_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / unit_name(request.param)
    file.write_text(unit(request.param, "/usr/bin/env"))
    return file


@pytest.mark.peer
def test_systemd_finds_no_fault(unit_file: Path) -> None:
    assert unit_file.name not in analyze("verify", "--man=no", unit_file)


@pytest.mark.peer
def test_little_is_exposed(unit_file: Path) -> None:
    found = re.search(r"exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", unit_file))
    assert found
    assert float(found[1]) < MOST_EXPOSED


def test_program_and_role_are_started() -> None:
    assert "\nExecStart=/opt/x/lanpost directory\n" in unit("directory", "/opt/x/lanpost")
