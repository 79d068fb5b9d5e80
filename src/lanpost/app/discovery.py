"""Where a terminal's registrar may be: as configured, as DHCP servers say, as servers on the link tell (DNS-SD).

What comes out says where to ask and nothing else; it came from whoever was first to answer on the link. Standard
library only, until a link is searched.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence

from lanpost.app.settings import Agent
from lanpost.content.dhcp_lease import Lease
from lanpost.errors import DiscoveryUnavailable, InvalidValue
from lanpost.model.directory_url import DirectoryUrl, is_directory_url
from lanpost.model.discovery import (
    LDAP_TYPE,
    REGISTRAR_PORT,
    REGISTRAR_TYPE,
    Found,
    FoundBy,
    told_domain,
    told_pin,
)
from lanpost.model.endpoint import Endpoint
from lanpost.model.token import check_url
from lanpost.net.service_browser import Instance, browse
from lanpost.store.lease_files import leases

log = logging.getLogger(__name__)

MAX_FOUND = 12  # places of one way; each may cost seconds


class Discovery:
    """Searches anew each time it is asked."""

    def __init__(self, settings: Agent) -> None:
        self._settings = settings
        self._told: set[str] = set()

    @property
    def configured(self) -> list[Found]:
        """What `[agent] registrar` names."""
        return [Found(url, FoundBy.CONFIGURATION) for url in self._settings.registrar]

    async def search(self, addresses: Collection[str], *, directories: bool = False) -> AsyncIterator[list[Found]]:
        """What each way finds, the best way first, nearest first; nothing is searched before it is asked for.

        `addresses` are our own of now; without any there is no link to look at. `directories`: those of LDAP too.
        """
        ways = self._settings.discover if addresses else ()
        from_dhcp = await self._ask_dhcp(addresses, directories) if "dhcp" in ways else []
        if from_dhcp:
            yield from_dhcp
        if "dns-sd" in ways:
            on_link = await self._browse(addresses, directories)
            # A client may have written its lease down meanwhile.
            if "dhcp" in ways and not from_dhcp and (from_dhcp := await self._ask_dhcp(addresses, directories)):
                yield from_dhcp
            if on_link:
                yield on_link

    async def _ask_dhcp(self, addresses: Collection[str], directories: bool) -> list[Found]:
        held = await asyncio.to_thread(lambda: list(leases(self._settings.lease_files)))
        found: dict[str, None] = {}
        for lease in held:
            if lease.address in addresses:  # others are of yesterday, or of another network
                found.update(dict.fromkeys(_urls_of(lease, directories)))
        return _nearest([Found(url, FoundBy.DHCP) for url in found], addresses)

    async def _browse(self, addresses: Collection[str], directories: bool) -> list[Found]:
        types = (REGISTRAR_TYPE, LDAP_TYPE) if directories else (REGISTRAR_TYPE,)
        try:
            instances = await browse(types, sorted(addresses))
        except DiscoveryUnavailable as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                log.warning("cannot look for a server on the link: %s", error)
            return []
        return _nearest([found for each in instances for found in _places_of(each)], addresses)


def at_directory(token_urls: Sequence[str], found: str) -> Iterator[str]:
    """What a terminal enrolled with a directory would ask at a place that was found: its own entry, there."""
    if not is_directory_url(found):
        yield found
        return
    server = DirectoryUrl.parse_server(found).server
    for url in token_urls:
        if is_directory_url(url):
            own = DirectoryUrl.parse(url)
            yield str(DirectoryUrl(own.is_secure, server, own.entry))
            return


def _places_of(instance: Instance) -> Iterator[Found]:
    scheme = "ldaps" if instance.type == LDAP_TYPE else "https"
    for host in instance.hosts:
        try:
            where = Endpoint.of(host, instance.port)
        except InvalidValue:
            continue
        yield Found(f"{scheme}://{where}", FoundBy.DNS_SD, told_pin(instance.text), told_domain(instance.text))


def _urls_of(lease: Lease, directories: bool) -> Iterator[str]:
    for host in lease.hosts:
        yield f"https://{host}:{REGISTRAR_PORT}"
    if lease.ldap.startswith("https:"):
        try:
            check_url(lease.ldap)
        except InvalidValue:
            return
        yield lease.ldap
    elif lease.ldap:
        try:
            # What stands behind the host is for address books; our entry is another.
            scheme, _, rest = lease.ldap.partition("://")
            directory = DirectoryUrl.parse_server(f"{scheme}://{rest.partition('/')[0]}")
        except InvalidValue:
            return
        if directory.is_loopback:
            return
        yield f"https://{Endpoint(directory.server.host, REGISTRAR_PORT)}"
        if directories:
            yield str(directory)


def _nearest(found: Sequence[Found], addresses: Collection[str]) -> list[Found]:
    """Those first that have most leading bits in common with our addresses: a server tells of all its links."""
    own = [ipaddress.ip_address(address) for address in addresses]

    def distance(each: Found) -> int:
        host = ipaddress.ip_address(_host(each.url))
        alike = [int(host) ^ int(address) for address in own if address.version == host.version]
        return min(difference.bit_length() for difference in alike) if alike else 1000

    return sorted(dict.fromkeys(found), key=distance)[:MAX_FOUND]


def _host(url: str) -> str:
    rest = url.partition("://")[2].partition("/")[0]
    return Endpoint.parse(rest, REGISTRAR_PORT).host
