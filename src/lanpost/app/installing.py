"""`lanpost install`: checks, a version put together beside the others, everything around it, the switch, the proof.

Broken off anywhere, what ran runs on, and the same again completes it. Standard library only: it runs straight from
lanpost.pyz. Raises InstallationError and ServiceFailed; StoreError where the disk fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lanpost.app.default_file import default_file
from lanpost.app.install_checks import (
    command_problem,
    interpreter,
    package_problem,
    package_remark,
    place_problems,
    port_problems,
    role_problems,
    root_problem,
    settings_of,
)
from lanpost.app.service_user import USER, make_user
from lanpost.app.services import PROGRAM, NoServices, Services, services_of, write_service_files
from lanpost.app.settings import Settings
from lanpost.app.surroundings import link_all, write_texts
from lanpost.app.switching import Say, back_to, prove, roles_in_order, settle, switch
from lanpost.app.version_trial import check_configuration, said_by
from lanpost.content.archive import Archive, Wheel
from lanpost.errors import InstallationError, InvalidArchive
from lanpost.model.role import Role
from lanpost.store.archive_file import check_archive, this_machine
from lanpost.store.files import replace_file, store_error, sync_folder
from lanpost.store.formats import refusal
from lanpost.store.installation import Installation, only_one
from lanpost.store.program_build import Interpreter, build, room_for, sync_all


@dataclass(frozen=True, slots=True)
class Wish:
    """What to install, where. No `roles`: those that are there already, else the mail server."""

    roles: tuple[Role, ...] = ()
    domain: str | None = None
    start: bool = True


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that is known before anything is touched."""

    archive: Path
    manifest: Archive
    wheels: tuple[Wheel, ...]
    interpreter: Interpreter
    settings: Settings
    services: Services
    asked: tuple[Role, ...]  # to have a service after this
    domain: str


def install(installation: Installation, archive: Path, wish: Wish, say: Say) -> list[str]:
    """Install `archive`, a lanpost.pyz. The answer: what is left to do by hand, in words."""
    if installation.is_live and (problem := root_problem()):
        raise InstallationError(problem)
    if problem := package_problem(installation):
        raise InstallationError(problem)
    os.umask(0o022)
    say(f"{archive}: looked at")
    plan = _plan(installation, archive, wish)
    try:
        with only_one(installation):
            return _install(installation, plan, wish, say)
    except OSError as error:
        raise store_error(error, str(error.filename or installation.programs)) from None


def _plan(installation: Installation, archive: Path, wish: Wish) -> _Plan:
    manifest = check_archive(archive)
    python = interpreter(installation)
    services = services_of(installation)
    there = services.roles()
    asked = tuple(roles_in_order([*there, *(wish.roles or (() if there else (Role.SERVE,)))]))
    wheels = _wheels(manifest, asked)
    settings = settings_of(installation)
    domain = _domain(installation, settings, wish.domain)
    found = [*role_problems(asked), *place_problems(installation, room_for(archive, wheels))]
    if problem := command_problem(installation):
        found.append(problem)
    if problem := refusal(installation.place(str(settings.data))):
        found.append(problem)
    if installation.is_live and wish.start:
        found += port_problems(settings, asked)
    if found:
        raise InstallationError("; ".join(found))
    return _Plan(archive, manifest, wheels, python, settings, services, asked, domain)


def _wheels(manifest: Archive, roles: Sequence[Role]) -> tuple[Wheel, ...]:
    """An agent alone needs none of them, so it may go where no wheel fits."""
    try:
        return manifest.wheels_for(this_machine())
    except InvalidArchive:
        if set(roles) == {Role.AGENT} and this_machine().python in manifest.pythons:
            return ()
        raise


def _domain(installation: Installation, settings: Settings, wanted: str | None) -> str:
    if wanted is None:
        return settings.domain
    if installation.configuration.exists() and settings.domain != wanted.lower():
        raise InstallationError(
            f'{installation.configuration} is there and says domain = "{settings.domain}": change it there, or '
            "leave --domain away"
        )
    return wanted.lower()


def _install(installation: Installation, plan: _Plan, wish: Wish, say: Say) -> list[str]:
    version = plan.manifest.version
    installation.clean()
    say(f"{version} put together in {installation.programs}")
    made = installation.begin(version)
    try:
        build(plan.archive, plan.wheels, version, made, plan.interpreter, f"/opt/lanpost/{version}")
        write_service_files(made)
        say("tried: does it start here")
        write_texts(made, partial(said_by, made))
        sync_all(made)
        say(f"user {USER}, configuration and data folder")
        _make_folders(installation, plan)
        if installation.is_live and set(plan.asked) != {Role.AGENT}:
            check_configuration(installation, made, plan.interpreter, version)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    say(f"{installation.command}, completion and manual page")
    link_all(installation)
    replaced = installation.put_in_place(made, version)
    there = plan.services.roles()
    switch(installation, plan.services, version, plan.asked, say)

    def go_back() -> str | None:
        before = installation.unproven()
        if there and (fresh := [role for role in plan.asked if role not in there]):
            plan.services.remove(fresh)
        if before is not None:
            back_to(installation, plan.services, before)
        elif replaced is not None:
            installation.give_back(replaced, version)
            back_to(installation, plan.services, version)
            before = f"{version} as it was before"
        return before

    left = []
    if installation.is_live and wish.start:
        left = prove(installation, plan.services, plan.asked, plan.settings, say, go_back)
    else:
        settle(installation)
    if remark := package_remark(installation):
        left.append(remark)
    if isinstance(plan.services, NoServices):
        left += [
            f"nobody starts services here: start it with `{PROGRAM} {role}`, as the user {USER} with the right to "
            "listen at low ports, or as root of a container"
            for role in wish.roles or (Role.SERVE,)
        ]
    return left


def _make_folders(installation: Installation, plan: _Plan) -> None:
    owner = make_user(installation) if os.geteuid() == 0 else None
    configuration = installation.configuration
    configuration.parent.mkdir(0o755, parents=True, exist_ok=True)
    if not configuration.exists():
        replace_file(configuration, default_file(plan.domain).encode(), 0o644)
        configuration.chmod(0o644)
    data = installation.place(str(plan.settings.data))
    if not data.exists():
        data.mkdir(0o700, parents=True)
        if owner is not None:
            shutil.chown(data, *owner)
        sync_folder(data.parent)
