"""What a server tells of itself on its links (`[discovery] advertise`) while it runs, wherever it moves."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from lanpost.errors import DiscoveryUnavailable
from lanpost.model.discovery import (
    LDAP_TYPE,
    POP3_TYPE,
    REGISTRAR_TYPE,
    SUBMISSION_TYPE,
    Service,
    registrar_text,
)
from lanpost.net.address_watch import open_watch
from lanpost.net.own_addresses import own_addresses
from lanpost.net.service_advertiser import Advertiser

SETTLE_SECONDS = 0.2  # a DHCP client takes one address away before it sets the next
LOOK_SECONDS = 60.0  # at our addresses where nobody tells of a change; and again where multicast was not possible
TYPES = {"http": REGISTRAR_TYPE, "ldap": LDAP_TYPE, "submission": SUBMISSION_TYPE, "pop3": POP3_TYPE}
PIN_SHOWN = 12  # hex digits of the pin that make our names unlike those of other servers

Listening = Mapping[str, Sequence[tuple[str, int]]]  # of each service, hosts and real ports

log = structlog.get_logger()


class Advertisement:
    """`run` tells until it is cancelled. That there is no multicast here fails nothing.

    `moved` is awaited when our addresses have changed, before anybody is told of it.
    """

    def __init__(
        self,
        hostname: str,
        domain: str,
        pin: str,
        listening: Listening,
        moved: Callable[[], Awaitable[object]],
    ) -> None:
        self._listening = listening
        self._text = registrar_text(pin, domain)
        self._moved = moved
        self._advertiser = Advertiser(f"{hostname} {pin[:PIN_SHOWN]}", f"lanpost-{pin[:PIN_SHOWN]}")
        self._changed = asyncio.Event()
        self._told: tuple[str, ...] | None = None  # where we have told of what there is
        self._trouble = ""

    async def run(self) -> None:
        """Ends by cancellation only, with a goodbye."""
        watch = open_watch(lambda _: self._changed.set(), ())
        try:
            while True:
                await self._follow(reached(self._listening, own_addresses()))
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._changed.wait()
                        await asyncio.sleep(SETTLE_SECONDS)
                self._changed.clear()
        finally:
            watch.close()
            await self._advertiser.stop()

    async def _follow(self, addresses: tuple[str, ...]) -> None:
        if addresses == self._told:
            return
        if self._told is not None:
            await self._moved()
        services = services_at(self._listening, addresses, self._text)
        try:
            if addresses:
                await self._advertiser.start(services, addresses)
                log.info("services advertised", services=[each.type for each in services], addresses=addresses)
            else:
                await self._advertiser.stop()
        except DiscoveryUnavailable as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("services not advertised", reason=str(error))
            return
        self._told, self._trouble = addresses, ""


def reached(listening: Listening, own: Sequence[str]) -> tuple[str, ...]:
    """Those of our addresses at which other hosts reach the registrar."""
    hosts = [host.partition("%")[0] for host, _ in listening.get("http", ())]
    return tuple(address for address in own if any(_serves(host, address) for host in hosts))


def services_at(listening: Listening, addresses: Sequence[str], text: Mapping[str, str]) -> list[Service]:
    """The services that are reached at these addresses, each at its first port there."""
    found = []
    for name, service_type in TYPES.items():
        for host, port in listening.get(name, ()):
            if any(_serves(host, address) for address in addresses):
                found.append(Service(service_type, port, text if name == "http" else {}))
                break
    return found


def _serves(host: str, address: str) -> bool:
    """Who listens at `host` is reached at `address`."""
    listens, asked = ipaddress.ip_address(host), ipaddress.ip_address(address)
    return listens == asked or (listens.is_unspecified and listens.version == asked.version)
