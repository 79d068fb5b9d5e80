"""Hears refresh requests on a terminal: a UDP socket for each family. Standard library only.

Whoever floods it costs a bounded number of reads a second; what comes beyond that is dropped by the kernel.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from lanpost.net.broadcast import group_member
from lanpost.wire.refresh import MAX_OCTETS

log = logging.getLogger(__name__)

RECEIVE_BUFFER = 16384  # octets in the kernel: some dozens of requests
READS_AT_ONCE = 20
READ_PAUSE = 0.1  # seconds that a flooded socket is left alone


class RefreshListener:
    """Calls `heard` with each datagram, until closed. At least one family works, or OSError."""

    def __init__(self, port: int, heard: Callable[[bytes], object]) -> None:
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._sockets: list[socket.socket] = []
        failure: OSError | None = None
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                sock = _listening(family, port)
            except OSError as error:
                failure = error
                continue
            self._sockets.append(sock)
            self._loop.add_reader(sock, self._readable, sock)
        if not self._sockets:
            assert failure
            raise failure
        self.join()

    def join(self) -> None:
        """Hear the IPv6 group on interfaces that have come since, too. Cheap: to be called at each change."""
        for sock in self._sockets:
            if sock.family == socket.AF_INET6:
                for index, _ in socket.if_nameindex():
                    group_member(sock, index)

    def close(self) -> None:
        """Listen no more. Idempotent."""
        for timer in self._pauses.values():
            timer.cancel()
        self._pauses.clear()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(READS_AT_ONCE):
            try:
                datagram = sock.recv(MAX_OCTETS + 1)  # one more: what is longer is seen to be
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("refresh requests cannot be read: %s", error)
                return
            self._heard(datagram)
        self._loop.remove_reader(sock)
        self._pauses[sock] = self._loop.call_later(READ_PAUSE, self._read_again, sock)

    def _read_again(self, sock: socket.socket) -> None:
        del self._pauses[sock]
        self._loop.add_reader(sock, self._readable, sock)


def _listening(family: socket.AddressFamily, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        # Several agents of one host each hear what is sent to all.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("::" if family == socket.AF_INET6 else "", port))
    except BaseException:
        sock.close()
        raise
    return sock
