"""Where SMTP is spoken: an IP address, an optional zone, a port. Never a host name."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

from lanpost.errors import InvalidEndpoint
from lanpost.model.proof import Proof

SMTP_PORT = 25
# The commonest form, written as we write it ourselves: a short way past `ipaddress` for a chart of a million. What
# does not match is looked at closely, to be read or refused.
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_UNICAST_IPV4 = re.compile(
    rf"((?:22[0-3]|2[01]\d|1\d\d|[1-9]\d?)\.{_OCTET}\.{_OCTET}\.{_OCTET})(?::([1-9]\d{{0,3}}))?\Z", re.ASCII
)
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that exists is valid: `host` is a canonical IP literal without zone (RFC 4291, RFC 5952)."""

    host: str
    port: int = SMTP_PORT
    zone: str = ""  # interface of a link-local IPv6 address (RFC 4007 §11)

    @staticmethod
    def parse(text: str, default_port: int = SMTP_PORT) -> Endpoint:
        """Read `10.0.0.7`, `10.0.0.7:25`, `2001:db8::7`, `[2001:db8::7]:25`, `[fe80::7%eth0]:25`.

        Raises InvalidEndpoint; a host name is one of the things it refuses.
        """
        return _parse(text, default_port)

    @staticmethod
    def of(host: str, port: int, zone: str = "") -> Endpoint:
        """An endpoint from its parts, checked. Raises InvalidEndpoint."""
        return _checked(host, zone, str(port), f"{host}:{port}")

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def literal(self) -> str:
        """As an address literal of a mail address (RFC 5321 §4.1.3)."""
        return f"[IPv6:{self.host}]" if self.is_ipv6 else f"[{self.host}]"

    def __str__(self) -> str:
        host = f"{self.host}%{self.zone}" if self.zone else self.host
        return f"[{host}]:{self.port}" if self.is_ipv6 else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProvenEndpoint(Endpoint):
    """One whose machine has to show who it is before it is given mail; equal only to one with the same proof."""

    proof: Proof | None = None


def proof_of(endpoint: Endpoint) -> Proof | None:
    """What its machine has to show; None: nothing."""
    return endpoint.proof if isinstance(endpoint, ProvenEndpoint) else None


@lru_cache(maxsize=8192)
def _parse(text: str, default_port: int) -> Endpoint:
    if (plain := _UNICAST_IPV4.match(text)) and (plain[2] or 0 < default_port < 65536):
        return Endpoint(plain[1], int(plain[2] or default_port))
    text = text.strip()
    port = str(default_port)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidEndpoint(f"{text[:80]!r} is not an endpoint; write it as [2001:db8::7]:25")
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host = text
    host, _, zone = host.partition("%")
    return _checked(host, zone, port, text)


def _checked(host: str, zone: str, port: str, text: str) -> Endpoint:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise InvalidEndpoint(
            f"{text[:80]!r} is not an endpoint: write an IP address and a port, as 10.0.0.7:25; "
            "host names are not looked up"
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast or host == "255.255.255.255":
        raise InvalidEndpoint(f"{text[:80]!r}: no mail can be sent to {address}")
    if zone and not (isinstance(address, ipaddress.IPv6Address) and _ZONE.match(zone)):
        raise InvalidEndpoint(f"{text[:80]!r}: a zone (%{zone[:32]}) belongs to a link-local IPv6 address")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise InvalidEndpoint(f"{text[:80]!r}: the port must be a number from 1 to 65535")
    return Endpoint(str(address), int(port), zone)
