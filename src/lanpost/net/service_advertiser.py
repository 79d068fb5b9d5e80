"""Telling the hosts on our links which services this server has: DNS-SD over multicast DNS (RFC 6763, RFC 6762).

The records hold our addresses themselves; nobody has to look a name up anywhere. `zeroconf`, an optional library,
does the work on the event loop; loading it takes a while and is done in a thread.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import logging
import socket
from collections.abc import Sequence
from typing import Any

from lanpost.errors import DiscoveryUnavailable
from lanpost.model.discovery import Service

MAX_LABEL = 63  # octets of an instance's name (RFC 6763 §7.2)
LOCAL = "local."


async def load_library() -> Any:
    """`zeroconf.asyncio`. Raises DiscoveryUnavailable, with the remedy."""
    logging.getLogger("zeroconf").setLevel(logging.ERROR)  # of a link that is just gone it has much to say
    try:
        return await asyncio.to_thread(importlib.import_module, "zeroconf.asyncio")
    except ImportError:
        raise DiscoveryUnavailable(
            "DNS-SD needs the library zeroconf, which is not here: install lanpost (`sudo ./lanpost.pyz install`), "
            "or where it was installed by pip: pip install 'lanpost[discovery]'"
        ) from None


def open_multicast(library: Any, addresses: Sequence[str]) -> Any:
    """Its `AsyncZeroconf` on the links where we have these addresses. Raises DiscoveryUnavailable."""
    if not (there := [address for address in addresses if _is_ours(address)]):
        raise DiscoveryUnavailable(f"no multicast DNS: no address of ours among {', '.join(addresses) or 'none'}")
    try:
        return library.AsyncZeroconf(interfaces=there)
    except (OSError, RuntimeError) as error:
        raise DiscoveryUnavailable(f"no multicast DNS at {', '.join(there)}: {error}") from None


class Advertiser:
    """Tells of some services at some addresses, from `start` to `stop`; `start` again for others.

    `instance` is what people see in a list; `host` makes a name for us under `.local.` that nobody else has.
    """

    def __init__(self, instance: str, host: str) -> None:
        self._instance = _label(instance)
        self._host = f"{_label(host)}.{LOCAL}"
        self._running: Any = None
        self._was_probed = False

    async def start(self, services: Sequence[Service], addresses: Sequence[str]) -> None:
        """Announce them. `addresses` (IP literals of ours) also say on which links. Raises DiscoveryUnavailable."""
        await self.stop()
        library = await load_library()
        packed = [ipaddress.ip_address(address).packed for address in addresses]
        try:
            self._running = running = open_multicast(library, addresses)
            infos = [
                library.AsyncServiceInfo(
                    f"{service.type}.{LOCAL}",
                    f"{self._instance}.{service.type}.{LOCAL}",
                    port=service.port,
                    addresses=packed,
                    properties=dict(service.text),
                    server=self._host,
                )
                for service in services
            ]
            # Asked once whether anybody else has our names (RFC 6762 §8.1); an address of ours that has changed
            # should be known at once.
            announced = await asyncio.gather(
                *(
                    running.async_register_service(
                        info, allow_name_change=True, cooperating_responders=self._was_probed, strict=False
                    )
                    for info in infos
                )
            )
            self._was_probed = True
            await asyncio.gather(*announced)
        except (OSError, RuntimeError) as error:
            await self.stop()
            raise DiscoveryUnavailable(f"no multicast DNS at {', '.join(addresses)}: {error}") from None

    async def stop(self) -> None:
        """Say goodbye and be silent. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            await running.async_close()


def _is_ours(address: str) -> bool:
    """The library leaves sockets open where it fails half-way: an address that has just gone is no reason to."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _label(text: str) -> str:
    """As one label: a dot would begin another."""
    return text.replace(".", "-").encode("utf-8", "replace")[:MAX_LABEL].decode("utf-8", "ignore") or "lanpost"
