"""One datagram to everyone on the links: IPv4 broadcast and an IPv6 multicast group, on each interface.

No interface's name or address is configured: the kernel's list of the moment is used. Standard library only.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from lanpost.model.endpoint import Endpoint

log = logging.getLogger(__name__)

# Link-local and not assigned by anybody (RFC 4291 §2.7: T = 1); "lanp".
GROUP = "ff12::6c61:6e70"
EVERYWHERE = "255.255.255.255"  # this link's hosts (RFC 919 §7); not forwarded by any router
LOOPBACK = "127.255.255.255"
LOOPBACK_NAME = "lo"

_IPV4_INFO = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, source, destination
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)


def broadcast(data: bytes, port: int, further: Sequence[Endpoint] = ()) -> list[str]:
    """Send to every host on every link, and to `further` addresses, unicast or broadcast ones.

    Returns what it went to, for people; a link that is down or refuses is left out. Does not wait.
    """
    reached: list[str] = []
    interfaces = socket.if_nameindex()
    with _datagram_socket(socket.AF_INET) as sock:
        for index, name in interfaces:
            if name == LOOPBACK_NAME:
                if _sent(sock, data, (LOOPBACK, port), name):
                    reached.append(name)
                continue
            info = (socket.IPPROTO_IP, _IP_PKTINFO, _IPV4_INFO.pack(index, bytes(4), bytes(4)))
            with suppress(OSError):  # no IPv4 address there, or it is down
                sock.sendmsg([data], [info], 0, (EVERYWHERE, port))
                reached.append(name)
        reached += [
            str(each)
            for each in further
            if not each.is_ipv6 and _sent(sock, data, (each.host, each.port), str(each))
        ]
    if socket.has_ipv6:
        reached += _multicast(data, port, interfaces, further)
    return reached


def _multicast(
    data: bytes, port: int, interfaces: Sequence[tuple[int, str]], further: Sequence[Endpoint]
) -> list[str]:
    reached = []
    try:
        sock = _datagram_socket(socket.AF_INET6)
    except OSError:
        return []  # the kernel has no IPv6
    with sock:
        for index, name in interfaces:
            if _sent(sock, data, (GROUP, port, 0, index), name):
                reached.append(f"{name} (IPv6)")
        for endpoint in further:
            zone = socket.if_nametoindex(endpoint.zone) if endpoint.zone else 0
            if endpoint.is_ipv6 and _sent(sock, data, (endpoint.host, endpoint.port, 0, zone), str(endpoint)):
                reached.append(str(endpoint))
    return reached


def _datagram_socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if family == socket.AF_INET:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return sock


def _sent(sock: socket.socket, data: bytes, where: tuple[str, int] | tuple[str, int, int, int], name: str) -> bool:
    try:
        sock.sendto(data, where)
    except OSError as error:
        log.debug("cannot send to %s: %s", name, error.strerror or error)
        return False
    return True


def group_member(sock: socket.socket, index: int) -> bool:
    """Have an IPv6 socket hear the group on that interface. False: not possible there, or it does already."""
    request = ipaddress.IPv6Address(GROUP).packed + struct.pack("@I", index)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    except OSError:
        return False
    return True
