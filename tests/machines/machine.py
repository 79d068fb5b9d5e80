"""Whole machines: Debian 12 booted with systemd in a container each, on a LAN of their own that the test reaches.

    with MachineLan(tmp_path) as lan:
        host = lan.boot("mailhost")
        host.write("/etc/lanpost/lanpost.toml", "...")
        host.run("systemctl", "start", "lanpost")
        smtplib.SMTP(host.address)

Nothing of a machine outlives the `with`; what a killed run left is taken down by the next that gets its number.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
from tests.lab.network import PATIENCE, ROOT, Program, run

TREE = ROOT / ".make" / "machine"
NEEDED = ("ip", "nsenter", "setpriv", "systemd-nspawn")
PREFIX = "lanpost-machine"
INTERFACE = "lan0"
LANS = 200  # at a time, on one host; each has the network 10.213.NUMBER.0/24; Podman has 10.88.0.0/16
ENVIRONMENT = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")
SHOWN_LINES = 80  # of each machine's journal, when a test fails


def require() -> None:
    """Skip, with the reason, where no machine can be booted."""
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("machines need root")
    if not (TREE / "made").exists():
        pytest.skip("no machine to boot: sudo scripts/make-machine makes one")


class Machine:
    """One machine, running. Paths are its own; commands run in it as root, in a clean environment."""

    first_process: Sequence[str] = ("--boot",)  # as nspawn is told it

    def __init__(
        self, name: str, namespace: str, folder: Path, *, address: str = "", binds: Sequence[str] = ()
    ) -> None:
        """`namespace`: the network it is put into. `binds`: folders of the host's that it may read, "FROM:TO"."""
        self.name = name
        self.namespace = namespace
        self.address = address
        self._folder = folder
        self._binds = [f"--bind-ro={bind}" for bind in binds]
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._groups: list[Path] = []
        self._exit = ExitStack()

    # -- its life

    def boot(self) -> None:
        """Switch it on; returns when systemd has started everything. The disk is as it was left."""
        console = self._folder / "console"
        self._groups = _own_cgroup(self.namespace)
        files = " ".join(str(group / "cgroup.procs") for group in self._groups)
        with console.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),  # a test run that is killed leaves no machine running
                    *("sh", "-c", 'for file in $0; do echo $$ >"$file" || exit 1; done; exec "$@"', files),
                    *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe"),
                    *(f"--directory={self._disk}", f"--machine={self.name}", "--resolv-conf=off", *self._binds),
                    f"--network-namespace-path=/run/netns/{self.namespace}",
                    *self.first_process,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._leader = self._wait_for_leader(console)
        self._wait_until_up(console)

    def _wait_until_up(self, console: Path) -> None:
        self.wait_until(lambda: (self.root / "run/systemd/private").exists(), "systemd")
        state = self.run("systemctl", "is-system-running", "--wait", check=False).strip()
        assert state in ("running", "degraded"), f"{self.name} is {state}: {console.read_text(errors='replace')}"

    def power_off(self) -> None:
        """Shut it down in order."""
        assert self._nspawn
        self._nspawn.send_signal(signal.SIGTERM)  # nspawn asks its systemd to power off
        self._nspawn.wait(PATIENCE)
        self._leader = 0

    def stop(self) -> None:
        """Pull the plug; nothing in it runs on. Idempotent."""
        if self._nspawn is None:
            return
        if self._leader:
            with suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
        try:
            self._nspawn.wait(PATIENCE)
        finally:
            self._nspawn.kill()
            self._nspawn.wait()
        self._leader = 0

    def reboot(self) -> None:
        """Off, in order, and on again."""
        self.power_off()
        self.boot()

    def __enter__(self) -> Self:
        try:
            self._mount_disk()
            self._exit.callback(self._leave_cgroup)
            self._exit.callback(self.stop)
            self.boot()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Shown by pytest where the test fails: what one service misses, another may tell.
        if self._leader:
            print(f"--- {self.name}: its journal")
            print(self.run("journalctl", "--no-pager", "-o", "short-precise", f"-n{SHOWN_LINES}", check=False))
        self._exit.close()

    # -- what one does with it

    @property
    def root(self) -> Path:
        """Its / seen from here, with all that is mounted there; only while it runs."""
        return Path(f"/proc/{self._leader}/root")

    def run(self, *command: str | Path, check: bool = True, given: str = "", seconds: float = PATIENCE) -> str:
        """A command that ends by itself; its standard output, and its errors too where `check` is not wanted."""
        result = subprocess.run(
            self._within(command),
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if check else subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        shown = " ".join(map(str, command))
        assert not check or result.returncode == 0, (
            f"{self.name}: {shown}: status {result.returncode}: {result.stdout}{result.stderr}"
        )
        return result.stdout

    def start(self, name: str, *command: str | Path, stdin: bool = False) -> Program:
        """A command that goes on running, until the machine is off."""
        program = Program(f"{self.name}: {name}", self._within(command), stdin=stdin)
        self._exit.callback(program.stop)
        self._exit.callback(self.stop)  # first: what runs in there is no child of ours, and holds its output open
        return program

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of root's; its folder is made."""
        file = self._path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        file.chmod(mode)

    def read(self, path: str) -> str:
        """The text of a file."""
        return self._path(path).read_text("utf-8")

    def exists(self, path: str) -> bool:
        """Whether there is such a file, folder or link, wherever the link leads."""
        return os.path.lexists(self._path(path))

    def copy_in(self, file: Path, path: str, mode: int = 0o644) -> None:
        """A file of the host's; its folder is made."""
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(mode)

    def journal(self, unit: str) -> str:
        """What a service has said so far, without times."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)

    def wait_until(self, done: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Return when `done()` is true; fail the test when it does not come to be."""
        give_up = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < give_up, f"{self.name}: waited {seconds:.0f} s in vain for {what}"
            time.sleep(0.02)

    # -- how it is made

    @property
    def _disk(self) -> Path:
        return self._folder / "disk"

    def _path(self, path: str) -> Path:
        """Links within are followed as the machine follows them, wherever they start from."""
        assert path.startswith("/"), path
        found = self.root
        for part in Path(path).parts[1:-1]:
            found = found / part
            if found.is_symlink():
                target = found.readlink()
                found = self._path(str(target)) if target.is_absolute() else found.parent / target
        return found / Path(path).name

    def _within(self, command: Sequence[str | Path]) -> list[str | Path]:
        assert self._leader, f"{self.name} is off"
        return ["nsenter", "-t", str(self._leader), "-a", *ENVIRONMENT, *command]

    def _mount_disk(self) -> None:
        """The tree itself stays as it is: what changes goes into a layer above it."""
        layers = {name: self._folder / name for name in ("changes", "work")}
        for layer in (*layers.values(), self._disk):
            layer.mkdir(parents=True)
        self._exit.callback(shutil.rmtree, self._folder, ignore_errors=True)
        options = f"lowerdir={TREE},upperdir={layers['changes']},workdir={layers['work']}"
        mounted = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, self._disk], capture_output=True, text=True
        )
        if mounted.returncode:
            pytest.skip(f"no overlay here: {mounted.stderr.strip()}")
        self._exit.callback(run, "umount", "--lazy", self._disk)
        (self._disk / "etc/hostname").write_text(f"{self.name}\n")
        (self._disk / "etc/machine-id").write_text("")  # each makes its own

    def _leave_cgroup(self) -> None:
        for group in self._groups:
            for folder in sorted((*group.rglob("*/"), group), reverse=True):
                with suppress(OSError):
                    folder.rmdir()

    def _wait_for_leader(self, console: Path) -> int:
        """The pid of its systemd, seen from here."""
        assert self._nspawn
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        found: list[str] = []

        def started() -> bool:
            assert self._nspawn
            assert self._nspawn.poll() is None, f"{self.name} does not boot: {console.read_text(errors='replace')}"
            # Before the last step the child is nspawn's own helper.
            found[:] = [
                child
                for child in children.read_text().split()
                if Path(f"/proc/{child}/comm").read_text().strip() in ("systemd", "init")
            ]
            return bool(found)

        self.wait_until(started, "its first process")
        return int(found[0])


