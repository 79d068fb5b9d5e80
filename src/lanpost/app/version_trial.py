"""A version that lies in its folder, tried before it is in force.

Standard library only. Raises InstallationError and ConfigurationError.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lanpost.app.service_user import USER
from lanpost.errors import ConfigurationError, InstallationError
from lanpost.store.installation import Installation
from lanpost.store.program_build import Interpreter

COMMAND_SECONDS = 60.0  # what a command of the new version may take


def said_by(folder: Path, *words: str) -> str:
    """What a command of the new version prints. InstallationError where it does not run here."""
    command = [sys.executable, "-I", str(folder / "bin/lanpost"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, cwd="/")
    if done.returncode:
        raise InstallationError(
            f"the new version does not start here: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


def check_configuration(
    installation: Installation, made: Path, interpreter: Interpreter, which: str = "the new version"
) -> None:
    """Configuration and data, by that version, as the user who will run it: before what runs is stopped.

    `which`: what to call it.
    """
    done = subprocess.run(
        [interpreter.path, "-I", str(made / "bin/lanpost"), "check", "--config", str(installation.configuration)],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
        cwd="/",
        user=USER,
        group=USER,
        extra_groups=[],
    )
    if done.returncode:
        raise ConfigurationError(f"{which} does not take the configuration or the data here: {done.stderr.strip()}")
