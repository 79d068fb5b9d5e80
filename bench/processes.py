"""Programs under measurement: starting and stopping them, and what a whole tree of processes uses (Linux)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 15.0


class BenchError(Exception):
    """A measurement that could not be taken; `str()` says why."""


def program(name: str) -> str | None:
    """Where a program is; administrators' folders are searched too, being in few people's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def run(command: Sequence[str | Path], **options: object) -> str:
    """Run to the end and return what it printed. BenchError with its words when it failed."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if done.returncode:
        raise BenchError(f"{' '.join(map(str, command))}: status {done.returncode}: {done.stdout[-600:].strip()}")
    return str(done.stdout)


_given: set[int] = set()  # ports


def free_port() -> int:
    """One that nobody listens at, and another each time: the kernel may name one again that nobody took."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


def await_banner(
    port: int, seconds: float, process: subprocess.Popen[bytes] | None = None, host: str = "127.0.0.1"
) -> None:
    """Return when an SMTP server greets there. BenchError after `seconds`, or when `process` has ended."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if process is not None and process.poll() is not None:
            raise BenchError(f"{process.args!r} ended with status {process.returncode}")
        try:
            with socket.create_connection((host, port), timeout=seconds) as connection:
                if connection.recv(3) == b"220":
                    connection.sendall(b"QUIT\r\n")
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise BenchError(f"nothing answers at {host}:{port} after {seconds:.0f} s")


def stop(process: subprocess.Popen[bytes] | None) -> None:
    """SIGTERM, and SIGKILL for what does not heed it."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tree(roots: Iterable[int]) -> list[int]:
    """The processes named and all that descend from them."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = list(roots)
    for pid in found:  # grows as it goes
        found.extend(children.get(pid, ()))
    return found


def is_alive(pid: int) -> bool:
    """It runs; one that has ended and waits for its parent to notice does not."""
    return _stat(pid)[:1] not in ([], ["Z"])


def cpu_seconds(roots: Iterable[int]) -> float:
    """Processor time of the trees so far, dead and reaped children included."""
    return sum(sum(map(int, fields[11:15])) for pid in tree(roots) if (fields := _stat(pid))) / TICKS


def quiet_cpu_seconds(roots: Sequence[int], limit_seconds: float = 3.0) -> float:
    """The same, once the trees have stopped working: what they still do for past mails is counted."""
    give_up = time.monotonic() + limit_seconds
    before = cpu_seconds(roots)
    while time.monotonic() < give_up:
        time.sleep(0.15)
        now = cpu_seconds(roots)
        if now - before < 2 / TICKS:
            return now
        before = now
    return before


def pss_octets(roots: Iterable[int]) -> int:
    """Memory of the trees: what each process has alone, and its share of what it shares."""
    total = 0
    for pid in tree(roots):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
        except OSError:
            continue  # it ended meanwhile
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5)); empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
