"""HTTP/1.1 to one server at an IP literal, over connections that are kept for the next request. RFC 9112, by h11.

Nothing is looked up, redirected, cached or decompressed; an answer has a largest size and a time limit.
Raises ChartUnavailable, whose text says what happened and where.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import h11

from lanpost.errors import CertificateUnknown, ChartUnavailable, DeliveryError, InvalidEndpoint
from lanpost.model.endpoint import Endpoint
from lanpost.net.dial import dial

CONNECT_SECONDS = 10.0  # callers give up earlier
IDLE_SECONDS = 3.0  # servers hang up after 5 or so; a request must not meet that
READ_OCTETS = 256 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to ask, and as whom. With a `pin` its certificate must be that one, whoever vouches for it."""

    endpoint: Endpoint
    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    pin: str = ""  # SHA-256 of the certificate, in hex
    remedy: str = "; set chart.ca_file to the PEM of its CA"  # where nobody vouches for it

    def __str__(self) -> str:
        return str(self.endpoint)


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def certificate_of(writer: asyncio.StreamWriter) -> str:
    """SHA-256, in hex, of the certificate that the other side of a TLS connection has shown."""
    return hashlib.sha256(writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b"").hexdigest()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.CLIENT)
        self.heard = False  # a first octet of the answer that is awaited now
        self.used = time.monotonic()


class HttpClient:
    """For one event loop; concurrent requests take a connection each."""

    def __init__(self, server: Server, max_answer: int, timeout_seconds: float) -> None:
        self._server = server
        self._timeout = timeout_seconds
        self._max_answer = max_answer
        self._idle: list[_Connection] = []
        endpoint = server.endpoint
        self._headers = {"Host": f"[{endpoint.host}]:{endpoint.port}" if endpoint.is_ipv6 else str(endpoint)}
        if server.user:
            credentials = base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {credentials}"  # RFC 7617

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """One exchange. Where the server has hung up on a kept connection meanwhile, once more on a fresh one."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._request(method, target, headers, body)
        except TimeoutError:
            raise ChartUnavailable(f"{self._server} does not answer within {self._timeout:g} s") from None

    async def _request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        while self._idle:
            kept = self._idle.pop()
            if time.monotonic() - kept.used > IDLE_SECONDS:
                kept.writer.transport.abort()
                continue
            try:
                return await self._exchange(kept, method, target, headers, body)
            except (OSError, EOFError):
                if kept.heard:
                    raise ChartUnavailable(f"{self._server} broke off its answer") from None
                break
        try:
            return await self._exchange(await self._connect(), method, target, headers, body)
        except EOFError:
            raise ChartUnavailable(f"{self._server} hung up without an answer") from None
        except OSError as error:
            raise ChartUnavailable(f"{self._server}: {error.strerror or error}") from None

    async def close(self) -> None:
        """Hang up. Requests under way are to be cancelled before."""
        while self._idle:
            writer = self._idle.pop().writer
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        await asyncio.sleep(0)  # those that were aborted are told so by the loop

    async def _connect(self) -> _Connection:
        endpoint = self._server.endpoint
        try:
            sock = await dial(endpoint, CONNECT_SECONDS)
        except (DeliveryError, InvalidEndpoint) as error:
            raise ChartUnavailable(str(error)) from None
        tls = self._server.tls
        try:
            name = endpoint.host if tls else None
            connection = _Connection(*await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name))
        except ssl.SSLCertVerificationError as error:
            raise CertificateUnknown(
                f"{endpoint} shows a certificate that nobody here vouches for ({error.verify_message})"
                + self._server.remedy
            ) from None
        except ssl.SSLError as error:
            raise ChartUnavailable(f"{endpoint} does not speak TLS: {error.reason or error}") from None
        if self._server.pin and (shown := certificate_of(connection.writer)) != self._server.pin:
            connection.writer.transport.abort()
            raise CertificateUnknown(f"{endpoint} shows another certificate than the one pinned, {shown}")
        return connection

    async def _exchange(
        self, connection: _Connection, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        connection.heard = False
        try:
            http = connection.http
            all_headers = [*self._headers.items(), *headers.items(), ("Content-Length", str(len(body)))]
            request = http.send(h11.Request(method=method, target=target, headers=all_headers))
            connection.writer.write(request or b"")
            if body:
                connection.writer.write(http.send(h11.Data(data=body)) or b"")
            http.send(h11.EndOfMessage())
            await connection.writer.drain()
            answer = await self._answer(connection)
            if http.our_state is h11.DONE and http.their_state is h11.DONE:
                http.start_next_cycle()
                connection.used = time.monotonic()
                self._idle.append(connection)
                return answer
        except h11.RemoteProtocolError as error:
            connection.writer.transport.abort()
            raise ChartUnavailable(f"{self._server} does not answer as an HTTP server: {error}") from None
        except BaseException:
            connection.writer.transport.abort()
            raise
        connection.writer.close()
        return answer

    async def _answer(self, connection: _Connection) -> Answer:
        http = connection.http
        response: h11.Response | None = None
        parts: list[bytes] = []
        size = 0
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                data = await connection.reader.read(READ_OCTETS)
                if not data and not connection.heard:
                    raise EOFError
                connection.heard = True
                http.receive_data(data)
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > self._max_answer:
                    raise ChartUnavailable(
                        f"{self._server} answers with more than {self._max_answer >> 20} MiB; a chart as large as"
                        " that belongs into another kind"
                    )
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert response
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
                return Answer(response.status_code, headers, b"".join(parts))
