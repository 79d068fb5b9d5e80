"""This host's own addresses, asked once: what a server names itself by. To follow them, see `address_watch`.

Standard library only; nothing is resolved.
"""

from __future__ import annotations

import ipaddress
import socket

from lanpost.net import netlink
from lanpost.net.netlink import RECEIVE_OCTETS, AddressTable, Change

ANSWER_SECONDS = 2.0  # the kernel answers at once
MAX_DATAGRAMS = 1000  # of one listing: tens of thousands of addresses

# Addresses for documentation (RFC 5737, RFC 3849): a datagram socket "connected" there sends nothing, and tells the
# source address that the routing table gives it.
_SOMEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def own_addresses() -> tuple[str, ...]:
    """Addresses of scope global that others can reach this host at, IPv4 first. Empty: it has none now.

    Canonical literals; without loopback, link-local, temporary, tentative and deprecated ones.
    """
    found = _listed_by_kernel() if netlink.IS_AVAILABLE else None
    addresses = (ipaddress.ip_address(host) for host in (_by_route() if found is None else found))
    return tuple(str(address) for address in sorted(addresses, key=lambda each: (each.version, int(each))))


def _listed_by_kernel() -> frozenset[str] | None:
    table = AddressTable()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
            sock.settimeout(ANSWER_SECONDS)
            sock.bind((0, 0))
            for _ in range(MAX_DATAGRAMS):
                if (request := table.next_request()) is not None:
                    sock.sendto(request, (0, 0))
                data, (port, _groups) = sock.recvfrom(RECEIVE_OCTETS)
                # Port 0 is the kernel, not some process; the first set of addresses comes when it has listed all.
                if port == 0 and Change.ADDRESSES in table.receive_datagram(data):
                    return table.addresses
    except OSError:
        pass
    return None


def _by_route() -> frozenset[str]:
    found = set()
    for family, somewhere in _SOMEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((somewhere, 9))
                found.add(str(probe.getsockname()[0]))
        except OSError:
            continue
    return frozenset(found)
