"""Networks as the settings name them, and whether a client is in one of them."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4096)  # clients come again and again
def is_within(host: str, networks: tuple[Network, ...]) -> bool:
    """A host in at least one of them; "", a client that was gone before it could be asked, is in none."""
    return bool(networks) and bool(host) and any(ipaddress.ip_address(host) in network for network in networks)
