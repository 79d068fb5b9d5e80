"""A terminal's way to its registrar: where it is enrolled, where that server has moved to, or the first it meets.

Enrolled, it asks at the places it knows and believes the server that its token pins, wherever that is found. Not
enrolled, but with a name, it claims that (`first_use`). What it learns is on the disk before `register` returns.
Standard library only, until a link is searched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from lanpost.app import enrolment
from lanpost.app.discovery import Discovery, at_directory
from lanpost.app.enrolment import Enrolment
from lanpost.app.first_use import FirstUse
from lanpost.app.settings import Agent
from lanpost.errors import (
    ConfigurationError,
    InvalidValue,
    RegistrarUnreachable,
    RegistrarUntrusted,
    StoreError,
)
from lanpost.model.address import MailAddress
from lanpost.model.directory_url import is_directory_url
from lanpost.model.discovery import Found, FoundBy
from lanpost.model.proof import Proof
from lanpost.model.registration import Registration
from lanpost.net.registration_client import ENROL_ANEW, FORGET, RegistrationClient, server_hosts

log = logging.getLogger(__name__)

# For documentation (RFC 5737, RFC 3849): to ask the routing table for an address of ours, where no server is known.
SOMEWHERE = ("192.0.2.1", "2001:db8::1")


class RegistrarWay:
    """Of one terminal, whose data are in `folder`. ConfigurationError: neither enrolled nor named, or otherwise."""

    def __init__(self, folder: Path, settings: Agent) -> None:
        self._folder = folder
        self._settings = settings
        self._discovery = Discovery(settings)
        self._held: Enrolment | None = None
        self._client: RegistrationClient
        self._first: FirstUse
        self._speaking: RegistrationClient | FirstUse
        self.refresh_proof = b""  # the last refresh request that was genuine, for a registrar that has lost count
        self.load()

    def load(self) -> None:
        """Read the enrolment anew. Waits for the disk."""
        name = self._settings.name
        held = enrolment.load_if_any(self._folder) if name else enrolment.load(self._folder)
        if held and name:
            address = held.token.address
            own = {address, MailAddress.parse(held.known_as or str(address))}
            if MailAddress.parse(name, address.domain) not in own:
                raise ConfigurationError(
                    f"this terminal is enrolled as {address}, not as {name}: leave the name away, or have it "
                    "forgotten first with `lanpost agent forget`"
                )
        self._use(held)

    @property
    def enrolment(self) -> Enrolment | None:
        """None as long as the terminal has not claimed its address."""
        return self._held

    @property
    def address(self) -> str:
        """The terminal's mail address, or the name that it will claim."""
        return str(self._held.token.address) if self._held else self._settings.name

    @property
    def pin(self) -> str:
        """Of the server that is believed; "": none is yet."""
        return self._held.token.pin if self._held else ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """IPs that we want to be reached from."""
        return server_hosts(self._held.token) if self._held else SOMEWHERE

    @property
    def speaks_from(self) -> str:
        """Our address in the registration under way, or in the last one if that went well."""
        return self._speaking.speaks_from

    @speaks_from.setter
    def speaks_from(self, address: str) -> None:
        self._speaking.speaks_from = address

    def found_by(self, url: str) -> FoundBy:
        """How a URL that answered is known."""
        held = self._held
        if url in self._settings.registrar:
            return FoundBy.CONFIGURATION
        if held and held.moved_to and url == held.moved_to.url:
            return held.moved_to.by
        return held.found_by if held else FoundBy.TOKEN

    async def register(self, addresses: Collection[str], proof: Proof | None = None) -> Registration:
        """Bind the terminal to where this connection comes from. `addresses` are our own of now.

        `proof`: what whoever listens here will show.

        Raises RegistrarUnreachable, RegistrarUntrusted, RegistrationRefused; StoreError: a claim cannot be kept.
        """
        if self._held is None:
            claimed, registration = await self._first.claim(addresses, proof)
            self._use(claimed)
            self.speaks_from = registration.endpoint.rpartition(":")[0].strip("[]")
            return registration
        held, client = self._held, self._client
        moved_to = held.moved_to
        client.refresh_proof = self.refresh_proof
        try:
            registration = await client.register(self._settings.port, proof)
        except (RegistrarUnreachable, RegistrarUntrusted) as error:
            if isinstance(error, RegistrarUnreachable) and error.answered:
                raise
            moved_to, client, registration = await self._where_it_went(held, addresses, proof, error)
        await self._keep(held, client, moved_to, registration.address)
        self.speaks_from = client.speaks_from
        return registration

    async def unregister(self) -> None:
        """Take our binding back. Raises what `register` does."""
        if self._held:
            await self._client.unregister()

    async def _where_it_went(
        self,
        held: Enrolment,
        addresses: Collection[str],
        proof: Proof | None,
        error: RegistrarUnreachable | RegistrarUntrusted,
    ) -> tuple[Found, RegistrationClient, Registration]:
        """Look for the server of the token elsewhere; who is found and has not its pin is told nothing."""
        strangers: dict[str, None] = {}
        known = set(self._urls(held))
        directories = any(is_directory_url(url) for url in held.token.urls)
        async for found in self._discovery.search(addresses, directories=directories):
            for each in found:
                if each.pin not in ("", held.token.pin):
                    if each.url not in known:  # that one has its own line already
                        strangers[each.url] = None
                    continue
                for url in at_directory(held.token.urls, each.url):
                    if url in known:
                        continue
                    known.add(url)
                    self._speaking = client = self._make_client(held, [url])
                    client.refresh_proof = self.refresh_proof
                    try:
                        registration = await client.register(self._settings.port, proof)
                    except RegistrarUntrusted:
                        strangers[url] = None
                    except RegistrarUnreachable as silent:
                        log.debug("found by %s, but: %s", each.by, silent)
                    else:
                        log.info("the server has moved to %s, found by %s", url, each.by)
                        return Found(url, each.by), client, registration
        raise _with_strangers(error, sorted(strangers))

    async def _keep(
        self, held: Enrolment, client: RegistrationClient, moved_to: Found | None, address: str
    ) -> None:
        """`address`: what the registrar calls this terminal. A disk that is full costs no registration."""
        refresh_key = client.refresh_key or held.refresh_key
        known = replace(held, authority=client.authority, refresh_key=refresh_key, moved_to=moved_to)
        try:
            known = _renamed(known, address)
            await asyncio.to_thread(enrolment.keep, self._folder, held, known)
        except (ConfigurationError, StoreError, InvalidValue) as error:
            log.warning("cannot keep what the server told, it will be asked for again: %s", error)
        self._held = known
        if (known.moved_to, known.token) != (held.moved_to, held.token):
            self._use(known)

    def _use(self, held: Enrolment | None) -> None:
        self._held = held
        if held:
            self._speaking = self._client = self._make_client(held, self._urls(held))
        else:
            mine = self._settings
            first = FirstUse(self._folder, mine.name, self._discovery, mine.address, mine.port)
            self._speaking = self._first = first

    def _urls(self, held: Enrolment) -> list[str]:
        moved = (held.moved_to.url,) if held.moved_to else ()
        return list(dict.fromkeys((*self._settings.registrar, *moved, *held.token.urls)))

    def _make_client(self, held: Enrolment, urls: Sequence[str]) -> RegistrationClient:
        remedy = FORGET if held.is_claimed else ENROL_ANEW
        return RegistrationClient(held.token, held.authority, self._settings.address, urls, remedy)


def _with_strangers(
    error: RegistrarUnreachable | RegistrarUntrusted, strangers: Sequence[str]
) -> RegistrarUnreachable | RegistrarUntrusted:
    if not strangers:
        return error
    text = f"{error}; found, but not that server, and told nothing: {', '.join(strangers)}"
    if isinstance(error, RegistrarUnreachable):
        return RegistrarUnreachable(text, no_way=error.no_way, retry_after=error.retry_after)
    return RegistrarUntrusted(text)


def _renamed(held: Enrolment, address: str) -> Enrolment:
    """The same, if the registrar calls the terminal by its address; else by the one that it was given there."""
    former, new = held.token.address, MailAddress.parse(address)
    if new == former:
        return held
    log.info("renamed at the server: %s is %s now", former, new)
    return replace(held, token=replace(held.token, address=new), known_as=held.known_as or str(former))
