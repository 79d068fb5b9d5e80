"""What both ways to a terminal's registrar have in common: whom to trust, and the connection.

Standard library only. No name is ever resolved.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import ipaddress
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

CONNECT_SECONDS = 4.0  # a server on the LAN answers in milliseconds; the token may name further addresses

# Dates are not judged: many a terminal has no battery behind its clock and starts in 1970, or on the day its
# firmware was built. It trusts one authority only, that of its token.
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for

# From linux/in6.h; the socket module has no names for them.
_IPV6_ADDR_PREFERENCES, _PREFER_SRC_PUBLIC = 72, 0x2

# Address, index, prefix, scope, flags (IFA_F_... of linux/if_addr.h, in hexadecimal) and link of each IPv6 address.
OWN_ADDRESSES = Path("/proc/net/if_inet6")
_TEMPORARY = 0x01

_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN)


def verifying(authority: str) -> ssl.SSLContext:
    """A context that trusts whom this CA certificate (PEM) vouches for, and nobody else."""
    context = ssl.create_default_context(cadata=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


def pin_of(authority: str) -> str:
    """The pin of a CA certificate (PEM). Raises ValueError for what is none."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority.strip())).hexdigest()


def is_want_of_way(error: OSError) -> bool:
    """It is for want of an address or a route here."""
    return error.errno in _NO_WAY


async def connect_from(source: str, host: str, port: int) -> socket.socket:
    """A connected socket to an IP literal, from that own address; "": from whichever reaches it. Raises OSError."""
    family, where = _numeric(host, port)
    source_family, own = _numeric(source, 0) if source else (family, None)
    if source_family != family:
        raise OSError(errno.EADDRNOTAVAIL, f"not to be reached from {source}, of another IP version")
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        prefer_public(sock)
        if own:
            sock.bind(own)
        try:
            await asyncio.get_running_loop().sock_connect(sock, where)
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0)) from None  # without asyncio's own words
        _check_lasting(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def prefer_public(sock: socket.socket) -> None:
    """Speak from an address that lasts, not from a temporary one (RFC 5014 §5): it is what we are bound to."""
    if sock.family == socket.AF_INET6 and sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel without temporary addresses
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_ADDR_PREFERENCES, _PREFER_SRC_PUBLIC)


def is_lasting(sock: socket.socket) -> bool:
    """It is connected from an address that is worth a registration.

    While a better one is being checked (RFC 4862 §5.4) the kernel speaks from a link-local address, which is worth
    nothing without its link, or from a temporary one (RFC 8981).
    """
    own, peer = (_literal(name[0]) for name in (sock.getsockname(), sock.getpeername()))
    if own.version == 4:
        return True
    if own.is_link_local:
        return peer.is_link_local
    try:
        lines = OWN_ADDRESSES.read_text("ascii").splitlines()
    except OSError:  # another system
        return True
    return not any(
        int(flags, 16) & _TEMPORARY
        for octets, _, _, _, flags, *_ in map(str.split, lines)
        if int(octets, 16) == int(own)
    )


def _check_lasting(sock: socket.socket) -> None:
    if not is_lasting(sock):
        raise OSError(errno.EADDRNOTAVAIL, "no lasting address yet, only a temporary or link-local one")


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])


def _numeric(host: str, port: int) -> tuple[int, Any]:
    """Family and socket address of an IP literal; a name is refused by the system, not looked up."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
    return family, where
