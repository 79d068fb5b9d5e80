"""`python -m bench [NAME...]`: lanpost and its peers side by side, or one of its parts alone."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import latency, memory, throughput
from bench.lanpost_server import Lanpost, LanpostSlapd, LanpostSpool
from bench.machine import Machine, filesystem
from bench.nginx import Nginx
from bench.postfix import Postfix
from bench.processes import BenchError, free_port, program
from bench.report import Report
from bench.target import Raw, Stage, Target

TARGETS: dict[str, type[Target]] = {
    kind.name: kind for kind in (Raw, Nginx, Postfix, Lanpost, LanpostSlapd, LanpostSpool)
}
SIDE_BY_SIDE = ("throughput", "latency", "memory")
PARTS = {
    "chart": "bench.chart",
    "spool": "bench.spool",
    "ldap-codec": "bench.ldap_codec",
    "directory": "bench.directory",
    "registrations": "bench.registrations",
    "agent": "bench.agent",
    "fax": "bench.fax",
    "fax-send": "bench.fax_send",
}  # each with a main() of its own


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="See bench/README.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join((*SIDE_BY_SIDE, *PARTS))}; none: all")
    parser.add_argument("--quick", action="store_true", help="one short round: does it work, not how fast is it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    parser.add_argument("--targets", default=",".join(TARGETS), help="comma-separated, of: %(default)s")
    parser.add_argument("--sizes", default="1,4,100", help="of the mails' bodies, in KB (%(default)s)")
    parser.add_argument("--rounds", type=int, metavar="N", help="of each target, in turn (5; quick: 1)")
    parser.add_argument("--seconds", type=float, metavar="S", help="that a round should last (3; quick: 0.7)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on a real disk (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the servers' folders, with their logs")
    given = parser.parse_args(words)
    for name in given.names:
        if name not in (*SIDE_BY_SIDE, *PARTS):
            parser.error(f"{name}: no such benchmark; known: {', '.join((*SIDE_BY_SIDE, *PARTS))}")
    given.targets = given.targets.split(",")
    for name in given.targets:
        if name not in TARGETS:
            parser.error(f"{name}: no such target; known: {', '.join(TARGETS)}")
    given.sizes = [int(size) * 1024 for size in given.sizes.split(",")]
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.seconds = given.seconds or (0.7 if given.quick else 3.0)
    return given


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Status 1 when something that was asked for could not be measured."""
    given = arguments(words)
    names = given.names or [*SIDE_BY_SIDE, *PARTS]
    sound = True
    if any(name in SIDE_BY_SIDE for name in names):
        sound = side_by_side(given, names)
    for name in names:
        if name in PARTS:
            sound = part(name) and sound
    return 0 if sound else 1


def part(name: str) -> bool:
    if importlib.util.find_spec(PARTS[name]) is None:
        say(f"{name}: this checkout has no {PARTS[name]}")
        return False
    print(f"\n{name}", flush=True)
    return not importlib.import_module(PARTS[name]).main()


def side_by_side(given: argparse.Namespace, names: Sequence[str]) -> bool:
    if not (program("smtp-source") and program("smtp-sink")):
        say("smtp-source and smtp-sink are needed, both come with Postfix: scripts/install-peers")
        return False
    if filesystem(given.folder.resolve()).startswith("tmpfs"):
        say(f"{given.folder} is in memory: a queue there costs nothing. Name a folder on a disk with --folder.")
        return False
    folder = Path(tempfile.mkdtemp(prefix="lanpost-bench-", dir=given.folder.resolve()))
    folder.chmod(0o755)  # Postfix's and nginx's own users come here
    try:
        with ExitStack() as cleanup:
            report = measure(given, names, folder, cleanup)
    finally:
        if given.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(*report.lines(), sep="\n")
    if given.json:
        report.write_json(given.json)
    return not (report.missing or report.failures())


def measure(given: argparse.Namespace, names: Sequence[str], folder: Path, cleanup: ExitStack) -> Report:
    stage = Stage(folder, free_port())
    machine = Machine.here(folder)
    targets, missing = started(given.targets, stage, cleanup)
    settings: dict[str, object] = {
        "entries": stage.entries,
        "rounds": given.rounds,
        "seconds": given.seconds,
        "sizes": given.sizes,
    }
    report = Report(machine, missing, settings)
    if "throughput" in names:
        report.throughput = throughput.measure(
            targets, stage.sink_port, rounds=given.rounds, seconds=given.seconds, sizes=given.sizes, say=say
        )
    if "latency" in names:
        probes = 100 if given.quick else 200
        report.latency = latency.measure(targets, stage.sink_port, rounds=given.rounds, probes=probes, say=say)
    if "memory" in names:
        report.memory = memory.measure(targets, stage.sink_port, say=say)
    return report


def started(names: Sequence[str], stage: Stage, cleanup: ExitStack) -> tuple[list[Target], dict[str, str]]:
    """The targets that run, and why the others do not."""
    targets: list[Target] = []
    missing: dict[str, str] = {}
    for name in names:
        kind = TARGETS[name]
        reason = kind.lacks()
        if not reason:
            try:
                target = kind(stage)
                cleanup.callback(target.stop)
                target.start()
                targets.append(target)
                continue
            except BenchError as error:
                reason = str(error)
        say(f"{name} is left out: {reason}")
        missing[name] = reason
    return targets, missing


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
