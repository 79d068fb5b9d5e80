"""A terminal's way to its registrar: over HTTPS (the registration API) or LDAP, as each URL of its token says.

Servers are IP literals and verified against the pinned authority. Each request can be cancelled at any point.
Standard library only.

Raises RegistrarUnreachable (no answer, or the server cannot serve now), RegistrarUntrusted, RegistrationRefused.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from lanpost.errors import LanpostError, RegistrarUnreachable, RegistrarUntrusted
from lanpost.model.directory_url import is_directory_url
from lanpost.model.proof import Proof
from lanpost.model.registration import Registration
from lanpost.model.token import EnrolmentToken
from lanpost.net.http_answer import HttpAnswer
from lanpost.net.registrar_access import verifying
from lanpost.net.registrar_http import (
    binding_path,
    check,
    exchange,
    read_refresh_key,
    read_registration,
    shown_authority,
)
from lanpost.wire.refresh import PROOF_HEADER

if TYPE_CHECKING:
    from lanpost.net.ldap_registration import LdapRegistration

Answer = TypeVar("Answer")

ENROL_ANEW = "have a new token made with `lanpost terminal rotate`, and enrol with it"
FORGET = "`lanpost agent forget` here, and start the agent again to trust the server that it finds then"


class RegistrationClient:
    """Registers one terminal. `authority` is the PEM of the pinned CA, "" until `fetch_authority` brought it.

    `source` is the own address to register from, "" for whichever reaches the server. `urls`, if given, are asked
    instead of the token's: they say where, the token says whom to believe. `remedy` is what to do once the server
    is another for good.
    """

    def __init__(
        self,
        token: EnrolmentToken,
        authority: str = "",
        source: str = "",
        urls: Sequence[str] = (),
        remedy: str = ENROL_ANEW,
    ) -> None:
        self._token = token
        self._authority = authority or (ssl.DER_cert_to_PEM_cert(token.authority) if token.authority else "")
        self._source = source
        self._remedy = remedy
        self.refresh_key = b""  # of the registrar's refresh requests, as its last answer told it
        self.speaks_from = ""  # our address in the registration under way, or in the last one if that went well
        self.refresh_proof = b""  # the last of them that was genuine, for a registrar that has lost count
        self._urls = list(urls or token.urls)  # the one that answered last comes first
        self._directories: dict[str, LdapRegistration] = {}
        if directories := [url for url in self._urls if is_directory_url(url)]:
            # As large as the rest of this: loaded by those who need it only.
            from lanpost.net.ldap_registration import LdapRegistration

            self._directories = {url: LdapRegistration(url, token, self._authority, source) for url in directories}

    @property
    def authority(self) -> str:
        """The PEM of the authority in use, "" while it is unknown."""
        return self._authority

    async def recognise(self) -> str:
        """Make sure that the first server which answers is the token's; a directory must take the secret, too.

        Returns the CA certificate that the token pins, as PEM.
        """

        async def ask(url: str) -> str:
            if url in self._directories:
                await self._directories[url].log_in()
                return self._authority
            return await self._fetch_authority(url)

        return await self._first_of(ask)

    async def register(self, port: int, proof: Proof | None = None) -> Registration:
        """Bind our address to the source address of this very connection, and `port`.

        `proof`: what whoever listens there will show.
        """
        body = json.dumps({"port": port} | ({"proof": str(proof)} if proof else {})).encode()

        async def put(url: str) -> Registration:
            if url in self._directories:
                return await self._directories[url].register(port, proof)
            answer = await self._call(url, "PUT", body)
            registration = read_registration(url, answer)
            self.refresh_key = read_refresh_key(answer.content)
            return registration

        self.speaks_from = ""
        try:
            registration = await self._first_of(put)
        except BaseException:
            self.speaks_from = ""
            raise
        self.speaks_from = registration.endpoint.rpartition(":")[0].strip("[]")
        return registration

    async def unregister(self) -> None:
        """Take our binding back. That there was none is no error."""

        async def delete(url: str) -> None:
            if url in self._directories:
                await self._directories[url].unregister()
                return
            answer = await self._call(url, "DELETE")
            if answer.status != HTTPStatus.NOT_FOUND:
                check(url, answer)

        await self._first_of(delete)

    async def tell_lease(self, fields: Mapping[str, object]) -> None:
        """What a DHCP server says of an address, as `POST /v1/leases` takes it; our account speaks for others."""
        body = json.dumps(fields).encode()

        async def post(url: str) -> None:
            if url in self._directories:
                raise RegistrarUnreachable(f"{url} is a directory, which hears no DHCP server")
            check(url, await self._call(url, "POST", body, "/v1/leases"))

        await self._first_of(post)

    async def _first_of(self, ask: Callable[[str], Awaitable[Answer]]) -> Answer:
        """Ask each server in turn until one answers; a refusal is an answer."""
        failures: list[RegistrarUnreachable | RegistrarUntrusted] = []
        for url in tuple(self._urls):
            try:
                answer = await ask(url)
            except (RegistrarUnreachable, RegistrarUntrusted) as error:
                failures.append(error)
            else:
                self._urls.remove(url)
                self._urls.insert(0, url)
                return answer
        raise _worst(failures)

    async def _call(self, url: str, method: str, body: bytes = b"", path: str = "") -> HttpAnswer:
        """A request about our own binding, unless another path is named."""
        context = None
        if url.startswith("https:"):
            if not self._authority:
                self._authority = await self._fetch_authority(url)
            context = verifying(self._authority)
        path = path or binding_path(str(self._token.address))
        headers = {"Authorization": f"Bearer {self._token.secret}"}
        if body:
            headers["Content-Type"] = "application/json"
            if self.refresh_proof:
                headers[PROOF_HEADER] = base64.b64encode(self.refresh_proof).decode("ascii")
        try:
            return await exchange(
                url, context, method, path, headers, body, source=self._source, connected=self._speaks_from
            )
        except RegistrarUntrusted as error:
            raise RegistrarUntrusted(
                f"{error}; unless somebody has put himself in the server's place: {self._remedy}"
            ) from None

    def _speaks_from(self, address: str) -> None:
        self.speaks_from = address

    async def _fetch_authority(self, url: str) -> str:
        pem, pin = await shown_authority(url, self._source)
        if pin != self._token.pin:
            raise RegistrarUntrusted(
                f"{url} is not the server of the enrolment token: its authority has the pin {pin[:16]}..., the "
                f"token says {self._token.pin[:16]}...; unless somebody has put himself in the server's place: "
                f"{self._remedy}"
            )
        return pem


def _worst(failures: list[RegistrarUnreachable | RegistrarUntrusted]) -> LanpostError:
    """One error for all servers: distrust is told before silence, and silence before want of a way."""
    for error in failures:
        if isinstance(error, RegistrarUntrusted):
            return error
    silent = [error for error in failures if isinstance(error, RegistrarUnreachable)]
    text = "; ".join(dict.fromkeys(str(error) for error in silent))
    # The one that is to be asked again soonest decides; one that says nothing, as a machine that is off, does not.
    waits = [error.retry_after for error in silent if error.retry_after]
    return RegistrarUnreachable(
        text,
        no_way=all(error.no_way for error in silent),
        answered=any(error.answered for error in silent),
        retry_after=min(waits, default=0.0),
    )


def server_hosts(token: EnrolmentToken) -> tuple[str, ...]:
    """The IPs that the token's URLs name."""
    return tuple(dict.fromkeys(urlsplit(url).hostname or "" for url in token.urls))
