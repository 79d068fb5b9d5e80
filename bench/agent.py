"""What an agent costs its terminal: memory once it is registered, processor time until then, what it imports.

`python -m bench.agent`. Everything runs on loopback: a `lanpost serve`, a terminal enrolled there, its agent.
Beside it stands what a Python that has loaded asyncio and ssl, and does nothing, needs on the same machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.processes import BenchError, await_banner, cpu_seconds, free_port, pss_octets, run, stop
from bench.target import START_SECONDS

ROUNDS = 5
IMPORTS = "import lanpost.cli.main, lanpost.cli.agent"
TIMED = f"""
import sys, time
begun = time.perf_counter()
{IMPORTS}
milliseconds = (time.perf_counter() - begun) * 1e3
print(milliseconds, len(sys.modules), sum(name.startswith("lanpost") for name in sys.modules))
"""
BARE = "import asyncio, ssl, sys; print('loaded', flush=True); sys.stdin.read()"
CONFIGURATION = """\
domain = "office.lan"
data = "{folder}/server"
[smtp]
listen = ["127.0.0.1:{port}"]
[submission]
listen = []
[pop3]
listen = []
[http]
listen = ["127.0.0.1:{http_port}"]
"""


def rss_octets(pid: int) -> int:
    """Resident memory of one process, what it shares with others included."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Read what a program prints until a line has that word. BenchError where it ends before."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if word in line:
            return
    raise BenchError(f"{process.args!r} ended: {''.join(said)[-500:]}")


def memory_line(what: str, pid: int) -> str:
    return f"  {what:44} RSS {rss_octets(pid) / 1e6:6.1f} MB   PSS {pss_octets([pid]) / 1e6:6.1f} MB"


def measure(folder: Path) -> None:
    found = [run([sys.executable, "-c", TIMED]).split() for _ in range(ROUNDS)]
    milliseconds = min(float(each[0]) for each in found)
    print(
        f"  imports: {found[0][1]} modules, {found[0][2]} of them ours, in {milliseconds:.0f} ms (best of {ROUNDS})"
    )
    bare = subprocess.Popen(
        [sys.executable, "-c", BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    wait_for(bare, "loaded")
    try:
        measure_registered(folder, bare.pid)
    finally:
        bare.kill()
        bare.wait()


def measure_registered(folder: Path, bare: int) -> None:
    lanpost = [sys.executable, "-m", "lanpost"]
    server, agent = folder / "server.toml", folder / "agent.toml"
    port = free_port()
    server.write_text(CONFIGURATION.format(folder=folder, port=port, http_port=free_port()), "ascii")
    agent.write_text(f'domain = "office.lan"\ndata = "{folder}/terminal"\n', "ascii")
    with (folder / "log").open("wb") as log:
        serving = subprocess.Popen([*lanpost, "serve", "--config", str(server)], stdout=log, stderr=log)
    running: subprocess.Popen[str] | None = None
    try:
        await_banner(port, START_SECONDS, serving)
        added = json.loads(run([*lanpost, "terminal", "add", "fax1", "--json", "--config", server]))
        run([*lanpost, "agent", "enrol", added["token"], "--config", agent])
        running = subprocess.Popen(
            [*lanpost, "agent", "--config", str(agent)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        wait_for(running, "registered: fax1")
        print(f"  processor time from the start to the first registration: {cpu_seconds([running.pid]):.2f} s")
        print(memory_line("a registered agent", running.pid))
        print(memory_line("Python with asyncio and ssl, doing nothing", bare))
    finally:
        if running is not None:
            running.terminate()
            running.wait()
        stop(serving)


def main() -> int:
    """Status 1 when something could not be measured."""
    os.environ.setdefault("PYTHONPATH", "src")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        try:
            measure(Path(folder))
        except BenchError as error:
            print(f"agent: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
