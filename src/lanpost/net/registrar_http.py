"""One request to a registrar's HTTP API at an IP literal, and what its answers mean.

No name is ever resolved: an HTTPS server's certificate is asked for REGISTRAR_NAME, the connection goes to an IP.
Each request can be cancelled at any point, since the own address may change while it hangs. Standard library only.

Raises RegistrarUnreachable (no answer, or the server cannot serve now), RegistrarUntrusted, RegistrationRefused.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from lanpost import __version__
from lanpost.errors import RegistrarUnreachable, RegistrarUntrusted, RegistrationRefused
from lanpost.model.registration import Registration
from lanpost.model.token import REGISTRAR_NAME
from lanpost.net.http_answer import HttpAnswer, NoHttpAnswer, read_answer
from lanpost.net.registrar_access import CONNECT_SECONDS, connect_from, is_want_of_way, pin_of

DEFAULT_PORT = {"https": 443, "http": 80}
EXCHANGE_SECONDS = 15.0  # from the handshake to the last octet of the answer
MAX_ANSWER = 65536  # octets

_REMEDIES = {
    401: "have a new token made with `lanpost terminal rotate` at the server, and enrol with it",
    422: "see [agent] port here and [delivery] endpoint_ports at the server",
}


def binding_path(address: str) -> str:
    """Where the API has the binding of a mail address or terminal name."""
    return f"/v1/bindings/{quote(address, safe='@')}"


async def exchange(
    url: str,
    context: ssl.SSLContext | None,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    *,
    source: str = "",
    connected: Callable[[str], object] = lambda _: None,
) -> HttpAnswer:
    """Ask, and have the answer.

    `source`: the own address to ask from, "" for whichever reaches it; `connected` hears which one that is.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORT[parts.scheme]
    lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close", "Accept: */*"]
    # A server of an earlier version is to leave aside what it does not know (RFC 7240 §4.4).
    lines += [f"User-Agent: lanpost/{__version__}", "Prefer: handling=lenient"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines.append(f"Content-Length: {len(body)}")
    request = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            sock = await connect_from(source, host, port)
        connected(str(sock.getsockname()[0]))
        async with asyncio.timeout(EXCHANGE_SECONDS):
            answer = await _converse(sock, context, request)
        return read_answer(answer)
    except TimeoutError:
        raise RegistrarUnreachable(f"{url} does not answer") from None
    except ssl.SSLCertVerificationError as error:
        raise RegistrarUntrusted(
            f"{url} shows a certificate that the pinned authority does not vouch for ({error.verify_message})"
        ) from None
    except OSError as error:
        no_way = is_want_of_way(error)
        raise RegistrarUnreachable(f"{url}: {error.strerror or error}", no_way=no_way) from None
    except NoHttpAnswer as error:
        raise RegistrarUnreachable(f"{url} does not answer as an HTTP server ({error})") from None


async def shown_authority(url: str, source: str) -> tuple[str, str]:
    """The CA certificate (PEM) that a server shows, and its pin. It proves nothing yet; nothing secret is said."""
    context = None
    if url.startswith("https:"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    answer = await exchange(url, context, "GET", "/v1/ca.pem", source=source)
    if answer.status != HTTPStatus.OK:
        raise RegistrarUnreachable(
            f"{url} does not show its authority ({answer.status})", retry_after=_retry_after(answer)
        )
    try:
        pem = answer.content.decode("ascii")
        return pem, pin_of(pem)
    except ValueError:
        raise RegistrarUntrusted(f"{url} answers, but gives no certificate: is that a lanpost server?") from None


def check(url: str, answer: HttpAnswer) -> None:
    """Raise what an answer means that is no success."""
    status = answer.status
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    text = problem(answer.content) or _phrase(status)
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:
        remedy = f"; {_REMEDIES[status]}" if status in _REMEDIES else ""
        raise RegistrationRefused(f"{url} refuses ({status}): {text}{remedy}", http_status=status)
    raise RegistrarUnreachable(
        f"{url} cannot do it now ({status}): {text}", answered=True, retry_after=_retry_after(answer)
    )


def _retry_after(answer: HttpAnswer) -> float:
    """Seconds (RFC 9110 §10.2.3). A date says nothing to a terminal without a clock."""
    text = answer.fields.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def problem(content: bytes) -> str:
    """What a problem details document says (RFC 9457), on one line; "" if it is none."""
    try:
        fields = json.loads(content)
        text = str(fields.get("detail") or fields.get("title") or "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return " ".join(text.split())[:500]


def read_registration(url: str, answer: HttpAnswer) -> Registration:
    """The binding in an answer."""
    check(url, answer)
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


def read_refresh_key(content: bytes) -> bytes:
    """The public key of the registrar's refresh requests; empty where the answer tells none."""
    try:
        return base64.b64decode(json.loads(content).get("refresh_key", ""), validate=True)
    except (ValueError, TypeError, AttributeError):
        return b""


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
