"""The embedded chart by itself, beside Postfix's own tables: import, inquiry, change, watch, memory.

`python -m bench.chart [ENTRIES]`. Each row takes lanpost and Postfix in the same run, on the same entries.
Mind what differs: Postfix's `hash:` is read in C, inside postmap; ours from Python, as SMTP asks it. Ours puts an
import aside first, so that a bad line changes nothing, and forces every change to disk; postmap does neither, and
running Postfix processes see a change when they look again.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.latency import quantile
from bench.processes import BenchError, program, run
from lanpost.app.charts import open_chart
from lanpost.app.settings import Settings
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import Chart

ENTRIES = 1_000_000
INQUIRIES = 50_000
CHANGES = 200
PROCESSES = 20  # runs of postmap that change one entry


@dataclass
class Run:
    """One program run to its end."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def timed(command: Sequence[str | Path], stdin: Path | None = None) -> Run:
    """BenchError when it fails; its output is dropped."""
    begun = time.perf_counter()
    with Path(os.devnull).open("r+b") as nothing, (stdin or Path(os.devnull)).open("rb") as source:
        words = [str(word) for word in command]
        inherited = [(os.POSIX_SPAWN_DUP2, source.fileno(), 0), (os.POSIX_SPAWN_DUP2, nothing.fileno(), 1)]
        pid = os.posix_spawn(words[0], words, os.environ, file_actions=inherited)
        _, status, usage = os.wait4(pid, 0)
    if status:
        raise BenchError(f"{' '.join(words)}: status {os.waitstatus_to_exitcode(status)}")
    seconds = time.perf_counter() - begun
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def entries(count: int) -> Iterator[tuple[str, str]]:
    """Addresses in no order, since charts are not sorted by anything, each with its endpoint."""
    step = 7919  # shares no factor with any count that somebody would ask for
    for number in range(count):
        yield (
            f"terminal{number * step % count}@office.lan",
            f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
        )


def row(what: str, ours: float, theirs: float | None, unit: str, *, more_is_better: bool = False) -> None:
    line = f"  {what:44} {ours:12,.3f} {unit:8}"
    if theirs is not None:
        ratio = (ours / theirs if more_is_better else theirs / ours) if ours and theirs else 0
        line += f" postfix {theirs:12,.3f} {unit:8} {ratio:8.2f} x"
    print(line, flush=True)


