"""`lanpost uninstall`: services, program and links go; data and configuration stay, unless they are to go too.

Standard library only. Raises InstallationError; StoreError where the disk fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lanpost.app.install_checks import package_problem, root_problem, settings_of
from lanpost.app.service_user import HOME, USER, remove_user
from lanpost.app.services import services_of
from lanpost.app.surroundings import unlink_all
from lanpost.app.switching import Say
from lanpost.errors import ConfigurationError, InstallationError
from lanpost.model.role import Role
from lanpost.store.files import store_error
from lanpost.store.installation import Installation, only_one


def uninstall(installation: Installation, roles: Sequence[Role], say: Say, *, purge: bool = False) -> None:
    """Take away the services of `roles`; with the last of them, or where none is named, the program too."""
    if installation.is_live and (problem := root_problem()):
        raise InstallationError(problem)
    if problem := package_problem(installation):
        raise InstallationError(problem)
    services = services_of(installation)
    there = services.roles()
    if missing := [role for role in roles if role not in there]:
        raise InstallationError(
            f"no service {missing[0]} is installed here; there is: {', '.join(there) or 'none'}"
        )
    staying = [role for role in there if roles and role not in roles]
    if staying and purge:
        raise InstallationError(
            f"{', '.join(staying)} needs configuration and data: leave --purge away, or --role to remove everything"
        )
    try:
        with only_one(installation):
            for role in roles or there:
                say(f"{role}: stopped and removed")
                services.remove([role])
            if not staying:
                _remove_program(installation, say, purge=purge)
    except OSError as error:
        raise store_error(error, str(error.filename or installation.programs)) from None


def _remove_program(installation: Installation, say: Say, *, purge: bool) -> None:
    unlink_all(installation)
    data, configuration = installation.place(HOME), installation.configuration
    say(f"{installation.programs}: removed")
    if left := installation.remove():
        say(f"kept: {', '.join(map(str, left))}, which is no part of the program")
    if not purge:
        kept = [str(path) for path in (configuration, data) if path.exists()]
        if kept:
            say(f"kept: {', '.join(kept)}, and the user {USER} who owns the data; --purge removes them")
        return
    say(f"{data}, {configuration.parent} and the user {USER}: removed")
    if (elsewhere := _data_elsewhere(installation)) is not None:
        say(f"kept: {elsewhere}, which the configuration names: remove it by hand")
    for folder in (data, configuration.parent):
        _remove_folder(folder, say)
    for log in installation.place("/var/log").glob("lanpost-*.log*"):
        log.unlink()
    remove_user(installation)


def _remove_folder(folder: Path, say: Say) -> None:
    """A link goes and what it leads to stays; a file system mounted there is emptied, and stays."""
    if folder.is_symlink():
        say(f"kept: {folder.resolve()}, to which {folder} has led: remove it by hand")
        folder.unlink()
    elif folder.is_mount():
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        say(f"kept: {folder}, now empty: a file system is mounted there")
    elif folder.exists():
        shutil.rmtree(folder)


def _data_elsewhere(installation: Installation) -> Path | None:
    """A folder that somebody chose may hold more than ours."""
    try:
        data = settings_of(installation).data
    except ConfigurationError:
        return None
    return data if str(data) != HOME and installation.place(str(data)).exists() else None
