"""A registrar that answers as a test tells it to, over real TLS with an authority of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lanpost.model.address import MailAddress
from lanpost.model.token import REGISTRAR_NAME, EnrolmentToken

SECRET = "s3cret"  # of nothing


@dataclass(frozen=True)
class Authority:
    """A CA certificate, and a server context with a certificate made by it."""

    pem: bytes
    context: ssl.SSLContext

    @property
    def pin(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.pem.decode().strip())).hexdigest()


def make_authority(folder: Path, name: str = REGISTRAR_NAME, valid_from: int = -1) -> Authority:
    """An authority that vouches for `name`, from so many days from now on, for a month."""
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def builder(of: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(of)
            .issuer_name(subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=valid_from))
            .not_valid_after(now + timedelta(days=valid_from + 31))
        )

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = (
        builder(subject, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    server = (
        builder(x509.Name([]), key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    both = folder / f"server-{x509.random_serial_number()}.pem"
    pem = serialization.Encoding.PEM
    both.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + server.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return Authority(ca.public_bytes(pem), context)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    peer: str


@dataclass
class ScriptedRegistrar:
    """Listens on loopback; `answer` gives status and JSON for each request but that for the authority."""

    authority: Authority
    answer: Callable[[Request], tuple[int, Any]] | None = None
    shown: bytes | None = None  # an authority to show instead of its own
    requests: list[Request] = field(default_factory=list)
    lifetime: timedelta = timedelta(hours=24)
    fields: str = ""  # more header fields of each answer of the API proper, each with its line end
    hangs: bool = False
    host: str = "127.0.0.1"
    port: int = 0

    async def __aenter__(self) -> Self:
        self._arrived = asyncio.Condition()
        self._held: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.authority.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.let_go()
        await self._server.wait_closed()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def let_go(self) -> None:
        """Hang up on those that were left without an answer."""
        for writer in self._held:
            writer.transport.abort()

    @property
    def url(self) -> str:
        return f"https://{_bracketed(self.host)}:{self.port}"

    def token(self, address: str = "fax1@office.lan", *urls: str) -> EnrolmentToken:
        return EnrolmentToken(urls or (self.url,), self.authority.pin, MailAddress.parse(address), SECRET)

    async def arrived(self, count: int) -> list[Request]:
        """Wait until so many requests (of the API proper) have come."""
        async with self._arrived, asyncio.timeout(10):
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if path == "/v1/ca.pem":
                writer.write(_response(200, self.shown or self.authority.pem))
            else:
                peer = writer.get_extra_info("peername")[0]
                request = Request(method, path, headers, json.loads(body) if body else None, peer)
                async with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                if self.hangs:
                    self._held.add(writer)
                    return
                status, answer = (self.answer or self.bound)(request)
                writer.write(_response(status, json.dumps(answer).encode(), self.fields))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        if writer not in self._held:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def bound(self, request: Request) -> tuple[int, Any]:
        now = datetime.now(UTC)
        if request.method == "DELETE":
            return 204, None
        return 200, {
            "address": "fax1@office.lan",
            "endpoint": f"{_bracketed(request.peer)}:{request.body['port']}",
            "updated": now.isoformat(),
            "expires": (now + self.lifetime).isoformat(),
            "source": "agent",
        }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _response(status: int, body: bytes, fields: str = "") -> bytes:
    if status == 204:
        return b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{fields}\r\n"
    return head.encode() + body
