"""What the figures were taken on: without it they say nothing."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.processes import BenchError, program, run

FSYNCS = 30


@dataclass(frozen=True)
class Machine:
    cores: int
    processor: str
    memory_gb: float
    kernel: str
    python: str
    filesystem: str  # of the servers' folders
    fsync_ms: float  # median of appending 4 KiB and fsyncing there
    load_before: float  # runnable processes of others in the last minute
    versions: dict[str, str]

    @staticmethod
    def here(folder: Path) -> Machine:
        memory = next(
            int(line.split()[1])
            for line in Path("/proc/meminfo").read_text("ascii").splitlines()
            if "MemTotal" in line
        )
        return Machine(
            cores=len(os.sched_getaffinity(0)),
            processor=_processor(),
            memory_gb=round(memory / 1e6, 1),
            kernel=platform.release(),
            python=platform.python_version(),
            filesystem=filesystem(folder),
            fsync_ms=round(_fsync_seconds(folder) * 1000, 3),
            load_before=os.getloadavg()[0],
            versions=_versions(),
        )

    def lines(self) -> list[str]:
        return [f"{key.replace('_', ' ')}: {value}" for key, value in asdict(self).items() if key != "versions"] + [
            "versions: " + ", ".join(f"{name} {version}" for name, version in self.versions.items())
        ]


def filesystem(folder: Path) -> str:
    """Type and device of the file system that holds a folder."""
    best = ("", "?", "?")
    for line in Path("/proc/mounts").read_text("utf-8").splitlines():
        device, mount, kind = line.split()[:3]
        if folder.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind, device)
    return f"{best[1]} on {best[2]}"


def _fsync_seconds(folder: Path) -> float:
    times = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(FSYNCS):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    (folder / "fsync").unlink()
    return statistics.median(times)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    """Of the peers, as Debian calls them."""
    if not program("dpkg-query"):
        return {}
    found = {}
    for name in ("postfix", "slapd", "nginx"):
        try:
            found[name] = run(["dpkg-query", "--show", "--showformat", "${Version}", name])
        except BenchError:
            continue
    return found
