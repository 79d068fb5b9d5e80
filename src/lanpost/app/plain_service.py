"""A service started by an init script: no systemd watches it, so what is needed of that is here.

It runs as the user `lanpost`, may listen at ports below 1024, writes its log to a file. `start` returns once it
serves. Nobody starts it again if it dies. Raises InstallationError, ServiceFailed, OSError.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from lanpost.app.service_user import USER, become
from lanpost.app.services import PROGRAM
from lanpost.errors import InstallationError, ServiceFailed
from lanpost.model.role import Role
from lanpost.store.program_file import own_command

READY_SECONDS = 60.0  # a server reads its spool first
STOP_SECONDS = 45.0  # more than a server takes to drain
LOG_OCTETS = 16 * 2**20  # a log that is longer is set aside at the next start
LOG_TAIL = 3000  # octets shown of a log
_LOOK_SECONDS = 0.2


class PlainService:
    """The service of one role on this machine. `run` and `log` are folders."""

    def __init__(self, role: Role, run: Path = Path("/run"), log: Path = Path("/var/log")) -> None:
        self._role = role
        self._pid_file = run / f"lanpost-{role}.pid"
        self._notify = run / f"lanpost-{role}.notify"
        self._log = log / f"lanpost-{role}.log"

    def pid(self) -> int | None:
        """Of the running service; a number that has become another process's is none."""
        try:
            pid = int(self._pid_file.read_text("ascii"))
        except (OSError, ValueError):
            return None
        # As `_spawn` starts it. What ends in `lanpost service start serve` is whoever asks.
        *_, program, role = ["", "", *_words(pid)]
        return pid if role == self._role and "lanpost" in program else None

    def start(self) -> None:
        """Start it, if it does not run, and return once it serves."""
        if os.geteuid() != 0:
            raise InstallationError("only root can start it as another user: use sudo")
        if self.pid() is not None:
            return
        begun = self._log_size()
        with self._news() as news:
            process = self._spawn()
            self._pid_file.write_text(f"{process.pid}\n", "ascii")
            ready = self._is_ready(news, lambda: process.poll() is None)
        if not ready:
            self._failed(f"status {process.returncode}", begun)

    def restart(self) -> None:
        """Start the version in force anew, and return once it serves.

        A server is started in the process that it is: who connects meanwhile waits, and is not refused. One whose
        configuration is not in order runs on as it is, and InstallationError says why.
        """
        pid = self.pid()
        if pid is None or self._role is Role.AGENT:
            self.stop()
            self.start()
            return
        self._check_configuration()
        begun = self._log_size()
        with self._news() as news:
            os.kill(pid, signal.SIGUSR2)
            ready = self._is_ready(news, lambda: _lives(pid))
        if not ready:
            self._failed("an error", begun)

    def stop(self) -> None:
        """End it, if it runs, and return when it has."""
        if (pid := self.pid()) is None:
            self._pid_file.unlink(missing_ok=True)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            give_up = time.monotonic() + STOP_SECONDS
            while _lives(pid):
                if time.monotonic() > give_up:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        self._pid_file.unlink(missing_ok=True)

    def reload(self) -> None:
        """Have it read its configuration again."""
        if (pid := self.pid()) is None:
            raise InstallationError(f"lanpost {self._role} does not run")
        os.kill(pid, signal.SIGHUP)

    def _check_configuration(self) -> None:
        done = subprocess.run(
            [*_command(), "check"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=READY_SECONDS,
            check=False,
            cwd="/",
            preexec_fn=lambda: become(USER),
        )
        if done.returncode:
            raise InstallationError(f"lanpost {self._role} runs on as it is: {done.stderr.strip()}")

    def _failed(self, how: str, begun: int) -> NoReturn:
        ended = self.pid() is None
        self.stop()
        why = f"ended with {how}" if ended else f"is not ready after {READY_SECONDS:.0f} s"
        raise ServiceFailed(f"lanpost {self._role} {why}; its log is {self._log}", self._said_since(begun))

    @contextlib.contextmanager
    def _news(self) -> Iterator[socket.socket]:
        """Where the service tells that it is ready; nobody else's user can."""
        self._notify.unlink(missing_ok=True)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
                news.settimeout(_LOOK_SECONDS)
                before = os.umask(0o177)
                try:
                    news.bind(str(self._notify))
                finally:
                    os.umask(before)
                shutil.chown(self._notify, USER)
                yield news
        finally:
            self._notify.unlink(missing_ok=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in ("LANG", "TZ") if name in os.environ}
        environment |= {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "NOTIFY_SOCKET": str(self._notify),
        }
        if self._log_size() > LOG_OCTETS:
            self._log.replace(self._log.with_suffix(".log.old"))
        handle = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            return subprocess.Popen(
                [*_command(), self._role],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                cwd="/",
                env=environment,
                start_new_session=True,
                umask=0o077,
                preexec_fn=lambda: become(USER),
            )
        finally:
            os.close(handle)

    def _is_ready(self, news: socket.socket, lives: Callable[[], bool]) -> bool:
        give_up = time.monotonic() + READY_SECONDS
        while lives() and time.monotonic() < give_up:
            with contextlib.suppress(TimeoutError):
                if "READY=1" in news.recv(4096).decode("utf-8", "replace").splitlines():
                    return True
        return False

    def _log_size(self) -> int:
        return self._log.stat().st_size if self._log.exists() else 0

    def _said_since(self, begun: int) -> str:
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(begun, end - LOG_TAIL))
            return log.read().decode("utf-8", "replace").strip()
        return ""


def _command() -> list[str]:
    """By the path that leads to the version in force, also to one that is installed later."""
    own = own_command()
    return [*own[:-1], PROGRAM] if own[-1] == str(Path(PROGRAM).resolve()) else own


def _words(pid: int) -> list[str]:
    """What a process was started with."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def _lives(pid: int) -> bool:
    """A child of ours that has ended is waited for; one of others counts as ended though nobody waits for it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(") ")[2][:1]
    except OSError:
        return False
    return state not in ("Z", "X")  # proc(5): ended; a container's first process may be no init, which would ask
