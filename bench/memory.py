"""Memory of a whole server: at rest, and with a thousand clients that are connected and silent."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.load import Probe
from bench.processes import BenchError, pss_octets, quiet_cpu_seconds
from bench.sink import CountingSink
from bench.target import Target

CONNECTIONS = 1000
WARM_UP = 20


@dataclass
class Memory:
    """PSS in octets, of all the processes that belong to the server."""

    target: str
    rest: int = 0
    connected: int = 0
    connect_seconds: float = 0.0  # for all of the connections, one after another, each greeted
    failure: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "target": self.target,
            "rest_mb": round(self.rest / 1e6, 1),
            "connected_mb": round(self.connected / 1e6, 1),
            "connect_seconds": round(self.connect_seconds, 2),
            "failure": self.failure,
        }


def measure(
    targets: Sequence[Target], sink_port: int, *, connections: int = CONNECTIONS, say: Callable[[str], None]
) -> list[Memory]:
    """Each target is started anew, so that earlier loads leave no trace, and is running again afterwards."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sink = CountingSink(sink_port)
    found = []
    try:
        for target in targets:
            if not target.roots():
                continue  # no server, no memory
            one = Memory(target.name)
            found.append(one)
            target.stop()
            try:
                target.start()
                _measure(one, target, sink, connections)
            except (BenchError, OSError) as error:
                one.failure = str(error)
                say(f"memory: {target.name} failed: {error}")
                continue
            rest, connected = (f"{octets / 1e6:.1f} MB" for octets in (one.rest, one.connected))
            say(f"memory: {one.target} {rest} at rest, {connected} with {connections} connections")
    finally:
        sink.close()
    return found


def _measure(one: Memory, target: Target, sink: CountingSink, connections: int) -> None:
    expected = sink.refresh() + WARM_UP
    warm = Probe(target.port)
    warm.connect()
    for number in range(1, WARM_UP + 1):
        warm.send(number, number, 4096)
    warm.close()
    sink.wait_for(expected)
    quiet_cpu_seconds(target.roots())
    one.rest = pss_octets(target.roots())
    probes = [Probe(target.port) for _ in range(connections)]
    try:
        start = time.monotonic()
        for probe in probes:
            probe.connect()
        one.connect_seconds = time.monotonic() - start
        quiet_cpu_seconds(target.roots())
        one.connected = pss_octets(target.roots())
    finally:
        for probe in probes:
            probe.drop()
