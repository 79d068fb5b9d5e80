"""Networks as the settings name them, and whether a client is in one of them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4096)  # clients come again and again
def is_within(host: str, networks: tuple[Network, ...]) -> bool:
    """A host in at least one of them; "", a client that was gone before it could be asked, is in none."""
    return bool(networks) and bool(host) and any(ipaddress.ip_address(host) in network for network in networks)


def peer_of(host: str) -> str:
    """An IPv6 host commands a whole /64, and is one peer with it; any other host is its own."""
    if ":" not in host:
        return host
    address = ipaddress.ip_address(host)
    if not address.is_link_local and not address.is_loopback:
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return host
