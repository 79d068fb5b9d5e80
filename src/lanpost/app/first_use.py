"""A terminal that nobody has enrolled, and that knows nothing but its name: it looks for a registrar and claims it.

Trust on first use: the first server that answers, of the best way to find one, is pinned, and none but that one is
believed from then on. Its answer is kept before anything is done with it. Standard library only, until a link is
searched.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Collection, Sequence
from http import HTTPStatus
from pathlib import Path

from lanpost.app import enrolment
from lanpost.app.discovery import Discovery
from lanpost.app.enrolment import Claim, Enrolment
from lanpost.errors import (
    InvalidValue,
    LanpostError,
    RegistrarUnreachable,
    RegistrarUntrusted,
    RegistrationRefused,
)
from lanpost.model.address import MailAddress
from lanpost.model.discovery import Found
from lanpost.model.proof import Proof
from lanpost.model.registration import Registration
from lanpost.model.token import EnrolmentToken
from lanpost.net.claim import Claimant
from lanpost.net.registrar_http import shown_authority

log = logging.getLogger(__name__)

KEY_OCTETS = 24  # random ones, as a secret that the server makes has


class FirstUse:
    """For one name. `source` is the own address to ask from, "" for whichever reaches a server."""

    def __init__(self, folder: Path, name: str, discovery: Discovery, source: str, port: int) -> None:
        self._folder = folder
        self._name = name
        self._discovery = discovery
        self._source = source
        self._port = port  # where SMTP is spoken here
        self.speaks_from = ""  # our address in the claim under way, or in the last one if that went well

    async def claim(self, addresses: Collection[str], proof: Proof | None = None) -> tuple[Enrolment, Registration]:
        """Find a server and claim our name there; when this returns, both are on the disk.

        Raises RegistrarUnreachable where none was found, RegistrarUntrusted, RegistrationRefused, StoreError.
        """
        self.speaks_from = ""
        if configured := self._discovery.configured:
            # Who was told where it is looks nowhere else: silencing that server must not bring in another.
            return await self._first_of(configured, proof)
        failures: list[LanpostError] = []
        async for found in self._discovery.search(addresses):
            if pins := {each.pin for each in found if each.pin}:
                self._warn_of_several(pins)
            try:
                return await self._first_of(self._of_our_domain(found), proof)
            except (RegistrarUnreachable, RegistrarUntrusted) as error:
                failures.append(error)
        if failures:
            raise RegistrarUnreachable("; ".join(map(str, failures)), retry_after=_wait(failures))
        raise RegistrarUnreachable(
            "no server found: neither DHCP nor any server on this link tells of one; name it, as [agent] "
            'registrar = ["https://10.0.0.2:8025"]'
            if addresses
            else "no server can be looked for: no address here yet",
            no_way=not addresses,
        )

    async def _first_of(self, found: Sequence[Found], proof: Proof | None) -> tuple[Enrolment, Registration]:
        """Of the first that answers; a refusal is an answer."""
        failures: list[LanpostError] = []
        for each in found:
            try:
                return await self._claim_at(each, proof)
            except (RegistrarUnreachable, RegistrarUntrusted) as error:
                failures.append(error)
        text = "; ".join(dict.fromkeys(map(str, failures))) or "no server of our domain found"
        no_way = bool(failures) and all(getattr(error, "no_way", False) for error in failures)
        raise RegistrarUnreachable(text, no_way=no_way, retry_after=_wait(failures))

    async def _claim_at(self, found: Found, proof: Proof | None) -> tuple[Enrolment, Registration]:
        authority, pin = await shown_authority(found.url, self._source)
        if found.pin not in ("", pin):
            raise RegistrarUntrusted(f"{found.url} is not who it was said to be: its pin is {pin[:16]}...")
        former = await asyncio.to_thread(enrolment.load_claim, self._folder)
        claim, is_open = former, True
        if claim is None or (claim.name, claim.pin) != (self._name, pin):
            claim, is_open = Claim(self._name, pin, secrets.token_urlsafe(KEY_OCTETS)), False
            await asyncio.to_thread(enrolment.save_claim, self._folder, claim)
        claimant = Claimant(
            found.url, authority, self._name, claim.key, source=self._source, proof=proof, connected=self._speaks
        )
        try:
            registration = await claimant.claim(self._port)
        except RegistrationRefused as refused:
            if not is_open or refused.http_status != HTTPStatus.UNAUTHORIZED:
                raise
            registration = await self._with_former_key(claimant, refused)
        held = self._enrolment(found, authority, claim, registration, claimant.refresh_key)
        await asyncio.to_thread(enrolment.save, self._folder, held)
        await asyncio.to_thread(enrolment.close_claim, self._folder)
        log.info(
            "claimed %s from the server with the pin %s..., found by %s; none but it is believed from now on",
            *(held.token.address, pin[:16], found.by),
        )
        return held, registration

    def _speaks(self, address: str) -> None:
        self.speaks_from = address

    async def _with_former_key(self, claimant: Claimant, refused: RegistrationRefused) -> Registration:
        try:
            registration = await claimant.claim_again(self._port)
        except RegistrationRefused:
            raise refused from None  # it is somebody else's, or not to be claimed
        log.info("an earlier claim of %s had been granted: its answer was lost", self._name)
        return registration

    def _enrolment(
        self, found: Found, authority: str, claim: Claim, registration: Registration, refresh_key: bytes
    ) -> Enrolment:
        try:
            address = MailAddress.parse(registration.address)
            wanted = MailAddress.parse(self._name, address.domain)
            token = EnrolmentToken((found.url,), claim.pin, wanted, claim.key, refresh_key=refresh_key)
        except InvalidValue as error:
            raise RegistrarUnreachable(f"{found.url} gave an answer that cannot be used: {error}") from None
        if address != wanted:
            raise RegistrarUnreachable(f"{found.url} was asked for {self._name} and answered for {address}")
        return Enrolment(token, authority, refresh_key, found.by)

    def _of_our_domain(self, found: Sequence[Found]) -> list[Found]:
        """Those that do not say that they are of another domain than a whole mail address has."""
        domain = self._name.rpartition("@")[2].lower() if "@" in self._name else ""
        return [each for each in found if not (domain and each.domain and each.domain != domain)]

    def _warn_of_several(self, pins: set[str]) -> None:
        if len(pins) > 1:
            shown = ", ".join(f"{pin[:16]}..." for pin in sorted(pins))
            log.warning(
                "several servers tell of themselves on this link, with the pins %s: the nearest is taken", shown
            )


def _wait(failures: Sequence[LanpostError]) -> float:
    """Before which none of them wants to be asked again."""
    waits = [each.retry_after for each in failures if isinstance(each, RegistrarUnreachable) and each.retry_after]
    return min(waits, default=0.0)
