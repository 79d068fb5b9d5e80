"""The file `lanpost.pyz` on this machine: where ours is, and how to start this same program again.

Standard library only, and little of it: every command may ask.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lanpost

FILE_NAME = "lanpost.pyz"


def running_archive() -> Path | None:
    """The file that this program runs straight from; None where it is installed or run from a checkout."""
    archive = getattr(lanpost.__spec__ and lanpost.__spec__.loader, "archive", None)
    return Path(archive).resolve() if isinstance(archive, str) else None


def own_archive() -> Path | None:
    """The file that this program came in: the one it runs from, or the one kept beside it where it is installed."""
    if (running := running_archive()) is not None:
        return running
    beside = _installation() / FILE_NAME
    return beside if beside.is_file() else None


def own_command() -> list[str]:
    """How this same program is started again, by the same Python; arguments are to be added."""
    if (running := running_archive()) is not None:
        return [sys.executable, str(running)]
    script = _installation() / "bin" / "lanpost"
    if own_archive() is not None and script.is_file():
        return [sys.executable, "-I", str(script)]
    return [sys.executable, "-m", "lanpost"]


def import_path() -> str:
    """Where a Python started by us finds this package: PYTHONPATH for what is no command of ours."""
    running = running_archive()
    return str(running or Path(next(iter(lanpost.__path__))).resolve().parent)


def _installation() -> Path:
    """The folder that holds `lib` and `bin`, if this is an installation: the package is `lib/lanpost` there."""
    return Path(next(iter(lanpost.__path__))).resolve().parent.parent
