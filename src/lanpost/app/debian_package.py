"""The Debian package's program, put together on the machine that it is for: what its maintainer scripts call.

Decision 0057 says why. Standard library only: it runs straight from the package's lanpost.pyz. Raises
InstallationError and ServiceFailed; StoreError where the disk fails.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lanpost.app.install_checks import interpreter, place_problems, port_problems, root_problem, settings_of
from lanpost.app.services import PackagedUnits
from lanpost.app.switching import Say, back_to, prove
from lanpost.app.version_trial import check_configuration, said_by
from lanpost.errors import InstallationError, ServiceFailed
from lanpost.store.archive_file import check_archive, this_machine
from lanpost.store.files import store_error
from lanpost.store.installation import Installation, only_one
from lanpost.store.program_build import build, room_for, sync_all

AGAIN = "dpkg-reconfigure lanpost"  # runs postinst, which has it put together anew


def unpack(installation: Installation, archive: Path) -> None:
    """Put `archive` together for this machine's Python, and in force; whatever runs, runs on.

    It stays to be proven: see `start`. Where it does not fit here, what was in force stays so.
    """
    if problem := root_problem():
        raise InstallationError(problem)
    os.umask(0o022)
    manifest = check_archive(archive)
    wheels = manifest.wheels_for(this_machine())
    if found := list(place_problems(installation, room_for(archive, wheels))):
        raise InstallationError("; ".join(found))
    version, python = manifest.version, interpreter(installation)
    home = f"{installation.home}/{version}"
    try:
        with only_one(installation):
            installation.clean()
            made = installation.begin(version)
            try:
                build(archive, wheels, version, made, python, home, again=AGAIN, linked=True)
                said_by(made, "version")
                sync_all(made)
                check_configuration(installation, made, python)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
            before = installation.current()
            installation.put_in_place(made, version)
            if before not in (None, version) and installation.unproven() is None:
                installation.set_unproven(before)
            installation.set_current(version)
    except OSError as error:
        raise store_error(error, str(error.filename or installation.programs)) from None


def start(installation: Installation, say: Say) -> list[str]:
    """Start anew what is enabled or runs, and wait until it serves. The answer: what is left to do by hand.

    Where a new version does not come up, the one before is put in force again, started, and ServiceFailed tells.
    """
    if problem := root_problem():
        raise InstallationError(problem)
    with only_one(installation):
        left = _start(installation, say) if Path("/run/systemd/system").is_dir() else []
        installation.forget_previous()  # back and forth go by dpkg here
        installation.set_unproven(None)
        installation.clean()
    return left


def _start(installation: Installation, say: Say) -> list[str]:
    units, settings = PackagedUnits(installation), settings_of(installation)
    before, left, roles = installation.unproven(), [], []
    wanted = units.roles()
    if not wanted:
        left.append("no service is enabled: `systemctl enable --now lanpost` starts the mail server")
    for role in wanted:
        taken = [] if units.is_active(role) else list(port_problems(settings, [role]))
        if taken:
            left.append(f"{role} is not started: {'; '.join(taken)}; then start it with systemctl")
        else:
            roles.append(role)

    def go_back() -> str | None:
        if before is not None:
            back_to(installation, units, before)
        return before

    try:
        return left + prove(installation, units, roles, settings, say, go_back)
    except ServiceFailed as failed:
        if before is not None:
            raise
        return [*left, str(failed)]
