"""The services of an installation, by whatever starts services on this machine: systemd, init scripts, or nobody.

Their texts lie in each installed version (`share/systemd`, `share/init.d`), so that going back to a version brings
its own back with it. Below a root that is not this machine only files are written. Raises OSError and
InstallationError.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lanpost.content.init_script import init_script
from lanpost.content.systemd_units import unit, unit_name
from lanpost.errors import InstallationError, ServiceFailed
from lanpost.model.role import Role
from lanpost.store.files import replace_file, sync_folder
from lanpost.store.installation import Installation, point

PROGRAM = "/opt/lanpost/current/bin/lanpost"  # what services start
RESTART_SECONDS = 400.0  # systemd's own bound for stopping and for starting is below this
LOG_LINES = 10  # of a service that does not come up
_NOT_NOW = "policy-rc.d returned 101"  # deb-systemd-invoke, where nothing shall be started
_UNITS = "/etc/systemd/system"
_WANTED = f"{_UNITS}/multi-user.target.wants"
_SCRIPTS = "/etc/init.d"
_ROTATION = """\
/var/log/lanpost-*.log {
    weekly
    rotate 4
    compress
    copytruncate
    missingok
    notifempty
}
"""


class Services(Protocol):
    """All of them take roles in the order in which they are to be started."""

    @property
    def name(self) -> str:
        """Who starts services here, for people."""

    def roles(self) -> list[Role]:
        """Those that have a service here."""

    def start_command(self, role: Role) -> str:
        """What a person types to start it."""

    def put(self, roles: Sequence[Role], version: Path) -> None:
        """Write the services of these roles as a version has them.

        Those that are new here are to be started when the machine starts; of the others it stays as it was chosen.
        """

    def is_wanted(self, role: Role) -> bool:
        """Whether it is to run: somebody may have disabled it."""

    def restart(self, role: Role) -> None:
        """Start it anew and wait until it serves. ServiceFailed where it does not."""

    def remove(self, roles: Sequence[Role]) -> None:
        """Stop them, and take their services away."""


def services_of(installation: Installation) -> Services:
    """By whom services are started on this machine, or in this image of one."""
    if installation.is_live:
        by_systemd = Path("/run/systemd/system").is_dir()  # sd_booted(3)
        by_scripts = Path(_SCRIPTS).is_dir() and Path("/proc/1/comm").read_text("ascii").strip() == "init"
    else:
        by_systemd = any(installation.place(f"{usr}/lib/systemd/systemd").exists() for usr in ("", "/usr"))
        by_scripts = installation.place(_SCRIPTS).is_dir()
    if by_systemd:
        return Systemd(installation)
    return InitScripts(installation) if by_scripts else NoServices()


def start_command_here(role: Role, file: Path | None) -> str | None:
    """What starts this role's service on this machine; None where it has none that reads that configuration."""
    installation = Installation()
    services = services_of(installation)
    reads_it = file is None or file == installation.configuration
    return services.start_command(role) if reads_it and role in services.roles() else None


def write_service_files(version: Path) -> None:
    """What `put` will take, into the folder of a version that is being made."""
    for folder in ("systemd", "init.d"):
        (version / "share" / folder).mkdir(parents=True)
    for role in Role:
        texts = {f"systemd/{unit_name(role)}": unit(role, PROGRAM)}
        texts[f"init.d/{script_name(role)}"] = init_script(role, script_name(role), PROGRAM)
        for name, text in texts.items():
            (version / "share" / name).write_text(text, "utf-8")


def script_name(role: Role) -> str:
    """As the unit, without its ending: `lanpost`, `lanpost-agent`."""
    return unit_name(role).removesuffix(".service")


