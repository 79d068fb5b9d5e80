"""`python -m bench.follow`: how soon after a new lease the chart is right and held mail arrives, per DHCP client.

As root, in network namespaces: a real lanpost server, real agents, real clients, dnsmasq. Each client once with an
agent that hears the kernel ("auto") and once with one that goes by the installed hook alone ("hook"). A terminal's
binding is taken away, a mail for it is held, its address is moved; then four clocks are read:

  ack    the server's DHCPACK of the new address on the wire
  set    the kernel says that the client has set it (rtnetlink, by `ip monitor`)
  chart  the registrar has written the new endpoint
  mail   the terminal has the held mail on its disk
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.lab import dhcp_clients
from tests.lab.fleet import Fleet, Member
from tests.lab.network import INTERFACE, NETWORK, Lab, Node, Program

from bench.latency import quantile
from bench.machine import Machine

SPANS = (("ack", "set"), ("set", "chart"), ("ack", "chart"), ("chart", "mail"), ("ack", "mail"))


@dataclass
class Follower:
    """A terminal that is moved again and again."""

    member: Member
    kind: str
    watch: str
    number: int
    kernel: Program
    moves: list[dict[str, float]] = field(default_factory=list)

    def address(self, move: int) -> str:
        return f"{NETWORK}.{10 + self.number + 20 * (move % 4)}"


def last_time(lines: Sequence[str], pattern: str) -> float:
    """The time, in seconds of the day, of the last line that has the pattern."""
    line = next(line for line in reversed(lines) if re.search(pattern, line))
    found = re.search(r"(\d\d):(\d\d):(\d\d\.\d+)", line)
    assert found, line
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def first_time(lines: Sequence[str], pattern: str) -> float:
    return last_time(list(reversed(lines)), pattern)


def acknowledged(wire: Program, address: str, since: int) -> float:
    """When the server granted an address for the first time since that line of the capture."""
    head = ""
    for line in wire.lines[since:]:
        if re.match(r"\d\d:\d\d:\d\d\.", line):
            head = line
        elif "Your-IP" in line:
            head += line
        elif "DHCP-Message" in line and "ACK" in line and f"Your-IP {address}" in head:
            return first_time([head], "")
    raise AssertionError(f"no DHCPACK of {address} was seen")


class Course:
    """The LAN with all followers on it."""

    def __init__(self, lab: Lab, kinds: Sequence[str]) -> None:
        self.lab = lab
        self.fleet = Fleet(lab)
        ways = [(kind, watch) for kind in kinds for watch in ("auto", "hook")]
        members = self.fleet.terminals(*(f"{kind}-{watch}" for kind, watch in ways))
        self.followers = [
            Follower(
                member,
                kind,
                watch,
                number,
                member.terminal.start("kernel", "ip", "-ts", "-4", "monitor", "address"),
            )
            for number, ((kind, watch), member) in enumerate(zip(ways, members, strict=True))
        ]
        for each in self.followers:
            each.member.terminal.renews_when_told = each.kind == "networkd"
        self.addresses: dict[Node, str] = {each.member.terminal: each.address(0) for each in self.followers}
        self.wire = lab.server.start(
            "wire", "tcpdump", "-l", "--immediate-mode", "-nn", "-v", "-i", INTERFACE, "udp", "src", "port", "67"
        )
        self.wire.wait_for("listening on")
        lab.dnsmasq.start(self.addresses)
        for each in self.followers:
            each.member.install_hook(each.kind)
            each.member.start_agent(each.watch)
            each.member.terminal.start_dhcp(each.kind, hooked=each.watch == "hook", careful=True)
        for each in self.followers:
            self.fleet.registers(each.member, each.address(0))

    def move(self, each: Follower, number: int) -> None:
        """One move of one terminal, and its times."""
        member, address = each.member, each.address(number)
        name, registered = f"mail {number}", rf"terminal registered .*address={member.name}@.*endpoint='?{address}:"
        self.fleet.forget(member)
        self.fleet.send(name, member)
        wire, server, agent, kernel = (
            len(program.lines) for program in (self.wire, self.fleet.server, member.agent, each.kernel)
        )
        before = self.fleet.server.count(registered)
        self.addresses[member.terminal] = address
        self.lab.dnsmasq.move(self.addresses)
        member.terminal.rebind()
        self.fleet.server.wait_until(registered, before + 1)
        member.agent.wait_until("mail stored", len(each.moves) + 1)
        each.kernel.wait_until(rf"\] {address}|inet {address}/")
        each.moves.append(
            {
                "ack": acknowledged(self.wire, address, wire),
                "set": first_time(each.kernel.lines[kernel:], rf"^(?!.*Deleted).*inet {address}/"),
                "chart": first_time(self.fleet.server.lines[server:], registered),
                "mail": first_time(member.agent.lines[agent:], "mail stored"),
            }
        )


def table(followers: Sequence[Follower]) -> list[str]:
    """p50 and the worst of each span, in milliseconds."""
    lines = ["client     agent hears  moves  " + "  ".join(f"{a + ' to ' + b:>16}" for a, b in SPANS)]
    for each in followers:
        cells = []
        for begin, end in SPANS:
            spans = sorted(1000 * (move[end] - move[begin]) for move in each.moves)
            cells.append(f"{quantile(spans, 50):7.0f} {spans[-1]:8.0f}")
        hears = "kernel" if each.watch == "auto" else "hook alone"
        lines.append(f"{each.kind:10} {hears:11} {len(each.moves):6}  " + "  ".join(cells))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.follow", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("clients", nargs="*", default=list(dhcp_clients.KINDS), help="(%(default)s)")
    parser.add_argument("--moves", type=int, default=10, metavar="N", help="of each terminal (%(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lanpost-follow-") as folder, Lab(Path(folder)) as lab:
        print("\n".join(Machine.here(Path(folder)).lines()), flush=True)
        course = Course(lab, given.clients)
        for number in range(1, given.moves + 1):
            for each in course.followers:
                course.move(each, number)
            print(f"{datetime.now(UTC):%H:%M:%S} move {number} done", file=sys.stderr, flush=True)
        print("\np50 and worst, milliseconds", *table(course.followers), sep="\n", flush=True)


if __name__ == "__main__":
    main()
