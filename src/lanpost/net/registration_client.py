"""The terminal's side of the registration API: HTTPS to IP literals, verified against the pinned authority.

No name is ever resolved: the certificate is asked for REGISTRAR_NAME, the connection goes to an IP. Each request
can be cancelled at any point, since the own address may change while it hangs. Standard library only.

Raises RegistrarUnreachable (no answer, or the server cannot serve now), RegistrarUntrusted, RegistrationRefused.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import http.client
import io
import json
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from lanpost.errors import LanpostError, RegistrarUnreachable, RegistrarUntrusted, RegistrationRefused
from lanpost.model.token import REGISTRAR_NAME, EnrolmentToken

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

DEFAULT_PORT = {"https": 443, "http": 80}
CONNECT_SECONDS = 4.0  # a server on the LAN answers in milliseconds; the token may name further addresses
EXCHANGE_SECONDS = 15.0  # from the handshake to the last octet of the answer
MAX_ANSWER = 65536  # octets

# Dates are not judged: many a terminal has no battery behind its clock and starts in 1970, or on the day its
# firmware was built. It trusts one authority only, that of its token, and no other name than REGISTRAR_NAME.
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for

_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN)


@dataclass(frozen=True, slots=True)
class Registration:
    """A binding as the registrar confirmed it."""

    address: str
    endpoint: str
    updated: str  # ISO 8601, by the server's clock
    expires: str  # "" where it has no end
    lifetime: float | None  # seconds, by the server's clock
    url: str  # of the server that took it


class RegistrationClient:
    """Registers one terminal. `authority` is the PEM of the pinned CA, "" until `fetch_authority` brought it.

    `source` is the own address to register from, "" for whichever reaches the server.
    """

    def __init__(self, token: EnrolmentToken, authority: str = "", source: str = "") -> None:
        self._token = token
        self._authority = authority
        self._source = source
        self._urls = list(token.urls)  # the one that answered last comes first

    @property
    def authority(self) -> str:
        """The PEM of the authority in use, "" while it is unknown."""
        return self._authority

    async def fetch_authority(self) -> str:
        """The CA certificate that the token pins, as PEM, from the first server that has it."""
        return await self._first_of(self._fetch_authority)

    async def register(self, port: int) -> Registration:
        """Bind our address to the source address of this very connection, and `port`."""
        body = json.dumps({"port": port}).encode()

        async def put(url: str) -> Registration:
            status, content = await self._call(url, "PUT", body)
            return _read_registration(url, status, content)

        return await self._first_of(put)

    async def unregister(self) -> None:
        """Take our binding back. That there was none is no error."""

        async def delete(url: str) -> None:
            status, content = await self._call(url, "DELETE")
            if status != http.HTTPStatus.NOT_FOUND:
                _check(url, status, content)

        await self._first_of(delete)

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

    async def _call(self, url: str, method: str, body: bytes = b"") -> tuple[int, bytes]:
        context = None
        if url.startswith("https:"):
            if not self._authority:
                self._authority = await self._fetch_authority(url)
            context = _verifying(self._authority)
        path = f"/v1/bindings/{quote(str(self._token.address), safe='@')}"
        headers = {"Authorization": f"Bearer {self._token.secret}"}
        if body:
            headers["Content-Type"] = "application/json"
        return await self._exchange(url, context, method, path, headers, body)

    async def _fetch_authority(self, url: str) -> str:
        context = None
        if url.startswith("https:"):
            # Nothing secret is said here, and what is heard is believed only if the pin fits.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        status, content = await self._exchange(url, context, "GET", "/v1/ca.pem")
        if status != http.HTTPStatus.OK:
            raise RegistrarUnreachable(f"{url} does not show its authority ({status})")
        try:
            pem = content.decode("ascii")
            pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()
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
    ) -> tuple[int, bytes]:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT[parts.scheme]
        lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close", "Accept: */*"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines.append(f"Content-Length: {len(body)}")
        request = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                sock = await self._connect(host, port)
            async with asyncio.timeout(EXCHANGE_SECONDS):
                answer = await _converse(sock, context, request)
            return _parse_answer(answer, method)
        except TimeoutError:
            raise RegistrarUnreachable(f"{url} does not answer") from None
        except ssl.SSLCertVerificationError as error:
            raise RegistrarUntrusted(
                f"{url} shows a certificate that the pinned authority does not vouch for "
                f"({error.verify_message}); enrol again with a new token, unless somebody has put himself in the "
                "server's place"
            ) from None
        except OSError as error:
            no_way = error.errno in _NO_WAY
            raise RegistrarUnreachable(f"{url}: {error.strerror or error}", no_way=no_way) from None
        except http.client.HTTPException as error:
            raise RegistrarUnreachable(f"{url} does not answer as an HTTP server ({error!r})") from None

    async def _connect(self, host: str, port: int) -> socket.socket:
        family, where = _numeric(host, port)
        source_family, source = _numeric(self._source, 0) if self._source else (family, None)
        if source_family != family:
            raise OSError(errno.EADDRNOTAVAIL, f"not to be reached from {self._source}, of another IP version")
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if source:
                sock.bind(source)
            try:
                await asyncio.get_running_loop().sock_connect(sock, where)
            except OSError as error:
                raise OSError(error.errno, os.strerror(error.errno or 0)) from None  # without asyncio's own words
        except BaseException:
            sock.close()
            raise
        return sock


def _numeric(host: str, port: int) -> tuple[int, Any]:
    """Family and socket address of an IP literal; a name is refused by the system, not looked up."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
    return family, where