class Systemd:
    """Units in /etc/systemd/system."""

    name = "systemd"
    _invoke = "systemctl"  # what starts and stops

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def roles(self) -> list[Role]:
        return [role for role in Role if self._unit(role).exists()]

    def start_command(self, role: Role) -> str:
        return f"systemctl start {script_name(role)}"

    def put(self, roles: Sequence[Role], version: Path) -> None:
        self._unit(Role.SERVE).parent.mkdir(parents=True, exist_ok=True)
        fresh = [role for role in roles if not self._unit(role).exists()]
        for role in roles:
            replace_file(self._unit(role), (version / "share/systemd" / unit_name(role)).read_bytes(), 0o644)
            self._unit(role).chmod(0o644)
        if self._installation.is_live:
            self._systemctl("daemon-reload")
            if fresh:
                self._systemctl("enable", "--quiet", *map(unit_name, fresh))
            return
        self._installation.place(_WANTED).mkdir(exist_ok=True)
        for role in fresh:
            point(self._installation.place(_WANTED) / unit_name(role), f"{_UNITS}/{unit_name(role)}")

    def is_wanted(self, role: Role) -> bool:
        """Enabled, or running all the same."""
        enabled = _run("systemctl", "is-enabled", unit_name(role)).stdout.startswith("enabled")
        return enabled or self.is_active(role)

    def restart(self, role: Role) -> None:
        name = unit_name(role)
        _run("systemctl", "reset-failed", name)  # else a unit that failed too often is not even tried
        done = _run(self._invoke, "restart", name)
        if done.returncode == 0 and (self.is_active(role) or _NOT_NOW in done.stderr):
            return
        raise ServiceFailed(f"{name} does not come up", self._last_words(name))

    def is_active(self, role: Role) -> bool:
        return _run("systemctl", "is-active", "--quiet", unit_name(role)).returncode == 0

    def remove(self, roles: Sequence[Role]) -> None:
        for role in roles:
            if self._installation.is_live and self._unit(role).exists():
                self._systemctl("disable", "--quiet", "--now", unit_name(role))
            self._unit(role).unlink(missing_ok=True)
            (self._installation.place(_WANTED) / unit_name(role)).unlink(missing_ok=True)
        if self._installation.is_live:
            self._systemctl("daemon-reload")
            _run("systemctl", "reset-failed", *map(unit_name, roles))

    def _last_words(self, name: str) -> str:
        """Of this start alone, if it has said anything; else what systemd says of it."""
        start = _run("systemctl", "show", "--property", "InvocationID", "--value", name).stdout.strip()
        of_start = [f"_SYSTEMD_INVOCATION_ID={start}"] if start else []
        for whose in (of_start, ["--unit", name]):
            shown = _run("journalctl", *whose, "--lines", str(LOG_LINES), "--output", "cat", "--no-pager")
            if whose and not shown.returncode and shown.stdout.strip():
                return shown.stdout.strip()
        return ""

    def _unit(self, role: Role) -> Path:
        return self._installation.place(_UNITS) / unit_name(role)

    def _systemctl(self, *words: str) -> None:
        done = _run("systemctl", *words)
        if done.returncode:
            raise InstallationError(f"systemctl {' '.join(words)}: {_words(done)}")


class PackagedUnits(Systemd):
    """The Debian package's units: dpkg puts them where they are, the administrator enables what is wanted."""

    _invoke = "deb-systemd-invoke"  # asks policy-rc.d first

    def roles(self) -> list[Role]:
        return [role for role in Role if self.is_wanted(role)]

    def put(self, roles: Sequence[Role], version: Path) -> None:
        pass

    def remove(self, roles: Sequence[Role]) -> None:
        pass


class InitScripts:
    """Scripts in /etc/init.d, of sysvinit or, where they are numbered there, of BusyBox."""

    name = "init scripts"

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._folder = installation.place(_SCRIPTS)
        self._rotation = installation.place("/etc/logrotate.d/lanpost")

    def roles(self) -> list[Role]:
        return [role for role in Role if self._script(role).exists()]

    def start_command(self, role: Role) -> str:
        return f"/etc/init.d/{self._script(role).name} start"

    def put(self, roles: Sequence[Role], version: Path) -> None:
        if self._rotation.parent.is_dir():
            replace_file(self._rotation, _ROTATION.encode(), 0o644)
            self._rotation.chmod(0o644)
        for role in roles:
            text = (version / "share/init.d" / script_name(role)).read_bytes()
            replace_file(self._script(role), text, 0o755)
            self._script(role).chmod(0o755)
            self._update_rc(script_name(role), "defaults")

    def is_wanted(self, role: Role) -> bool:  # noqa: ARG002
        return True

    def restart(self, role: Role) -> None:
        done = _run(str(self._script(role)), "restart")
        if done.returncode:
            raise ServiceFailed(f"{self._script(role)} does not come up", _words(done))

    def remove(self, roles: Sequence[Role]) -> None:
        for role in roles:
            if self._installation.is_live and self._script(role).exists():
                done = _run(str(self._script(role)), "stop")
                if done.returncode:
                    raise InstallationError(f"{self._script(role)} stop: {_words(done)}")
            self._script(role).unlink(missing_ok=True)
            self._update_rc(script_name(role), "remove")
        if not self.roles():
            self._rotation.unlink(missing_ok=True)
        if self._folder.is_dir():
            sync_folder(self._folder)

    def _script(self, role: Role) -> Path:
        """BusyBox's init starts what begins with S and a number, in that order, and keeps no links elsewhere."""
        numbered = (self._folder / "rcS").exists() and any(self._folder.glob("S[0-9][0-9]*"))
        return self._folder / (f"S90{script_name(role)}" if numbered else script_name(role))

    def _update_rc(self, name: str, what: str) -> None:
        """The links in /etc/rc?.d; sysvinit alone has them."""
        if self._installation.is_live and shutil.which("update-rc.d"):
            _run("update-rc.d", name, what)


class NoServices:
    """Nobody starts services here, as in a container: its own start names the command."""

    name = "nobody"

    def roles(self) -> list[Role]:
        return []

    def start_command(self, role: Role) -> str:
        return f"{PROGRAM} {role}"

    def put(self, roles: Sequence[Role], version: Path) -> None:
        pass

    def is_wanted(self, role: Role) -> bool:  # noqa: ARG002
        return True

    def restart(self, role: Role) -> None:
        pass

    def remove(self, roles: Sequence[Role]) -> None:
        pass


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RESTART_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no end after {RESTART_SECONDS:.0f} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]}: {error.strerror}")


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}")[-2000:]
