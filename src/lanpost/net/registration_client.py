"""A terminal's way to its registrar: over HTTPS (the registration API) or LDAP, as each URL of its token says.

Servers are IP literals and verified against the pinned authority. No name is ever resolved: an HTTPS server's
certificate is asked for REGISTRAR_NAME, the connection goes to an IP. Each request can be cancelled at any point,
since the own address may change while it hangs. Standard library only.

Raises RegistrarUnreachable (no answer, or the server cannot serve now), RegistrarUntrusted, RegistrationRefused.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from lanpost.errors import LanpostError, RegistrarUnreachable, RegistrarUntrusted, RegistrationRefused
from lanpost.model.directory_url import is_directory_url
from lanpost.model.proof import Proof
from lanpost.model.registration import Registration
from lanpost.model.token import REGISTRAR_NAME, EnrolmentToken
from lanpost.net.http_answer import HttpAnswer, NoHttpAnswer, read_answer
from lanpost.net.registrar_access import CONNECT_SECONDS, connect_from, is_want_of_way, pin_of, verifying
from lanpost.wire.refresh import PROOF_HEADER

if TYPE_CHECKING:
    from lanpost.net.ldap_registration import LdapRegistration

Answer = TypeVar("Answer")

DEFAULT_PORT = {"https": 443, "http": 80}
EXCHANGE_SECONDS = 15.0  # from the handshake to the last octet of the answer
MAX_ANSWER = 65536  # octets

_REMEDIES = {
    401: "have a new token made with `lanpost terminal rotate` at the server, and enrol with it",
    422: "see [agent] port here and [delivery] endpoint_ports at the server",
}


class RegistrationClient:
    """Registers one terminal. `authority` is the PEM of the pinned CA, "" until `fetch_authority` brought it.

    `source` is the own address to register from, "" for whichever reaches the server.
    """

    def __init__(self, token: EnrolmentToken, authority: str = "", source: str = "") -> None:
        self._token = token
        self._authority = authority or (ssl.DER_cert_to_PEM_cert(token.authority) if token.authority else "")
        self._source = source
        self.refresh_key = b""  # of the registrar's refresh requests, as its last answer told it
        self.refresh_proof = b""  # the last of them that was genuine, for a registrar that has lost count
        self._directories: dict[str, LdapRegistration] = {}
        if directories := [url for url in token.urls if is_directory_url(url)]:
            # As large as the rest of this: loaded by those who need it only.
            from lanpost.net.ldap_registration import LdapRegistration

            self._directories = {url: LdapRegistration(url, token, self._authority, source) for url in directories}
        self._urls = list(token.urls)  # the one that answered last comes first

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
            registration = _read_registration(url, answer)
            self.refresh_key = _read_refresh_key(answer.content)
            return registration

        return await self._first_of(put)

    async def unregister(self) -> None:
        """Take our binding back. That there was none is no error."""

        async def delete(url: str) -> None:
            if url in self._directories:
                await self._directories[url].unregister()
                return
            answer = await self._call(url, "DELETE")
            if answer.status != HTTPStatus.NOT_FOUND:
                _check(url, answer)

        await self._first_of(delete)

    async def tell_lease(self, fields: Mapping[str, object]) -> None:
        """What a DHCP server says of an address, as `POST /v1/leases` takes it; our account speaks for others."""
        body = json.dumps(fields).encode()

        async def post(url: str) -> None:
            if url in self._directories:
                raise RegistrarUnreachable(f"{url} is a directory, which hears no DHCP server")
            _check(url, await self._call(url, "POST", body, "/v1/leases"))

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
        path = path or f"/v1/bindings/{quote(str(self._token.address), safe='@')}"
        headers = {"Authorization": f"Bearer {self._token.secret}"}
        if body:
            headers["Content-Type"] = "application/json"
            if self.refresh_proof:
                headers[PROOF_HEADER] = base64.b64encode(self.refresh_proof).decode("ascii")
        return await self._exchange(url, context, method, path, headers, body)

    async def _fetch_authority(self, url: str) -> str:
        context = None
        if url.startswith("https:"):
            # Nothing secret is said here, and what is heard is believed only if the pin fits.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        answer = await self._exchange(url, context, "GET", "/v1/ca.pem")
        if answer.status != HTTPStatus.OK:
            raise RegistrarUnreachable(
                f"{url} does not show its authority ({answer.status})", retry_after=_retry_after(answer)
            )
        try:
            pem = answer.content.decode("ascii")
            pin = pin_of(pem)
        except ValueError:
            raise RegistrarUntrusted(
                f"{url} answers, but gives no certificate: is that a lanpost server?"
            ) from None
        if pin != self._token.pin:
            raise RegistrarUntrusted(
                f"{url} is not the server of the enrolment token: its authority has the pin {pin[:16]}..., the "
                f"token says {self._token.pin[:16]}...; have a new token made with `lanpost terminal rotate`, "
                "unless somebody has put himself in the server's place"
            )
        return pem

    async def _exchange(
        self,
        url: str,
        context: ssl.SSLContext | None,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> HttpAnswer:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT[parts.scheme]
        lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close", "Accept: */*"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines.append(f"Content-Length: {len(body)}")
        request = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                sock = await connect_from(self._source, host, port)
            async with asyncio.timeout(EXCHANGE_SECONDS):
                answer = await _converse(sock, context, request)
            return read_answer(answer)
        except TimeoutError:
            raise RegistrarUnreachable(f"{url} does not answer") from None
        except ssl.SSLCertVerificationError as error:
            raise RegistrarUntrusted(
                f"{url} shows a certificate that the pinned authority does not vouch for "
                f"({error.verify_message}); enrol again with a new token, unless somebody has put himself in the "
                "server's place"
            ) from None
        except OSError as error:
            no_way = is_want_of_way(error)
            raise RegistrarUnreachable(f"{url}: {error.strerror or error}", no_way=no_way) from None
        except NoHttpAnswer as error:
            raise RegistrarUnreachable(f"{url} does not answer as an HTTP server ({error})") from None


async def _converse(sock: socket.socket, context: ssl.SSLContext | None, request: bytes) -> bytes:
    name = REGISTRAR_NAME if context else None
    reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    try:
        writer.write(request)
        answer = bytearray()
        while chunk := await reader.read(MAX_ANSWER):
            answer += chunk
            if len(answer) > MAX_ANSWER:
                raise NoHttpAnswer("it is too long")
        return bytes(answer)
    finally:
        writer.transport.abort()  # the answer is whole, or of no use: no need to part politely


def _read_registration(url: str, answer: HttpAnswer) -> Registration:
    _check(url, answer)
    try:
        fields = json.loads(answer.content)
        address, endpoint, updated = (str(fields[name]) for name in ("address", "endpoint", "updated"))
        expires = str(fields.get("expires") or "")
        lifetime = None
        if expires:
            lifetime = (datetime.fromisoformat(expires) - datetime.fromisoformat(updated)).total_seconds()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RegistrarUnreachable(f"{url} gave an answer that cannot be read ({error!r})") from None
    return Registration(address, endpoint, updated, expires, lifetime, url)


def _read_refresh_key(content: bytes) -> bytes:
    try:
        return base64.b64decode(json.loads(content).get("refresh_key", ""), validate=True)
    except (ValueError, TypeError, AttributeError):
        return b""


def _check(url: str, answer: HttpAnswer) -> None:
    status = answer.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    text = _problem(answer.content) or _phrase(status)
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:
        remedy = f"; {_REMEDIES[status]}" if status in _REMEDIES else ""
        raise RegistrationRefused(f"{url} refuses ({status}): {text}{remedy}", http_status=status)
    raise RegistrarUnreachable(f"{url} cannot do it now ({status}): {text}", retry_after=_retry_after(answer))


def _retry_after(answer: HttpAnswer) -> float:
    """Seconds (RFC 9110 §10.2.3). A date says nothing to a terminal without a clock."""
    text = answer.fields.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _problem(content: bytes) -> str:
    """What a problem details document says (RFC 9457), on one line; "" if it is none."""
    try:
        fields = json.loads(content)
        text = str(fields.get("detail") or fields.get("title") or "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return " ".join(text.split())[:500]


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
        text, no_way=all(error.no_way for error in silent), retry_after=min(waits, default=0.0)
    )


def server_hosts(token: EnrolmentToken) -> tuple[str, ...]:
    """The IPs that the token's URLs name."""
    return tuple(dict.fromkeys(urlsplit(url).hostname or "" for url in token.urls))
