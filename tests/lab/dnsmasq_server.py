"""dnsmasq as the lab's DHCP server: IPv4 by reservations, IPv6 by router advertisements and DHCPv6."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from tests.lab.network import INTERFACE, NETWORK, Node


class DnsmasqServer:
    """Serves the LAN from the server's machine. A terminal is moved by its reservation: then a renewal is refused.

    The refusal is broadcast: dhclient and udhcpc hear it when they renew, dhcpcd and networkd once they rebind.
    T1 is one second before T2, whatever dnsmasq is told. networkd, which adds a chance to both, is put out by that,
    and then does not even renew when told to: see `Node.renews_when_told`. (A tag in the hosts file has dnsmasq
    2.90 die at the next SIGHUP.)
    """

    LEASE, REBIND = 120, 3  # seconds; dnsmasq makes no shorter lease

    def __init__(self, node: Node, folder: Path) -> None:
        self._node = node
        self._hosts = folder / "hosts"
        self._leases = folder / "leases"
        folder.mkdir()

    def start(self, reservations: Mapping[Node, str], *options: str) -> None:
        """Serve the LAN from now on; `options` are further ones of dnsmasq's."""
        self._write(reservations)
        self._program = self._node.start(
            "dnsmasq",
            *("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file="),
            *("--user=root", "--port=0", f"--interface={INTERFACE}", "--bind-interfaces", "--dhcp-authoritative"),
            *("--no-ping", f"--dhcp-leasefile={self._leases}", f"--dhcp-hostsfile={self._hosts}"),
            f"--dhcp-range={NETWORK}.100,{NETWORK}.199,{self.LEASE}",
            f"--dhcp-option=tag:!patient,option:T2,{self.REBIND}",
            *(f"--dhcp-mac=set:patient,{node.mac}" for node in reservations if node.renews_when_told),
            *("--dhcp-option=option:router", "--dhcp-option=option:dns-server"),  # neither is told
            *options,
        )
        self._program.wait_for("read .*hosts")

    def move(self, reservations: Mapping[Node, str]) -> None:
        """Put other reservations in force, at once."""
        self._write(reservations)
        self._program.process.send_signal(signal.SIGHUP)
        self._program.wait_for("read .*hosts")

    def wait_for_leases(self, node: Node, address: str, count: int = 1) -> None:
        """Until this address was granted to a machine so many times, renewals included."""
        self._program.wait_until(rf"DHCPACK\(\w+\) {address} {node.mac}", count)

    def granted(self, node: Node, address: str) -> int:
        """How many times it was so far."""
        return self._program.count(rf"DHCPACK\(\w+\) {address} {node.mac}")

    def _write(self, reservations: Mapping[Node, str]) -> None:
        self._hosts.write_text("".join(f"{node.mac},{address}\n" for node, address in reservations.items()))
