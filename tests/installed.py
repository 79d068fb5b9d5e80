"""A server run from an installation of lanpost.pyz, without root: its package in `lib`, the file beside that."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.program import Program


class InstalledProgram(Program):
    """`lanpost serve` from a folder laid out as `lanpost install` lays it out; libraries are those of the tests."""

    def __init__(self, folder: Path, pyz: Path, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(folder, settings)
        installation = folder / "installation"
        self.archive = installation / "lanpost.pyz"
        with zipfile.ZipFile(pyz) as archive:
            names = [name for name in archive.namelist() if name.startswith(("lanpost/", "lanpost-"))]
            archive.extractall(installation / "lib", names)
        shutil.copyfile(pyz, self.archive)
        self._environment["PYTHONPATH"] = str(installation / "lib")
