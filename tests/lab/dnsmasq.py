"""dnsmasq at the server's machine, as a DHCP server only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.lab.network import INTERFACE, NETWORK, Node, Program


class DnsmasqServer:
    """Its leases are in its memory and a file in `folder`; a new server with another folder has forgotten them."""

    program: Program

    def __init__(self, node: Node, folder: Path) -> None:
        self._node = node
        self._folder = folder
        folder.mkdir()

    def start(self, reservations: Mapping[Node, str], *options: str | Path) -> None:
        """Serve the LAN from now on; it makes no lease shorter than two minutes."""
        hosts = [f"--dhcp-host={node.mac},{address}" for node, address in reservations.items()]
        self.program = self._node.start(
            "dnsmasq",
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
            f"--interface={INTERFACE}",
            f"--dhcp-range={NETWORK}.100,{NETWORK}.199,2m",
            f"--dhcp-leasefile={self._folder}/leases",
            f"--pid-file={self._folder}/pid",
            "--log-facility=-",
            "--dhcp-authoritative",
            "--no-ping",
            *hosts,
            *options,
        )
        self.program.wait_for("DHCP, IP range")
