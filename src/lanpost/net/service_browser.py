"""Looking for servers on our links by DNS-SD over multicast DNS (RFC 6763, RFC 6762).

Addresses come from the answers themselves; no name is looked up by DNS. Whoever is on the link may answer: what is
found says where to ask, never whom to believe, and is bounded in number and time.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanpost.errors import DiscoveryUnavailable
from lanpost.net.service_advertiser import LOCAL, load_library, open_multicast

FIRST_SECONDS = 2.5  # for the first answer: our question is sent anew after one second
FURTHER_SECONDS = 0.3  # for those of other servers, which wait up to 120 ms before they answer (RFC 6762 §6)
RESOLVE_MS = 1500
MAX_INSTANCES = 32
MAX_ADDRESSES = 8  # of each
MAX_TEXT = 255  # characters of a value (RFC 6763 §6.1)


@dataclass(frozen=True, slots=True)
class Instance:
    """A service that somebody tells of. `hosts` are IP literals, no link-local ones."""

    type: str
    hosts: tuple[str, ...]
    port: int
    text: Mapping[str, str]


async def browse(types: Sequence[str], addresses: Sequence[str]) -> list[Instance]:
    """What there is of some types, on the links where we have these addresses. Raises DiscoveryUnavailable."""
    library = await load_library()
    running = open_multicast(library, addresses)
    try:
        loopback = any(ipaddress.ip_address(address).is_loopback for address in addresses)
        return await _Search(library, running, types, loopback=loopback).run()
    except (OSError, RuntimeError) as error:
        raise DiscoveryUnavailable(f"no multicast DNS at {', '.join(addresses)}: {error}") from None
    finally:
        await asyncio.shield(running.async_close())


class _Search:
    def __init__(self, library: Any, running: Any, types: Sequence[str], *, loopback: bool) -> None:
        self._library, self._running, self._loopback = library, running, loopback
        self._types = [f"{each}.{LOCAL}" for each in types]
        self._tasks: dict[tuple[str, str], asyncio.Task[Instance | None]] = {}
        self._heard = asyncio.Event()

    async def run(self) -> list[Instance]:
        browser = self._library.AsyncServiceBrowser(self._running.zeroconf, self._types, handlers=[self._changed])
        try:
            try:
                async with asyncio.timeout(FIRST_SECONDS):
                    await self._heard.wait()
            except TimeoutError:
                return []
            await asyncio.sleep(FURTHER_SECONDS)
            tasks = list(self._tasks.values())
            return [found for found in await asyncio.gather(*tasks) if found is not None]
        finally:
            for task in self._tasks.values():
                task.cancel()
            await browser.async_cancel()

    def _changed(self, **event: Any) -> None:
        key = (str(event["service_type"]), str(event["name"]))
        if key not in self._tasks and len(self._tasks) < MAX_INSTANCES:
            self._tasks[key] = asyncio.ensure_future(self._resolve(*key))
            self._heard.set()

    async def _resolve(self, service_type: str, name: str) -> Instance | None:
        info = self._library.AsyncServiceInfo(service_type, name)
        if not await info.async_request(self._running.zeroconf, RESOLVE_MS):
            return None
        hosts = [str(address) for address in info.parsed_addresses() if self._is_usable(address)][:MAX_ADDRESSES]
        if not hosts or not info.port:
            return None
        return Instance(service_type.removesuffix(f".{LOCAL}"), tuple(hosts), info.port, _text(info))

    def _is_usable(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        if address.is_loopback:
            return self._loopback  # only who looks there means it
        return not (address.is_link_local or address.is_unspecified or address.is_multicast)


def _text(info: Any) -> dict[str, str]:
    found = {}
    for key, value in info.decoded_properties.items():
        if value is not None and len(value) <= MAX_TEXT and value.isascii() and value.isprintable():
            found[key.lower()] = value
    return found
