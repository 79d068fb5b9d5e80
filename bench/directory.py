"""`lanpost directory` beside slapd: searches for one address each, the same load, the same entries; and memory.

`python -m bench.directory [ENTRIES]`. Both serve one process; slapd has as many threads as it likes.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.latency import quantile
from bench.ldap_load import search
from bench.processes import BenchError, cpu_seconds, free_port, program, pss_octets, run, stop
from lanpost.app.charts import open_chart
from lanpost.app.settings import Settings
from lanpost.content.directory_entry import attributes_of
from lanpost.content.directory_schema import ATTRIBUTE_TYPES, OBJECT_CLASSES, OUR_ARC
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.endpoint import Endpoint

ENTRIES = 10_000
MANY = 100_000  # for memory
SECONDS = 3.0
ROUNDS = 3
SUFFIX = "dc=office,dc=lan"
BASE = f"ou=chart,{SUFFIX}"
DOMAIN = "office.lan"
LOADS = (("1 connection, 1 in flight", 1, 1), ("1 connection, 64 in flight", 1, 64), ("100 connections", 100, 1))
SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/misc.schema
include {folder}/lanpost.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "{suffix}"
directory {folder}/data
maxsize 4294967296
index objectClass,mailLocalAddress,lanpostKey,cn eq
access to * by * read
"""


