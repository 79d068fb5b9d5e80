"""What stands in the way of an installation: found before anything is touched, each with its remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from lanpost.app.config import parse
from lanpost.app.setting_values import Listen
from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError, InstallationError
from lanpost.model.role import Role
from lanpost.net.port_holders import Holder, holders, is_taken
from lanpost.store.installation import BY_HAND, PACKAGED, Installation
from lanpost.store.program_build import Interpreter, Room
from lanpost.store.program_file import FILE_NAME

DIRECTORY_PORT = Listen("0.0.0.0", 389)  # noqa: S104 - where `ldap.listen` names nothing (app/directory.py)
SYSTEMD_PID = 1  # keeps the sockets of a service that starts anew
_SYSTEM_PYTHON = "/usr/bin/python3"
_NOT_FOR_OTHERS = ("/root", "/home", "/tmp", "/run/user")  # noqa: S108


def interpreter(installation: Installation) -> Interpreter:
    """The Python that the service shall run on: this one; not that of a virtual environment, which may go.

    In an image it is the image's own, which must be of this one's version. Raises InstallationError where the
    service's user could not start it.
    """
    if not installation.is_live and installation.place(_SYSTEM_PYTHON).exists():
        return Interpreter(_SYSTEM_PYTHON, sys.version_info[:2])
    path = getattr(sys, "_base_executable", sys.executable) or sys.executable
    real = os.path.realpath(path)
    if sys.prefix != sys.base_prefix:
        path = real
    if installation.is_live and (
        hidden := next((folder for folder in _NOT_FOR_OTHERS if _is_below(real, folder)), "")
    ):
        raise InstallationError(
            f"this Python is {real}, and below {hidden} the service's user cannot rely on it: run the file with "
            "the system's own, as in: sudo /usr/bin/python3 lanpost.pyz install"
        )
    return Interpreter(path, sys.version_info[:2])


def root_problem() -> str:
    """Only root makes users, units and folders."""
    if os.geteuid() == 0:
        return ""
    return "only root can install: run it with sudo, or below a folder of your own with --root DIR"


def package_problem(installation: Installation) -> str:
    """A machine has its lanpost from one side: dpkg, or `lanpost install`."""
    if not installation.place(f"{PACKAGED}/{FILE_NAME}").exists():
        return ""
    return (
        f"lanpost is here as a Debian package, in {PACKAGED}: apt changes its version; to install it otherwise, "
        "first run `apt remove lanpost`, which keeps data and configuration"
    )


def package_remark(installation: Installation) -> str:
    """Where the package was removed and not purged."""
    if not installation.is_live or shutil.which("dpkg-query") is None:
        return ""
    asked = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", "lanpost"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.stdout != "config-files":
        return ""
    return (
        f"dpkg still counts {installation.configuration} as the removed package's: `apt purge lanpost` would take "
        "it away, so keep a copy before you say that; all else stays"
    )


def place_problems(installation: Installation, room: Room) -> Iterator[str]:
    """Whether programs can lie and run where they shall."""
    place = next(path for path in (installation.programs, *installation.programs.parents) if path.exists())
    if not place.is_dir():
        yield f"{place} is no folder: move it away"
        return
    system = os.statvfs(place)
    if system.f_flag & os.ST_RDONLY:
        yield f"{place} is on a file system that is mounted read-only: mount it for writing"
        return
    if not os.access(place, os.W_OK | os.X_OK):
        yield f"{place} cannot be written by this user: use sudo"
        return
    if system.f_flag & os.ST_NOEXEC:
        yield f"{place} is on a file system mounted with noexec, where no program runs: mount it without"
    free = system.f_bavail * system.f_frsize
    if free < room.octets:
        yield (
            f"{place}: {room.octets / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free: remove something, "
            "or mount a larger disk there"
        )
    if system.f_files > 0 and system.f_favail < room.files:  # no figure at all on btrfs and others
        yield f"{place}: {room.files} files are needed and room is for {system.f_favail} (inodes): remove some"


def command_problem(installation: Installation) -> str:
    """A program of that name that is somebody else's is not replaced; a link, as to a checkout, is."""
    command = installation.command
    if command.is_symlink() or not command.exists():
        return ""
    return f"{command} is there already and is no link of an installation: move it away, or remove what it is of"


def role_problems(roles: Collection[Role]) -> Iterator[str]:
    if Role.SERVE in roles and Role.DIRECTORY in roles:
        yield (
            "serve has registrar and directory inside: set ldap.listen in /etc/lanpost/lanpost.toml, or remove the "
            "one of them first with `lanpost uninstall --role serve` or `--role directory`"
        )


def settings_of(installation: Installation) -> Settings:
    """Those of the configuration that is there; else the default ones. Raises ConfigurationError."""
    file = installation.configuration
    if not file.exists():
        return Settings()
    try:
        return parse(file.read_text("utf-8"), file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}") from None


def port_problems(
    settings: Settings,
    roles: Sequence[Role],
    taken: Callable[[str, int], bool] = is_taken,
    held_by: Callable[[int], list[Holder]] = holders,
) -> Iterator[str]:
    """Each port that a role shall listen at and somebody else has. Our own running version may have it."""
    for key, listen in _listens(settings, roles):
        if not listen.port or not taken(listen.host, listen.port):
            continue
        found = held_by(listen.port)
        strangers = [holder for holder in found if not _is_ours(holder)]
        if found and len(strangers) < len(found):
            continue
        if not found:
            yield f"port {listen.port} is held by a process that cannot be seen from here: end it, or set {key}"
        else:
            yield f"port {listen.port} is held by {_named(strangers)}: {_remedy(strangers[0], key)}"


def _listens(settings: Settings, roles: Collection[Role]) -> Iterator[tuple[str, Listen]]:
    named: list[tuple[str, Sequence[Listen]]] = []
    if Role.SERVE in roles:
        named += [
            ("smtp.listen", settings.smtp.listen),
            ("submission.listen", settings.submission.listen),
            ("pop3.listen", settings.pop3.listen),
            ("ldap.listen", settings.ldap.listen),
        ]
    if Role.DIRECTORY in roles:
        named.append(("ldap.listen", settings.ldap.listen or (DIRECTORY_PORT,)))
    if Role.SERVE in roles or Role.DIRECTORY in roles:
        named.append(("http.listen", settings.http.listen))
    if Role.AGENT in roles and settings.agent.receive:
        everywhere = (Listen("0.0.0.0", settings.agent.port),)  # noqa: S104 - as `listen` says
        named.append(("agent.port", settings.agent.listen or everywhere))
    for key, listens in named:
        yield from ((key, listen) for listen in listens)


def _is_ours(holder: Holder) -> bool:
    return holder.pid == SYSTEMD_PID or any(
        word.startswith((f"{BY_HAND}/", f"{PACKAGED}/")) for word in holder.command
    )


def _named(found: Sequence[Holder]) -> str:
    return " and ".join(f"{holder.name} (pid {holder.pid})" for holder in found)


def _remedy(holder: Holder, key: str) -> str:
    stop = "end it"
    if Path("/run/systemd/system").is_dir() and (name := _unit_of(holder.pid)):
        stop = f"stop it (systemctl disable --now {name})"
    return f"{stop}, or set {key} in /etc/lanpost/lanpost.toml"


def _unit_of(pid: int) -> str:
    """The systemd service that a process belongs to."""
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text("ascii").splitlines()[-1].rpartition(":")[2]
    except (OSError, IndexError):
        return ""
    name = next((part for part in reversed(group.split("/")) if part.endswith(".service")), "")
    return name.removesuffix(".service")


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")