class MachineLan:
    """A LAN for machines, which the host is on too, at `host_address`. No router, no DHCP, no resolver."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exit = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        try:
            self.number, former = self._exit.enter_context(_number(self._folder))
            self._sweep(former)
            self.network = f"10.213.{self.number}"
            self.host_address = f"{self.network}.254"
            self.bridge = f"lpm{self.number}"
            run("ip", "link", "add", self.bridge, "type", "bridge")
            self._exit.callback(run, "ip", "link", "del", self.bridge)
            run("ip", "addr", "add", f"{self.host_address}/24", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def boot(self, name: str, *, binds: Sequence[str] = (), kind: type[Machine] = Machine) -> Machine:
        """One more machine, running, at an address of its own. `binds`: host folders it may read, "FROM:TO"."""
        self._count += 1
        namespace, port = f"{PREFIX}-{self.number}-{name}", f"{self.bridge}p{self._count}"
        address = f"{self.network}.{self._count}"
        run("ip", "netns", "add", namespace)
        self._exit.callback(run, "ip", "netns", "del", namespace)
        run("ip", "link", "del", port, check=False)  # a namespace that was given up is taken down a while later
        run("ip", "link", "add", port, "type", "veth", "peer", "name", INTERFACE, "netns", namespace)
        self._exit.callback(
            run, "ip", "link", "del", port
        )  # the namespace's own end comes some time after `netns del`
        run("ip", "link", "set", port, "master", self.bridge, "up")
        for words in (f"addr add {address}/24 dev {INTERFACE}", "link set lo up", f"link set {INTERFACE} up"):
            run("ip", "-n", namespace, *words.split())
        folder = self._folder / name
        return self._exit.enter_context(kind(name, namespace, folder, address=address, binds=binds))

    def _sweep(self, former: Path) -> None:
        """Take down what the last holder of this number left, because it was killed; `former` was its folder."""
        for disk in former.glob("*/disk"):
            run("umount", "--lazy", disk, check=False)
        for line in run("ip", "netns", "list").splitlines():
            if found := re.match(rf"{PREFIX}-{self.number}-\S+", line):
                run("ip", "netns", "del", found[0], check=False)
        for line in run("ip", "-brief", "link").splitlines():
            if found := re.match(rf"lpm{self.number}(p\d+)?(?=[@ ])", line):
                run("ip", "link", "del", found[0], check=False)


@contextmanager
def _number(folder: Path) -> Iterator[tuple[int, Path]]:
    """One that nobody else on this host holds, be it another test process or another checkout.

    With it comes the folder of the one who held it last; the next is told of `folder`.
    """
    for number in range(LANS):
        with (Path(tempfile.gettempdir()) / f"{PREFIX}-{number}.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            lock.seek(0)
            former = Path(lock.read() or "/nonexistent")
            lock.truncate(0)
            lock.write(str(folder))
            lock.flush()
            yield number, former
            return
    pytest.fail("every LAN for machines is taken")


def _own_cgroup(name: str) -> list[Path]:
    """A control group of its own, in each hierarchy that systemd uses: two systemds must not share one."""
    groups = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            groups.append(Path(place) / name)
            groups[-1].mkdir(exist_ok=True)
    return groups
