"""`lanpost rollback`: the version that was in force before, in force again. Standard library only.

Raises InstallationError and ServiceFailed; StoreError where the disk fails.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lanpost.app.install_checks import package_problem, root_problem, settings_of
from lanpost.app.services import services_of
from lanpost.app.switching import Say, back_to, prove, settle, switch
from lanpost.app.version_trial import COMMAND_SECONDS, check_configuration
from lanpost.errors import InstallationError
from lanpost.model.role import Role
from lanpost.store.files import store_error
from lanpost.store.installation import Installation, only_one
from lanpost.store.program_build import made_for


def roll_back(installation: Installation, say: Say, *, start: bool = True) -> list[str]:
    """Go back to `previous`, which then is what was in force. The answer: what is left to do by hand."""
    if installation.is_live and (problem := root_problem()):
        raise InstallationError(problem)
    if problem := package_problem(installation):
        raise InstallationError(problem)
    os.umask(0o022)
    try:
        with only_one(installation):
            return _roll_back(installation, say, start=start)
    except OSError as error:
        raise store_error(error, str(error.filename or installation.programs)) from None


def _roll_back(installation: Installation, say: Say, *, start: bool) -> list[str]:
    now, before = _between(installation)
    if now is None:
        raise InstallationError(
            f"nothing is installed in {installation.programs}: there is nothing to go back from"
        )
    if before is None or before == now:
        raise InstallationError(f"{now} is the only version here: install another one from its lanpost.pyz")
    settings = settings_of(installation)
    _check_runs(installation.folder(before), before)
    _check_reads(installation.folder(before), installation.place(str(settings.data)))
    services = services_of(installation)
    if installation.is_live and set(services.roles()) - {Role.AGENT}:
        folder = installation.folder(before)
        check_configuration(installation, folder, made_for(folder), before)
    installation.set_unproven(now)  # what is in force now is what to come back to, whatever was before it
    switch(installation, services, before, services.roles(), say)

    def go_back() -> str | None:
        back_to(installation, services, now)
        return now

    left = []
    if installation.is_live and start:
        left = prove(installation, services, services.roles(), settings, say, go_back)
    else:
        settle(installation)
    return left


def _between(installation: Installation) -> tuple[str | None, str | None]:
    """From which version to which. Whatever was broken off before is gone on with, or gone back from."""
    now, before, trial = installation.current(), installation.previous(), installation.unproven()
    if trial is None or trial == now:
        return now, before
    if before == now:  # a rollback was broken off once the link had been changed
        return trial, now
    return now, trial  # an installation was


_ASK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
try:
    from lanpost.store.formats import refusal
except ImportError:  # from before data folders had a format
    def refusal(data): return ""
print(refusal(Path(sys.argv[2])), end="")
"""


def _check_reads(folder: Path, data: Path) -> None:
    """The older version itself is asked whether it takes the data folder as the present one has left it."""
    done = _run(made_for(folder).path, "-I", "-c", _ASK, str(folder / "lib"), str(data))
    if why := done.stdout.strip() or done.stderr.strip():
        raise InstallationError(f"nothing is changed: {why}")


def _check_runs(folder: Path, version: str) -> None:
    """The older version was made for a Python that may have gone since."""
    done = _run(made_for(folder).path, "-I", str(folder / "bin/lanpost"), "version")
    if done.returncode:
        raise InstallationError(f"{version} does not start here any more: {done.stderr.strip()}")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, cwd="/"
        )
    except OSError as error:
        raise InstallationError(f"{command[0]} cannot be started: {error.strerror}") from None
