"""TCP connections to endpoints. No name is ever resolved here, neither by us nor by the event loop.

The socket is connected by hand: uvloop's `sock_connect` passes literals through getaddrinfo and loses the zone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from lanpost.errors import DeliveryError, InvalidEndpoint
from lanpost.model.endpoint import Endpoint

_SocketAddress = tuple[str, int] | tuple[str, int, int, int]


async def dial(endpoint: Endpoint, timeout_seconds: float) -> socket.socket:
    """A connected, non-blocking socket with TCP_NODELAY.

    Raises DeliveryError (temporary, 4.4.1), whose text says what happened and where; InvalidEndpoint where the
    host is no IP literal.
    """
    address = _socket_address(endpoint)
    connection = socket.socket(socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        error = await _connect(connection, address, timeout_seconds)
    except BaseException:
        connection.close()
        raise
    if error:
        connection.close()
        raise DeliveryError(_in_words(error, endpoint, timeout_seconds), permanent=False, status="4.4.1")
    return connection


async def _connect(connection: socket.socket, address: _SocketAddress, timeout_seconds: float) -> int:
    """The error number that connecting ends with; 0: connected."""
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = connection.connect_ex(address)
        if error == errno.EINPROGRESS:
            error = await _outcome(connection, timeout_seconds)
        # On loopback a connection to a free port can, by chance of the port we got ourselves, reach itself.
        if not error and connection.getsockname() == connection.getpeername():
            error = errno.ECONNREFUSED
    except OSError as failure:
        error = failure.errno or errno.EIO
    return error


def _socket_address(endpoint: Endpoint) -> _SocketAddress:
    try:
        socket.inet_pton(socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET, endpoint.host)
    except OSError:
        raise InvalidEndpoint(f"{endpoint.host!r} is not an IP address; host names are not looked up") from None
    if not endpoint.is_ipv6:
        return endpoint.host, endpoint.port
    return endpoint.host, endpoint.port, 0, _scope(endpoint) if endpoint.zone else 0


def _scope(endpoint: Endpoint) -> int:
    """The interface's number (RFC 4007 §11): of a name, or as given."""
    try:
        return int(endpoint.zone) if endpoint.zone.isdecimal() else socket.if_nametoindex(endpoint.zone)
    except OSError:
        raise DeliveryError(
            f"cannot reach {endpoint}: there is no interface {endpoint.zone} here", permanent=False, status="4.4.1"
        ) from None


async def _outcome(connection: socket.socket, timeout_seconds: float) -> int:
    """The error number once the kernel has it; ETIMEDOUT when it takes too long."""
    loop = asyncio.get_running_loop()
    decided: asyncio.Future[int] = loop.create_future()

    def writable() -> None:
        if not decided.done():
            decided.set_result(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def time_is_up() -> None:
        if not decided.done():
            decided.set_result(errno.ETIMEDOUT)

    loop.add_writer(connection, writable)
    timer = loop.call_later(timeout_seconds, time_is_up)
    try:
        return await decided
    finally:
        timer.cancel()
        loop.remove_writer(connection)


def _in_words(error: int, endpoint: Endpoint, timeout_seconds: float) -> str:
    if error in (errno.ECONNREFUSED, errno.ECONNRESET):
        return f"connection refused by {endpoint}"
    if error in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN):
        return f"{endpoint} cannot be reached: {os.strerror(error)}"
    if error == errno.ETIMEDOUT:
        return f"{endpoint} does not answer: no connection within {timeout_seconds:g} s"
    if error == errno.EINVAL and endpoint.is_ipv6 and not endpoint.zone:
        return f"cannot connect to {endpoint}: a link-local address needs its interface, as in [fe80::7%eth0]:25"
    return f"cannot connect to {endpoint}: {os.strerror(error)}"
