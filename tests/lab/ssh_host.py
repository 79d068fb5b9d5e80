"""A lab machine with a real sshd, users with shells of all kinds, and another that `lanpost push` comes from.

There are no names to look up: "mail-host" and its like stand in the pusher's own ~/.ssh/config, as on a LAN without
DNS. Users of `sshd`: see LOGINS. What they install goes below a folder (`push --root`), not onto this system.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.lab.network import INTERFACE, NETWORK, SERVER, SOURCES, Lab, Node, Program, run

from lanpost.content.archive import MANIFEST, write_manifest
from lanpost.wire.push import BOOTSTRAP

NEEDED = ("sshd", "ssh", "ssh-keygen", "sudo", "fish", "tcsh", "dash", "busybox", "openssl")
SUDO_PASSWORD = "correct horse"
VERSION = "9.9.9"
PUSHER = f"{NETWORK}.10"

# Login shells, by the user's name; {folder} is one that all of them may read. A script becomes a shell in the end.
LOGINS = {
    "bash": "/bin/bash",
    "dash": "/bin/dash",
    "csh": "/bin/tcsh",
    "fish": "/usr/bin/fish",
    "ash": "{folder}/ash",
    "noisy": "printf 'Welcome!\\nThe disk is 90 %% full. '; echo a warning >&2; exec /bin/bash \"$@\"",
    "strict": 'umask 077; exec /bin/dash "$@"',
    "pythonless": 'PATH=/nonexistent exec /bin/dash "$@"',
    "old": 'PATH={folder}/old:$PATH exec /bin/dash "$@"',
    "riscv": 'PATH={folder}/riscv:$PATH exec /bin/dash "$@"',
    "full": 'PATH={folder}/full:$PATH exec /bin/dash "$@"',
    "shut": "/usr/sbin/nologin",
    "trusted": "/bin/bash",  # may become root without a password
    "asked": "/bin/bash",  # with SUDO_PASSWORD
}
# What is different about the python3 of some of them.
PYTHONS = {
    "old": 'sys.version_info = (3, 9, 2, "final", 0)',
    "riscv": 'platform.machine = lambda: "riscv64"',
    # The disk fills up after the look at it.
    "full": "os.statvfs = lambda _: types.SimpleNamespace(f_bavail=1 << 40, f_frsize=1)",
}
SSHD = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
MaxStartups 100
MaxAuthTries 3
LogLevel VERBOSE
"""
SSH = """
Host mail-host* directory-host
    HostName {server}
    HostKeyAlias lab
Host changed
    HostName {server}
    HostKeyAlias changed
Host new
    HostName {server}
    HostKeyAlias new
Host closed
    HostName {server}
    Port 2
Host nobody
    HostName {network}.99
    ConnectTimeout 1
Host *
    IdentityFile ~/.ssh/id
    IdentitiesOnly yes
"""


def require() -> None:
    """Skip, with the reason, where it cannot be set up."""
    if missing := [name for name in NEEDED if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]:
        pytest.skip(f"not installed: {', '.join(missing)}; scripts/install-peers installs them")


