"""The host's own addresses, as the Linux kernel tells of them by rtnetlink (RFC 3549).

`AddressTable` reads the messages and knows no socket; `NetlinkWatch` is the thin shell around it. Every DHCP
client ends in the kernel, so this sees what each of them does, at once and without a hook. Standard library only:
the agent is carried to small devices, and a netlink library would be a dependency for these few structures.

Only addresses that others can reach us at count: scope global, not tentative, not deprecated, not temporary.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

log = logging.getLogger(__name__)

IS_AVAILABLE = hasattr(socket, "AF_NETLINK")

RECEIVE_OCTETS = 65536  # the kernel never makes a datagram of a dump longer than 32 KiB
RECEIVE_BUFFER = 262_144  # octets queued in the kernel; more is lost, told by ENOBUFS, and asked for anew
MAX_DATAGRAMS = 64  # read in one turn of the event loop

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port (struct nlmsghdr)
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, interface (struct ifaddrmsg)
_LINK = struct.Struct("=BxHiII")  # family, type, interface, flags, change (struct ifinfomsg)
_ATTRIBUTE = struct.Struct("=HH")  # length, type (struct rtattr)

_ERROR, _DONE = 2, 3
_NEW_LINK, _DEL_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _DEL_ADDRESS, _GET_ADDRESS = 20, 21, 22
_REQUEST, _DUMP, _DUMP_INTERRUPTED = 0x01, 0x300, 0x10
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFLA_NAME = 3
_SCOPE_GLOBAL = 0
_TEMPORARY, _DAD_FAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40
_UP, _LOOPBACK, _LOWER_UP = 0x1, 0x8, 0x10000
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR


class Change(Enum):
    """What a watch tells of."""

    ADDRESSES = "addresses"  # the set of own addresses is another one now
    LINK_UP = "link up"  # a cable was plugged in, a radio found its network; addresses may be the same


@dataclass(slots=True)
class _View:
    """Links by index, and the usable addresses on each of them."""

    up: dict[int, bool] = field(default_factory=dict)
    hosts: set[tuple[int, str]] = field(default_factory=set)


class AddressTable:
    """Reads rtnetlink datagrams, keeps the addresses, says what changed. No I/O.

    `next_request` gives the datagram that is due to the kernel, if any: at the start, when `resync` was called,
    and when one half of the listing is over.
    """

    def __init__(self) -> None:
        self._view = _View()
        self._building: _View | None = None  # while the kernel lists everything
        self._asked = _GET_LINK
        self._listing = False  # asked, and neither end nor error seen: a second request would meet EBUSY
        self._disturbed = False
        self._sequence = 0
        self._request: bytes | None = None
        self._ever_complete = False
        self.resync()

    @property
    def addresses(self) -> frozenset[str]:
        """The usable addresses, as canonical literals."""
        return frozenset(host for _, host in self._view.hosts)

    def resync(self) -> None:
        """Messages were lost: have the kernel list everything anew. What is known stays until that is complete."""
        if self._listing:
            self._disturbed = True
        else:
            self._building = _View()
            self._ask(_GET_LINK)

    def next_request(self) -> bytes | None:
        """What to send to the kernel now; None: nothing."""
        request, self._request = self._request, None
        return request

    def receive_datagram(self, data: bytes) -> set[Change]:
        """Take one datagram in. No input raises: what cannot be read is passed over."""
        before = self.addresses
        links_up = {index for index, is_up in self._view.up.items() if is_up}
        was_complete = self._ever_complete
        for kind, flags, sequence, body in _messages(data):
            self._take(kind, flags, sequence, body)
        changes = set()
        if self._ever_complete and (not was_complete or self.addresses != before):
            changes.add(Change.ADDRESSES)
        if was_complete and any(up and index not in links_up for index, up in self._view.up.items()):
            changes.add(Change.LINK_UP)
        return changes

    def _ask(self, kind: int) -> None:
        self._asked = kind
        self._listing, self._disturbed = True, False
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        # The message behind the header is a zeroed ifinfomsg or ifaddrmsg: every family, every interface.
        size = _LINK.size if kind == _GET_LINK else _ADDRESS.size
        self._request = _HEADER.pack(_HEADER.size + size, kind, _REQUEST | _DUMP, self._sequence, 0) + bytes(size)

    def _take(self, kind: int, flags: int, sequence: int, body: bytes) -> None:
        building = self._building
        if building is not None and sequence == self._sequence:
            self._disturbed |= bool(flags & _DUMP_INTERRUPTED)
            if kind in (_DONE, _ERROR):
                self._listed(building)
            else:
                _apply(building, kind, body)
        else:
            _apply(self._view, kind, body)
            if building is not None:
                _apply(building, kind, body)

    def _listed(self, built: _View) -> None:
        self._listing = False
        if self._disturbed:
            self.resync()
        elif self._asked == _GET_LINK:
            self._ask(_GET_ADDRESS)
        else:
            self._view, self._building, self._ever_complete = built, None, True


def _apply(view: _View, kind: int, body: bytes) -> None:
    if kind in (_NEW_LINK, _DEL_LINK) and len(body) >= _LINK.size:
        _, _, index, flags, _ = _LINK.unpack_from(body)
        if kind == _DEL_LINK:
            view.up.pop(index, None)
            view.hosts = {(at, host) for at, host in view.hosts if at != index}
        elif not flags & _LOOPBACK:
            view.up[index] = bool(flags & _UP and flags & _LOWER_UP)
    elif kind in (_NEW_ADDRESS, _DEL_ADDRESS) and len(body) >= _ADDRESS.size:
        found = _read_address(body)
        if found:
            index, host, is_usable = found
            (view.hosts.add if kind == _NEW_ADDRESS and is_usable else view.hosts.discard)((index, host))


def _read_address(body: bytes) -> tuple[int, str, bool] | None:
    family, _, flags, scope, index = _ADDRESS.unpack_from(body)
    attributes = dict(_attributes(body[_ADDRESS.size :]))
    packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
    if len(packed) != {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family, -1):
        return None
    if len(wide := attributes.get(_IFA_FLAGS, b"")) == 4:
        (flags,) = struct.unpack("=I", wide)
    # Bit 0 says "temporary" of an IPv6 address (RFC 8981) and "secondary", which is as good, of an IPv4 one.
    unusable = _DAD_FAILED | _DEPRECATED | _TENTATIVE | (_TEMPORARY if family == socket.AF_INET6 else 0)
    return index, str(ipaddress.ip_address(packed)), scope == _SCOPE_GLOBAL and not flags & unusable


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            return
        yield kind, flags, sequence, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            return
        yield kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


class NetlinkWatch:
    """Calls `notify` at every change of the own addresses, and when a link comes up, until closed.

    The first call comes when the kernel has listed what there is. OSError: the kernel gives no such socket.
    """

    def __init__(self, notify: Callable[[Change], object]) -> None:
        self._notify = notify
        self._table = AddressTable()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._socket.bind((0, _GROUPS))
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket, self._readable)
        except BaseException:
            self._socket.close()
            raise
        self._send_due()

    @property
    def addresses(self) -> frozenset[str]:
        """The usable addresses known now."""
        return self._table.addresses

    def look(self) -> None:
        """Have the kernel list everything anew. Whatever had been missed is told of as a change."""
        self._table.resync()
        self._send_due()

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        changes: set[Change] = set()
        for _ in range(MAX_DATAGRAMS):
            try:
                data, (port, _groups) = self._socket.recvfrom(RECEIVE_OCTETS)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                log.debug("netlink messages were lost; asking the kernel anew")
                self._table.resync()
            else:
                if port == 0:  # from the kernel, not from some process
                    changes |= self._table.receive_datagram(data)
            self._send_due()
        for change in sorted(changes, key=lambda change: change.value):
            self._notify(change)

    def _send_due(self) -> None:
        if (request := self._table.next_request()) is not None:
            self._socket.sendto(request, (0, 0))