async def _converse(sock: socket.socket, context: ssl.SSLContext | None, request: bytes) -> bytes:
    name = REGISTRAR_NAME if context else None
    reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    try:
        writer.write(request)
        answer = bytearray()
        while chunk := await reader.read(MAX_ANSWER):
            answer += chunk
            if len(answer) > MAX_ANSWER:
                raise http.client.HTTPException("answer too long")
        return bytes(answer)
    finally:
        writer.transport.abort()  # the answer is whole, or of no use: no need to part politely


class _Received:
    """A received answer in the form that the standard library's parser reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse_answer(answer: bytes, method: str) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(_Received(answer), method=method)  # type: ignore[arg-type]
    response.begin()
    with contextlib.closing(response):
        return response.status, response.read()


def _verifying(authority: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)
    return context


def _read_registration(url: str, status: int, content: bytes) -> Registration:
    _check(url, status, content)
    try:
        fields = json.loads(content)
        address, endpoint, updated = (str(fields[name]) for name in ("address", "endpoint", "updated"))
        expires = str(fields.get("expires") or "")
        lifetime = None
        if expires:
            lifetime = (datetime.fromisoformat(expires) - datetime.fromisoformat(updated)).total_seconds()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RegistrarUnreachable(f"{url} gave an answer that cannot be read ({error!r})") from None
    return Registration(address, endpoint, updated, expires, lifetime, url)


def _check(url: str, status: int, content: bytes) -> None:
    if status < http.HTTPStatus.MULTIPLE_CHOICES:
        return
    text = _problem(content) or http.client.responses.get(status, "")
    if 400 <= status < 500 and status != http.HTTPStatus.REQUEST_TIMEOUT:
        raise RegistrationRefused(f"{url} refuses ({status}): {text}", http_status=status)
    raise RegistrarUnreachable(f"{url} cannot do it now ({status}): {text}")


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
    return RegistrarUnreachable(text, no_way=all(error.no_way for error in silent))


def server_hosts(token: EnrolmentToken) -> tuple[str, ...]:
    """The IPs that the token's URLs name."""
    return tuple(dict.fromkeys(urlsplit(url).hostname or "" for url in token.urls))
