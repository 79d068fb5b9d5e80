"""From one installed version to another: its services, the link `current`, a start; and back where that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lanpost.app import enrolment
from lanpost.app.services import Services
from lanpost.app.settings import Settings
from lanpost.errors import InstallationError, LanpostError, ServiceFailed
from lanpost.model.role import Role
from lanpost.store.installation import Installation

Say = Callable[[str], object]


def switch(
    installation: Installation,
    services: Services,
    version: str,
    roles: Sequence[Role],
    say: Say,
) -> None:
    """Put a version that lies in its folder in force, on trial. Nothing is started; whatever runs, runs on.

    `prove` or `settle` has to follow. Broken off before that, a repeat still knows what was in force before.
    """
    before = installation.current()
    say(f"services of {version} for {services.name}" if roles else f"no services: {services.name} starts any here")
    services.put(roles, installation.folder(version))
    if before is not None and before != version and installation.unproven() is None:
        installation.set_unproven(before)
    say(f"{version} in force")
    installation.set_current(version)


def prove(
    installation: Installation,
    services: Services,
    roles: Sequence[Role],
    settings: Settings,
    say: Say,
    go_back: Callable[[], str | None],
) -> list[str]:
    """Start each role anew and wait until it serves. The answer: what is left to do by hand.

    Where one does not come up, `go_back` puts what was before in force again and says what that is (None: there was
    nothing); it is started, and ServiceFailed tells all.
    """
    left = []
    for role in roles:
        if role is Role.AGENT and not knows_server(settings):
            left.append(
                "this terminal is not enrolled: run `lanpost terminal add ADDRESS` at the server, paste the line "
                f"that it prints here as root, then `{services.start_command(role)}`"
            )
            continue
        if not services.is_wanted(role):
            left.append(
                f"the service for {role} was disabled, and stays so; `{services.start_command(role)}` starts it"
            )
            continue
        say(f"{role}: started, waiting until it is ready")
        try:
            services.restart(role)
        except ServiceFailed as failed:
            raise _gone_back(services, roles, settings, say, go_back, failed) from None
    settle(installation)
    return left


def settle(installation: Installation) -> None:
    """What is in force stays; what was in force before is `previous`."""
    before = installation.unproven()
    if before is not None and before != installation.current():
        installation.set_previous(before)
    installation.set_unproven(None)
    installation.clean()


def knows_server(settings: Settings) -> bool:
    """Whether a terminal's agent can start: it is enrolled, or has a name to claim."""
    folder = settings.data / "agent"
    return bool(settings.agent.name) or any(
        (folder / name).exists() for name in (enrolment.FILE, enrolment.CLAIM_FILE)
    )


def back_to(installation: Installation, services: Services, version: str) -> None:
    """In force again, as if there had been nothing else since."""
    services.put(services.roles(), installation.folder(version))
    installation.set_current(version)
    installation.set_unproven(None)
    installation.clean()


def _gone_back(
    services: Services,
    roles: Sequence[Role],
    settings: Settings,
    say: Say,
    go_back: Callable[[], str | None],
    failed: ServiceFailed,
) -> InstallationError:
    """The error to raise, once what was before runs again."""
    told = f"{failed}" + (f"; its last words:\n{_indented(failed.log)}" if failed.log else "")
    version = go_back()
    if version is None:
        return ServiceFailed(f"{told}\nIt stays installed; when that is mended, start it again", failed.log)
    say(f"{version} in force again")
    for role in roles:
        if role not in services.roles() or not services.is_wanted(role):
            continue
        if role is Role.AGENT and not knows_server(settings):
            continue
        try:
            services.restart(role)
        except LanpostError as error:
            return ServiceFailed(
                f"{told}\nGone back to {version}, and that does not come up either: {error}", failed.log
            )
    return ServiceFailed(f"{told}\nGone back to {version}, which runs again", failed.log)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def roles_in_order(roles: Sequence[Role]) -> list[Role]:
    """A server is there before the agent that asks it."""
    return [role for role in Role if role in roles]
