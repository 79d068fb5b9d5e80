"""A LAN made of network namespaces: a switch, a server with Kea, terminals with real DHCP clients, and no resolver.

    with Lab(tmp_path) as lab:
        fax = lab.terminal("fax1")
        lab.dhcp.start({fax: "10.77.0.10"})
        fax.start_dhcp("udhcpc")

Everything is torn down at the end, whatever happened; what an earlier run left because it was killed, at the
beginning. Each node's traffic is captured, its loopback included: `lab.packets("port 53")` counts.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import pytest

import lanpost

if TYPE_CHECKING:
    from tests.lab.dnsmasq_server import DnsmasqServer

NETWORK = "10.77.0"
SERVER = f"{NETWORK}.1"
PREFIX = "lanpost-lab"
INTERFACE = "lan0"
NEEDED = ("ip", "kea-dhcp4", "tcpdump", "udhcpc", "dhclient", "busybox")
SOURCES = Path(lanpost.__file__).parent.parent
ROOT = Path(__file__).parent.parent.parent
SHOWN_LINES = 60  # of each program's output, when a test fails
PATIENCE = 30.0  # seconds for anything that must happen; what takes longer is a failure

_numbers = itertools.count()


def require() -> None:
    """Skip, with the reason, where the lab cannot be built."""
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    probe = f"{PREFIX}-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    run("ip", "netns", "del", probe)


def run(*command: str | Path, check: bool = True) -> str:
    """A command that ends by itself; its standard output."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert not check or result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