class SshLab:
    """The two machines: `server` with sshd, `pusher`. `root`: the folder that stands for the server's /."""

    def __init__(self, lab: Lab) -> None:
        require()
        self.lab = lab
        # Other users read in it, and pytest's own folders are root's alone.
        self.folder = Path(tempfile.mkdtemp(prefix="lanpost-push-"))
        lab.on_exit(lambda: shutil.rmtree(self.folder, ignore_errors=True))
        self.folder.chmod(0o755)
        self.server: Node = lab.server
        self.pusher: Node = lab.terminal("pusher")
        self.root = self.folder / "root"
        self.root.mkdir(mode=0o777)
        self.root.chmod(0o777)
        lab.batch(f"-n {self.pusher.namespace} addr add {PUSHER}/24 dev {INTERFACE}")
        self._make_keys()
        self._make_users()
        self._make_pusher()
        self._start_sshd()

    def push(self, host: str, file: Path, *options: str | Path, status: int = 0, given: str = "") -> str:
        """`lanpost push HOST`, below `root`, until it ends. What it said, both its outputs."""
        command = [*self.command(host, file), *map(str, options)]
        return self._run(command, status, given)

    def start_push(self, host: str, file: Path, *options: str) -> Program:
        """The same, which goes on running."""
        return self.pusher.start("push", *self.command(host, file), *options)

    def command(self, host: str, file: Path) -> list[str]:
        """What is started in the pusher's namespace."""
        words = [sys.executable, "-m", "lanpost", "push", *host.split(), "--file", str(file), "--role", "serve"]
        return ["env", f"PYTHONPATH={SOURCES}", *words, "--root", str(self.root)]

    def limit(self, rate: str) -> None:
        """How fast the pusher sends from now on, as "80mbit"; "": as fast as it can."""
        qdisc = ("tc", "qdisc", "replace", "dev", INTERFACE, "root")
        self.pusher.run(*qdisc, *(("tbf", "rate", rate, "burst", "64k", "latency", "50ms") if rate else ("pfifo",)))

    def on_server(self, *command: str | Path) -> str:
        """A command on the server, with what is mounted there alone; its standard output."""
        return run("nsenter", "-t", str(self._sshd.process.pid), "-m", *command)

    @contextmanager
    def small_disk(self, size: str) -> Iterator[None]:
        """The server has no more than this at `root`, as "1m"."""
        self.on_server("mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "none", self.root)
        try:
            yield
        finally:
            self.on_server("umount", self.root)

    @property
    def parts(self) -> list[Path]:
        """What lies there of files that are being pushed."""
        return sorted((self.root / "opt/lanpost/.push").glob("*.part"))

    def stages(self) -> list[int]:
        """Process ids of the first stages that run on the server now."""
        pids = map(int, run("ip", "netns", "pids", self.server.namespace).split())
        return [pid for pid in pids if BOOTSTRAP in _words_of(pid)]

    def _run(self, command: Sequence[str], status: int, given: str) -> str:
        program = self.pusher.start("push", *command, stdin=True)
        assert program.process.stdin
        program.process.stdin.write(given)
        program.process.stdin.close()
        program.process.stdin = None
        ended = program.process.wait(60)
        program.stop()
        said = "\n".join(program.lines)
        assert ended == status, f"{' '.join(command)}: status {ended}:\n{said}"
        return said

    def _make_keys(self) -> None:
        for name in ("host_key", "changed_key", "id"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name)
        shutil.copy(self.folder / "id.pub", self.folder / "authorized_keys")

    def _make_users(self) -> None:
        """Accounts of the server's alone: `ip netns exec` puts these files over those in /etc."""
        own = Path("/etc/netns") / self.server.namespace
        hashed = run("openssl", "passwd", "-6", SUDO_PASSWORD).strip()
        accounts, shadow = [], []
        for number, (name, shell) in enumerate(LOGINS.items()):
            accounts.append(f"{name}:x:{3000 + number}:65534::{self.folder}:{self._shell(name, shell)}")
            shadow.append(f"{name}:{hashed if name == 'asked' else '*'}:19000:0:99999:7:::")
        for name, added in (("passwd", accounts), ("shadow", shadow)):
            (own / name).write_text(Path("/etc", name).read_text() + "\n".join(added) + "\n")
        (own / "shadow").chmod(0o600)
        # As Debian has it: what sudo runs gets a terminal of its own, and its pipes stay as they are.
        (own / "sudoers").write_text(
            "Defaults use_pty\nDefaults env_reset\ntrusted ALL=(ALL) NOPASSWD: ALL\nasked ALL=(ALL) ALL\n"
        )
        (own / "sudoers").chmod(0o440)
        for name, prelude in PYTHONS.items():
            python = (
                'exec /usr/bin/python3 -I -c "import os, platform, sys, types; $PRELUDE; exec(sys.argv[1])" "$3"'
            )
            self._script(self.folder / name / "python3", python.replace("$PRELUDE", prelude.replace('"', '\\"')))
        (self.folder / "ash").symlink_to(shutil.which("busybox") or "")

    def _shell(self, name: str, shell: str) -> str | Path:
        shell = shell.replace("{folder}", str(self.folder))
        if shell.startswith("/"):
            return shell
        return self._script(self.folder / f"shell-{name}", shell)

    @staticmethod
    def _script(path: Path, text: str) -> Path:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/dash\n{text}\n")
        path.chmod(0o755)
        return path

    def _make_pusher(self) -> None:
        """Its root has a home, and in it all that ssh has to know."""
        home = self.folder / "home"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        shutil.copy(self.folder / "id", home / ".ssh/id")
        (home / ".ssh/config").write_text(SSH.format(server=SERVER, network=NETWORK))
        lines = [
            f"{alias} {' '.join((self.folder / f'{key}.pub').read_text().split()[:2])}"
            for alias, key in (("lab", "host_key"), ("changed", "changed_key"))
        ]
        (home / ".ssh/known_hosts").write_text("\n".join(lines) + "\n")
        accounts = Path("/etc/passwd").read_text().splitlines()
        others = [line for line in accounts if not line.startswith("root:")]
        own = Path("/etc/netns") / self.pusher.namespace / "passwd"
        own.write_text("\n".join([f"root:x:0:0:root:{home}:/bin/bash", *others]) + "\n")

    def _start_sshd(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, and no other, wants an empty folder
        configuration = self.folder / "sshd_config"
        configuration.write_text(SSHD.format(folder=self.folder))
        command = ("/usr/sbin/sshd", "-D", "-e", "-f", configuration)
        self._sshd = self.server.start("sshd", *command, number=signal.SIGKILL)
        self._sshd.wait_for("Server listening on 0.0.0.0")


def small_file(path: Path, *, octets: int = 0, install: str = "", version: str = VERSION) -> Path:
    """A lanpost.pyz whose `install` runs the given lines of Python, of at least so many octets."""
    lines = ["import os, sys", "root = sys.argv[sys.argv.index('--root') + 1]", "print('step one', flush=True)"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "a") as archive:
            pythons = [(3, minor) for minor in range(11, 20)]
            archive.writestr(MANIFEST, write_manifest(version, pythons, ["x86_64", "aarch64"], []))
            archive.writestr("padding", os.urandom(octets))
            archive.writestr("__main__.py", "\n".join([*lines, install, INSTALLING.format(version=version)]))
    return path


INSTALLING = """
os.makedirs(root + '/opt/lanpost/{version}', exist_ok=True)
with open(sys.path[0], 'rb') as file, open(root + '/opt/lanpost/{version}/lanpost.pyz', 'wb') as copy:
    copy.write(file.read())
signature = sys.path[0] + '.publisher.sig'
print('signed' if os.path.exists(signature) else 'not signed')
if not os.path.islink(root + '/opt/lanpost/current'):
    os.symlink('{version}', root + '/opt/lanpost/current')
print('ready:', *sys.argv[1:])
"""


def told(said: str) -> list[dict[str, object]]:
    """What `push --json` printed, behind what it said while it went on."""
    found: list[dict[str, object]] = json.loads(said[said.index("[\n") :])
    return found


def _words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