@dataclass
class Served:
    """A directory under measurement."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def roots(self) -> list[int]:
        return [self.process.pid]


def names(count: int) -> list[str]:
    return [f"terminal{number}" for number in range(count)]


def entry(number: int, name: str, now: datetime) -> Entry:
    address = MailAddress.parse(f"{name}@{DOMAIN}")
    endpoint = Endpoint(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    return Entry(address, Binding(address, endpoint, now, None, Source.AGENT, address.key))


@contextmanager
def slapd(folder: Path, count: int) -> Iterator[Served]:
    folder.mkdir()
    (folder / "data").mkdir()
    lines = [f"attributetype {kind.definition()}" for kind in ATTRIBUTE_TYPES if kind.oid.startswith(OUR_ARC)]
    lines += [f"objectclass {each.definition()}" for each in OBJECT_CLASSES if each.oid.startswith(OUR_ARC)]
    (folder / "lanpost.schema").write_text("\n".join(lines) + "\n", "ascii")
    (folder / "slapd.conf").write_text(SLAPD.format(folder=folder, suffix=SUFFIX), "ascii")
    now = datetime.now(UTC)
    with (folder / "chart.ldif").open("wb") as ldif:
        ldif.write(f"dn: {SUFFIX}\nobjectClass: organization\nobjectClass: dcObject\no: x\ndc: office\n\n".encode())
        ldif.write(f"dn: {BASE}\nobjectClass: organizationalUnit\nou: chart\n\n".encode())
        for number, name in enumerate(names(count)):
            ldif.write(f"dn: cn={name},{BASE}\n".encode())
            for attribute, values in attributes_of(entry(number, name, now), DOMAIN).items():
                ldif.writelines(b"%b: %b\n" % (attribute.encode(), value) for value in values)
            ldif.write(b"\n")
    run([program("slapadd") or "slapadd", "-q", "-f", folder / "slapd.conf", "-l", folder / "chart.ldif"])
    port = free_port()
    command: list[str | Path] = [
        program("slapd") or "slapd",
        "-h",
        f"ldap://127.0.0.1:{port}",
        "-f",
        folder / "slapd.conf",
        "-d",
        "0",
    ]
    with running("slapd", command, folder, port) as served:
        yield served


@contextmanager
def lanpost(folder: Path, count: int) -> Iterator[Served]:
    folder.mkdir()
    port = free_port()
    config = folder / "lanpost.toml"
    config.write_text(
        f'data = "{folder}/data"\ndomain = "{DOMAIN}"\n[ldap]\nlisten = ["127.0.0.1:{port}"]\n'
        f'[http]\nlisten = ["127.0.0.1:{free_port()}"]\n',
        "ascii",
    )
    asyncio.run(_fill(Settings(data=folder / "data"), count))
    command: list[str | Path] = [sys.executable, "-m", "lanpost", "directory", "--config", config]
    with running("lanpost", command, folder, port) as served:
        yield served


async def _fill(settings: Settings, count: int) -> None:
    chart = open_chart(settings)
    now = datetime.now(UTC)
    entries = (entry(number, name, now) for number, name in enumerate(names(count)))
    await chart.bind_many(each.binding for each in entries if each.binding)
    await chart.close()


@contextmanager
def running(name: str, command: Sequence[str | Path], folder: Path, port: int) -> Iterator[Served]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    try:
        give_up = time.monotonic() + 30
        while True:
            try:
                run(["ldapsearch", "-x", "-LLL", "-H", f"ldap://127.0.0.1:{port}", "-b", BASE, "-s", "base", "1.1"])
                break
            except BenchError:
                if time.monotonic() > give_up or process.poll() is not None:
                    raise BenchError(f"{name}: {(folder / 'log').read_text('utf-8', 'replace')[-500:]}") from None
                time.sleep(0.05)
        yield Served(name, port, process)
    finally:
        stop(process)


def measure(folder: Path, count: int) -> None:
    asked = names(count)
    with lanpost(folder / "lanpost", count) as ours, slapd(folder / "slapd", count) as theirs:
        print(f"  {count:,} entries, every answer checked; x: lanpost / slapd, per second, and per CPU second")
        for text, connections, in_flight in LOADS:
            figures: dict[str, list[tuple[float, float, float, float]]] = {}
            for _ in range(ROUNDS):
                for server in (ours, theirs):
                    before = cpu_seconds(server.roots)
                    load = search(
                        server.port, BASE, asked, connections=connections, in_flight=in_flight, seconds=SECONDS
                    )
                    cpu = max(cpu_seconds(server.roots) - before, 1e-9)
                    p50, p99 = quantile(load.latencies_ms, 50), quantile(load.latencies_ms, 99)
                    figures.setdefault(server.name, []).append((load.per_second, load.searches / cpu, p50, p99))
            medians = {
                name: [sorted(column)[len(column) // 2] for column in zip(*rows, strict=True)]
                for name, rows in figures.items()
            }
            mine, other = medians["lanpost"], medians["slapd"]
            print(f"  {text}: {mine[0] / other[0]:.2f} x, per CPU second {mine[1] / other[1]:.2f} x")
            for name, figure in medians.items():
                print(
                    f"    {name:8} {figure[0]:9,.0f}/s, {figure[1]:9,.0f} per CPU second, "
                    f"p50 {figure[2]:.3f} ms, p99 {figure[3]:.3f} ms",
                    flush=True,
                )


def measure_memory(folder: Path, count: int) -> None:
    asked = names(count)
    found = {}
    for start in (lanpost, slapd):
        with start(folder / start.__name__, count) as server:
            search(server.port, BASE, asked, connections=1, in_flight=64, seconds=SECONDS)
            found[server.name] = pss_octets(server.roots) / 2**20
    print(
        f"  memory (PSS) with {count:,} entries after that load: "
        + ", ".join(f"{n} {m:.0f} MB" for n, m in found.items())
    )


def main(count: int = ENTRIES) -> int:
    """Status 1 when something could not be measured."""
    absent = [name for name in ("slapd", "slapadd", "ldapsearch") if not program(name)]
    if absent:
        print(f"directory: {', '.join(absent)} not installed: scripts/install-peers", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        try:
            for part in ("some", "many"):
                Path(folder, part).mkdir()
            measure(Path(folder, "some"), count)
            measure_memory(Path(folder, "many"), MANY)
        except BenchError as error:
            print(f"directory: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", "src")
    sys.exit(main(*map(int, sys.argv[1:2])))
