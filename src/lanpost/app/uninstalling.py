"""`lanpost uninstall`: services, program and links go; data and configuration stay, unless they are to go too.

Standard library only. Raises InstallationError; StoreError where the disk fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from lanpost.app.install_checks import package_problem, root_problem
from lanpost.app.service_user import HOME, USER, remove_user
from lanpost.app.services import services_of
from lanpost.app.surroundings import unlink_all
from lanpost.app.switching import Say
from lanpost.errors import InstallationError
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
    shutil.rmtree(installation.programs)
    if not purge:
        kept = [str(path) for path in (configuration, data) if path.exists()]
        if kept:
            say(f"kept: {', '.join(kept)}, and the user {USER} who owns the data; --purge removes them")
        return
    say(f"{data}, {configuration.parent} and the user {USER}: removed")
    for folder in (data, configuration.parent):
        if folder.exists():
            shutil.rmtree(folder)
    remove_user(installation)