class Program:
    """A program that goes on running. Its output is kept, and can be waited for line by line."""

    def __init__(self, name: str, command: Sequence[str | Path], *, stdin: bool = False) -> None:
        """`stdin`: it can be written to."""
        self.name = name
        self.lines: list[str] = []
        self._read = 0
        self._changed = threading.Condition()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LANPOST")}
        environment |= {"PYTHONPATH": f"{SOURCES}:{ROOT}", "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """The next line, from the last one found on, that the pattern is found in."""
        found: re.Match[str] | None = None

        def seen() -> bool:
            nonlocal found
            while found is None and self._read < len(self.lines):
                found = re.search(pattern, self.lines[self._read])
                self._read += 1
            return found is not None or not self._reader.is_alive()

        with self._changed:
            self._changed.wait_for(seen, seconds)
        assert found, f"{self.name} did not say {pattern!r} within {seconds:g} s:\n" + "\n".join(self.lines[-40:])
        return found

    def count(self, pattern: str) -> int:
        """How many lines the pattern is found in, of all so far."""
        return sum(1 for line in tuple(self.lines) if re.search(pattern, line))

    def wait_until(self, pattern: str, count: int = 1, seconds: float = PATIENCE) -> None:
        """Until the pattern is found in so many lines, of all; what `wait_for` goes by is left alone."""
        with self._changed:
            self._changed.wait_for(lambda: self.count(pattern) >= count or not self._reader.is_alive(), seconds)
        found = self.count(pattern)
        assert found >= count, (
            f"{self.name} said {pattern!r} {found} times, not {count}, within {seconds:g} s:\n"
            + "\n".join(self.lines[-40:])
        )

    def write(self, text: str) -> None:
        """Say something to its standard input."""
        assert self.process.stdin
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, and wait until it has; its status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join(PATIENCE)
            for stream in (self.process.stdin, self.process.stdout):
                if stream:
                    stream.close()
            # Shown by pytest where the test fails: what one program misses, another may tell.
            print(f"--- {self.name}, ended with {self.process.returncode}", *self.lines[-SHOWN_LINES:], sep="\n")
        return status

    def _collect(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


class Node:
    """A machine on the LAN: a namespace with one interface, a capture of all its packets, and no resolver."""

    renews_when_told = False  # only then, where dnsmasq gives the lease

    def __init__(self, lab: Lab, name: str, number: int) -> None:
        self.name = name
        self.folder = lab.folder / name
        self.folder.mkdir()
        self.namespace = f"{lab.prefix}-{name}"
        self.mac = f"02:00:0a:4d:00:{number:02x}"
        self._lab = lab
        self._port = f"port{number}"
        lab.make_namespace(self.namespace)
        lab.batch(
            f"link add {self._port} netns {lab.switch} type veth peer name {INTERFACE} netns {self.namespace}",
            f"-n {lab.switch} link set {self._port} master br0 up",
            f"-n {self.namespace} link set {INTERFACE} address {self.mac}",
            f"-n {self.namespace} link set lo up",
            f"-n {self.namespace} link set {INTERFACE} up",
        )
        self._pcap = self.folder / "capture.pcap"
        # "any" sees the loopback too: without a nameserver in resolv.conf glibc would ask 127.0.0.1.
        self._capture = self.start(
            "tcpdump", "tcpdump", "-i", "any", "-n", "-U", "--immediate-mode", "-Z", "root", "-w", self._pcap
        )
        self._capture.wait_for("listening on")

    def run(self, *command: str | Path, check: bool = True) -> str:
        """A command on this machine; its standard output."""
        return run("ip", "netns", "exec", self.namespace, *command, check=check)

    def start(self, name: str, *command: str | Path, stdin: bool = False, number: int = signal.SIGTERM) -> Program:
        """A program on this machine, stopped at the lab's end by that signal."""
        command = ("ip", "netns", "exec", self.namespace, *command)
        program = Program(f"{self.name}: {name}", command, stdin=stdin)
        self._lab.on_exit(lambda: program.stop(number))
        return program

    def python(self, name: str, *arguments: str | Path, stdin: bool = False) -> Program:
        """Python with our sources on this machine: `-m lanpost ...`."""
        return self.start(name, sys.executable, *arguments, stdin=stdin)

    def lanpost(self, *arguments: str | Path) -> str:
        """A lanpost command on this machine that ends by itself; its standard output."""
        return self.run("env", f"PYTHONPATH={SOURCES}", sys.executable, "-m", "lanpost", *arguments)

    def wait_for_listener(self, port: int, program: Program) -> None:
        """Until somebody listens at a TCP port of this machine, which `program` is expected to."""
        deadline = time.monotonic() + PATIENCE
        while not self.run("ss", "-Hltn", f"sport = :{port}"):
            assert program.process.poll() is None, f"{program.name} has ended:\n" + "\n".join(program.lines[-40:])
            assert time.monotonic() < deadline, f"nobody listens at {port}:\n" + "\n".join(program.lines[-40:])
            time.sleep(0.02)

    def wait_for_link_local(self) -> None:
        """Until the kernel has found that nobody else has its link-local address; DHCPv6 clients need one."""
        deadline = time.monotonic() + PATIENCE
        shown = ("-6", "addr", "show", "dev", INTERFACE, "scope", "link")
        while "fe80:" not in self.run("ip", *shown, "-tentative"):
            assert time.monotonic() < deadline, self.run("ip", *shown)
            time.sleep(0.02)

    def addresses(self) -> list[str]:
        """IPv4 addresses on the LAN."""
        (link,) = json.loads(run("ip", "-n", self.namespace, "-j", "-4", "addr", "show", "dev", INTERFACE)) or [{}]
        return [item["local"] for item in link.get("addr_info", ())]

    def plug_into(self, bridge: str, interface: str) -> None:
        """Give it a further interface, on another LAN of the switch's; the bridge is made where it is not there."""
        lab, port = self._lab, f"{self._port}{interface}"[:15]
        if bridge not in run("ip", "-n", lab.switch, "-br", "link"):
            lab.batch(f"-n {lab.switch} link add {bridge} type bridge", f"-n {lab.switch} link set {bridge} up")
        lab.batch(
            f"link add {port} netns {lab.switch} type veth peer name {interface} netns {self.namespace}",
            f"-n {lab.switch} link set {port} master {bridge} up",
            f"-n {self.namespace} link set {interface} up",
        )

    def sysctl(self, **values: int) -> None:
        """Set what the kernel does with IPv6 on the LAN's interface, as accept_ra=1."""
        for name, value in values.items():
            self.run("sysctl", "-qw", f"net.ipv6.conf.{INTERFACE}.{name}={value}")

    def plug_out(self) -> None:
        """Pull the cable: the interface has no carrier any more."""
        self._lab.batch(f"-n {self._lab.switch} link set {self._port} down")

    def plug_in(self) -> None:
        """Put the cable back."""
        self._lab.batch(f"-n {self._lab.switch} link set {self._port} up")

    def packets(self, expression: str) -> int:
        """How many packets of this machine a capture filter has matched so far; ends the capture."""
        self._capture.stop(signal.SIGINT)
        return len(run("tcpdump", "-r", self._pcap, "-nn", expression).splitlines())


class Terminal(Node):
    """A machine that gets its address by DHCP, from a real client."""

    client: Program

    def start_dhcp(self, kind: str, *, hooked: bool = False, version: int = 4, careful: bool = False) -> None:
        """Switched on: one of dhcp_clients.KINDS, with its own scripts, and with its hook if that is there."""
        from tests.lab import dhcp_clients

        self.client = dhcp_clients.start(self, kind, hooked=hooked, version=version, careful=careful)
        self._kind = kind

    def wait_for_lease(self, address: str) -> None:
        """Until the client says that it has this very address."""
        self.client.wait_for(rf"(?:lease of|bound to|leased|DHCPv4 address) {re.escape(address)}[ ,/]")

    def renew(self) -> None:
        """Have the client renew now; dhclient cannot be told, and does it in a second or two by itself (T1)."""
        self._tell_client({"dhcpcd": ("dhcpcd", "-N", INTERFACE), "networkd": ("networkctl", "renew", INTERFACE)})

    def rebind(self) -> None:
        """Have it ask whoever hears, as at T2: dhcpcd and networkd do not hear dnsmasq's refusal of a renewal."""
        again = ("networkctl", "reconfigure", INTERFACE)
        self._tell_client({"dhcpcd": ("dhcpcd", "-n", INTERFACE), "networkd": again})

    def _tell_client(self, commands: Mapping[str, tuple[str, ...]]) -> None:
        process = self.client.process
        if self._kind == "udhcpc":
            process.send_signal(signal.SIGUSR1)
        elif self._kind in commands:  # its sockets are in a /run of its own
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            inside = children[0] if self._kind == "networkd" else str(process.pid)  # unshare's child
            run("nsenter", "-t", inside, "-m", "-n", "-p", *commands[self._kind])


class KeaServer:
    """ISC Kea at the server's machine. A terminal is moved by its reservation: then Kea refuses its next renewal.

    A mere change of the pool would be met with silence until the lease ends.
    """

    LEASE, RENEW, REBIND = 16, 1, 8  # seconds; udhcpc takes no lease shorter than 16

    def __init__(self, node: Node, folder: Path) -> None:
        self._node = node
        self._folder = folder  # of a short name: a socket's may have 107 octets
        self._socket = self._folder / "control"
        self.hooks: list[Any] = []  # "hooks-libraries", before `start`
        self._options: Mapping[int, str] = {}

    def start(self, reservations: Mapping[Node, str], options: Mapping[int, str] = MappingProxyType({})) -> None:
        """Serve the LAN from now on. `options` by their codes (69, 70, 95) are sent whether asked for or not."""
        self._options = options
        file = self._folder / "kea.json"
        file.write_text(json.dumps(self._configuration(reservations)))
        places = (f"KEA_LOCKFILE_DIR={self._folder}", f"KEA_PIDFILE_DIR={self._folder}")
        self._program = self._node.start("kea", "env", *places, "kea-dhcp4", "-c", file)
        self._program.wait_for("DHCP4_STARTED")

    def move(self, reservations: Mapping[Node, str]) -> None:
        """Put other reservations in force, at once."""
        answer = self._command("config-set", self._configuration(reservations))
        assert answer["result"] == 0, answer

    def wait_for_leases(self, node: Node, address: str, count: int = 1) -> None:
        """Until this address was granted to a machine so many times, renewals included."""
        self._program.wait_until(self._granting(node, address), count)

    def granted(self, node: Node, address: str) -> int:
        """How many times it was so far."""
        return self._program.count(self._granting(node, address))

    @staticmethod
    def _granting(node: Node, address: str) -> str:
        return rf"DHCP4_LEASE_ALLOC .*{node.mac}.* lease {re.escape(address)} has been allocated"

    def _configuration(self, reservations: Mapping[Node, str]) -> dict[str, Any]:
        subnet = {
            "id": 1,
            "subnet": f"{NETWORK}.0/24",
            "pools": [{"pool": f"{NETWORK}.100 - {NETWORK}.199"}],
            "reservations": [
                {"hw-address": node.mac, "ip-address": address} for node, address in reservations.items()
            ],
        }
        return {
            "Dhcp4": {
                "interfaces-config": {"interfaces": [INTERFACE]},
                "lease-database": {"type": "memfile", "name": str(self._folder / "leases"), "lfc-interval": 0},
                "control-socket": {"socket-type": "unix", "socket-name": str(self._socket)},
                "authoritative": True,
                "valid-lifetime": self.LEASE,
                "renew-timer": self.RENEW,
                "rebind-timer": self.REBIND,
                "option-def": [{"name": "ldap-server", "code": 95, "type": "string"}],
                "option-data": [
                    {"code": code, "data": data, "always-send": True} for code, data in self._options.items()
                ],
                "subnet4": [subnet],
                "hooks-libraries": self.hooks,
                "loggers": [
                    {
                        "name": "kea-dhcp4",
                        "severity": "INFO",
                        "output_options": [{"output": "stdout", "flush": True}],
                    }
                ],
            }
        }

    def _command(self, name: str, arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(PATIENCE)
            channel.connect(str(self._socket))
            channel.sendall(json.dumps({"command": name, "arguments": arguments}).encode())
            answer = b""
            while chunk := channel.recv(65536):
                answer += chunk
        return json.loads(answer)


class Lab:
    """The LAN. Use it in a `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.switch = f"{self.prefix}-switch"
        self.nodes: list[Node] = []
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        _sweep()
        try:
            self.make_namespace(self.switch)
            self.batch(f"-n {self.switch} link add br0 type bridge", f"-n {self.switch} link set br0 up")
            self.server = Node(self, "server", 1)
            self.nodes.append(self.server)
            self.batch(f"-n {self.server.namespace} addr add {SERVER}/24 dev {INTERFACE}")
            kea_folder = self._exit.enter_context(tempfile.TemporaryDirectory(prefix="kea-"))
            self.dhcp = KeaServer(self.server, Path(kea_folder))
        except BaseException:
            self._exit.close()
            raise
        return self

    @cached_property
    def dnsmasq(self) -> DnsmasqServer:
        """A DHCP server instead of Kea, which refuses at once, and does IPv6 too."""
        from tests.lab.dnsmasq_server import DnsmasqServer

        return DnsmasqServer(self.server, self.folder / "dnsmasq")

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def terminal(self, name: str) -> Terminal:
        """One more machine, plugged in; it has no address before its `start_dhcp`."""
        terminal = Terminal(self, name, len(self.nodes) + 1)
        self.nodes.append(terminal)
        return terminal

    def packets(self, expression: str) -> int:
        """How many packets a capture filter matches, at all machines; ends the captures."""
        return sum(node.packets(expression) for node in self.nodes)

    def batch(self, *commands: str) -> None:
        """Several `ip` commands."""
        for command in commands:
            run("ip", *command.split())

    def make_namespace(self, name: str) -> None:
        """A namespace that is gone at the lab's end, with a resolv.conf of its own that names nobody."""
        own = Path("/etc/netns") / name
        self._exit.callback(shutil.rmtree, own, ignore_errors=True)
        own.mkdir(parents=True)
        (own / "resolv.conf").write_text("")
        self.batch(f"netns add {name}")
        self._exit.callback(run, "ip", "netns", "del", name)

    def on_exit(self, action: Any) -> None:
        """Called at the end, the last one first."""
        self._exit.callback(action)


def _sweep() -> None:
    """Take down what runs left that were killed."""
    for line in run("ip", "netns", "list").splitlines():
        found = re.match(rf"({PREFIX}-(\d+)-\S+)", line)
        if found and not Path(f"/proc/{found[2]}").exists():
            run("ip", "netns", "del", found[1], check=False)
            shutil.rmtree(Path("/etc/netns") / found[1], ignore_errors=True)