def main(count: int = ENTRIES) -> int:
    """Status 1 when something could not be measured."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        try:
            measure(Path(folder), count)
        except BenchError as error:
            print(f"chart: {error}", file=sys.stderr)
            return 1
    return 0


def measure(folder: Path, count: int) -> None:
    csv, table, keys = folder / "chart.csv", folder / "table", folder / "keys"
    csv.write_text("address,endpoint\n" + "".join(f"{name},{host}:25\n" for name, host in entries(count)), "ascii")
    config = folder / "lanpost.toml"
    config.write_text(f'data = "{folder}/data"\n', "ascii")
    asked = random.Random(1).choices(range(count), k=min(INQUIRIES, count))
    names = [f"terminal{number}@office.lan" for number in asked]

    lanpost: list[str | Path] = [sys.executable, "-m", "lanpost", "chart"]
    loaded = timed([*lanpost, "import", csv, "--config", config])
    postmap = program("postmap")
    theirs = Tables(postmap, table, keys, count, names) if postmap else None
    print(f"  {count:,} entries; x: how many times better than Postfix's hash: table\n", flush=True)
    if theirs is None:
        print("  NOT MEASURED: postfix: postmap is not installed", flush=True)
    row(
        "import of a CSV file",
        count / loaded.seconds,
        count / theirs.loaded.seconds if theirs else None,
        "/s",
        more_is_better=True,
    )
    row("  seconds", loaded.seconds, theirs.loaded.seconds if theirs else None, "s")
    row("  CPU seconds", loaded.cpu_seconds, theirs.loaded.cpu_seconds if theirs else None, "s")
    row("  memory at most", loaded.peak_mb, theirs.loaded.peak_mb if theirs else None, "MB")
    asyncio.run(measure_open(Settings(data=folder / "data"), names, theirs))
    exported = timed([*lanpost, "export", folder / "out.csv", "--config", config])
    row("export to a CSV file", count / exported.seconds, None, "/s")
    row("  memory at most", exported.peak_mb, None, "MB")


class Tables:
    """The same entries in Postfix: `hash:`, as its documentation proposes for transport maps."""

    def __init__(self, postmap: str, table: Path, keys: Path, count: int, names: Sequence[str]) -> None:
        table.write_text("".join(f"{name} smtp:[{host}]:25\n" for name, host in entries(count)), "ascii")
        self.loaded = timed([postmap, f"hash:{table}"])
        one, all_ = keys.with_suffix(".one"), keys.with_suffix(".all")
        one.write_text(f"{names[0]}\n", "ascii")
        all_.write_text("".join(f"{name}\n" for name in names), "ascii")
        query = [postmap, "-q", "-", f"hash:{table}"]
        start = min(timed(query, one).seconds for _ in range(5))  # of the process itself
        self.inquiry_us = max(timed(query, all_).seconds - start, 0) / len(names) * 1e6
        line = keys.with_suffix(".line")
        line.write_text(f"{names[0]} smtp:[10.9.9.9]:25\n", "ascii")
        begun = time.perf_counter()
        for _ in range(PROCESSES):
            run([postmap, "-r", "-i", f"hash:{table}"], stdin=line.open("rb"))
        self.change_ms = (time.perf_counter() - begun) / PROCESSES * 1e3


async def measure_open(settings: Settings, names: Sequence[str], theirs: Tables | None) -> None:
    addresses = [MailAddress.parse(name) for name in names]
    strangers = [MailAddress.parse(f"nobody{number}@office.lan") for number in range(len(names))]
    before = resident_mb()
    chart = open_chart(settings)
    await inquire(chart, addresses)  # what is asked for is in the system's cache: a chart at work
    found = await inquire(chart, addresses)
    mean = sum(found) / len(found)
    row("inquiry, mean", mean, theirs.inquiry_us if theirs else None, "us")
    row("  p50", quantile(found, 50), None, "us")
    row("  p99", quantile(found, 99), None, "us")
    row("  of an unknown address, p50", quantile(await inquire(chart, strangers), 50), None, "us")
    changes, told = await change(chart, addresses[:CHANGES])
    row("change, p50 (ours: on disk)", quantile(changes, 50), theirs.change_ms if theirs else None, "ms")
    row("  p99", quantile(changes, 99), None, "ms")
    row("  told to a watcher after, p50", quantile(told, 50), None, "ms")
    begun = time.perf_counter()
    await asyncio.gather(*(chart.bind(binding(address)) for address in addresses[:1000]))
    row("  1,000 changes at once", min(len(addresses), 1000) / (time.perf_counter() - begun), None, "/s")
    row("memory for an open chart, all that was asked", resident_mb() - before, None, "MB")
    await chart.close()


def binding(address: MailAddress) -> Binding:
    return Binding(address, Endpoint("10.9.9.9"), datetime.now(UTC))


async def inquire(chart: Chart, addresses: Sequence[MailAddress]) -> list[float]:
    """Microseconds for each."""
    times = []
    for address in addresses:
        begun = time.perf_counter_ns()
        await chart.look_up(address)
        times.append((time.perf_counter_ns() - begun) / 1e3)
    return times


async def change(chart: Chart, addresses: Sequence[MailAddress]) -> tuple[list[float], list[float]]:
    """Milliseconds until each binding is durable, and from then until a watcher is told."""
    watch = chart.watch()
    durable, told = [], []
    for address in addresses:
        future = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        begun = time.perf_counter()
        await chart.bind(binding(address))
        done = time.perf_counter()
        await future
        durable.append((done - begun) * 1e3)
        told.append(max(time.perf_counter() - done, 0) * 1e3)
    return durable, told


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
