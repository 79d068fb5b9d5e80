"""Prints documents on one printer by IPP over HTTP (RFC 8010 §4) or HTTPS (RFC 7472), at an IP literal.

Raises PrinterError.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from lanpost.errors import CertificateUnknown, ChartUnavailable, DeliveryError, InvalidValue, PrinterError
from lanpost.model.endpoint import Endpoint
from lanpost.model.printer_url import PrinterUrl
from lanpost.net.dial import dial
from lanpost.net.http_client import HttpClient, Server, certificate_of
from lanpost.wire import ipp

LOOK_SECONDS = 10.0  # at a printer's certificate
PATIENCE_SECONDS = 600.0  # for one request: a printer may read a document no faster than it prints it


@dataclass(frozen=True, slots=True)
class PrinterTrust:
    """By what a printer that speaks TLS is known: authorities (None: the system's), or its certificate itself."""

    authorities: ssl.SSLContext | None = None
    pin: str = ""  # SHA-256 of the certificate, in hex


class Printer:
    """For one event loop."""

    def __init__(
        self,
        url: PrinterUrl,
        user: str,
        timeout_seconds: float = PATIENCE_SECONDS,
        trust: PrinterTrust | None = None,
    ) -> None:
        """`user` is whom the printer shows as the job's owner."""
        self._url = url
        self._user = user
        trust = trust or PrinterTrust()
        tls = None
        if url.by_tls:
            tls = _any_certificate() if trust.pin else trust.authorities or ssl.create_default_context()
        server = Server(url.endpoint, tls, pin=trust.pin, remedy="")
        self._client = HttpClient(server, ipp.MAX_RESPONSE, timeout_seconds)
        self._last_id = 0

    async def print(self, name: str, documents: Mapping[str, bytes]) -> int:
        """Print one document, of which there are several forms, by MIME type, the best one first. The job's number.

        The printer is asked which of them it takes; where it does not say, it gets the first.
        """
        taken = await self._formats()
        form = next((form for form in documents if form in taken), None)
        if form is None:
            if taken and "application/octet-stream" not in taken:
                shown = ", ".join(sorted(taken))
                raise PrinterError(
                    f"{self._url} prints none of {', '.join(documents)}, but {shown}", permanent=True
                )
            form = next(iter(documents))
        request_id = self._next_id()
        head = ipp.print_job(request_id, str(self._url), self._user, name, form)
        response = await self._ask(request_id, head + documents[form])
        return response.number("job-id") or 0

    async def close(self) -> None:
        """Hang up. Nothing may be being printed."""
        await self._client.close()

    async def _formats(self) -> frozenset[str]:
        request_id = self._next_id()
        wanted = ("document-format-supported",)
        request = ipp.get_printer_attributes(request_id, str(self._url), self._user, wanted)
        response = await self._ask(request_id, request)
        return frozenset(response.texts("document-format-supported"))

    async def _ask(self, request_id: int, body: bytes) -> ipp.Response:
        headers = {"Content-Type": ipp.CONTENT_TYPE}
        try:
            answer = await self._client.request("POST", self._url.path, headers, body)
            if answer.status != 200:
                raise PrinterError(
                    f"{self._url}: HTTP status {answer.status}", permanent=answer.status in (404, 405)
                )
            response = ipp.read_response(answer.body, request_id)
        except CertificateUnknown as error:
            pin = await _certificate_at(self._url.endpoint)
            remedy = "; name its authority in fax.ca_file, or take the certificate as it is: fax.printer_pin = "
            raise PrinterError(f'{error}{remedy}"{pin}"') from None
        except ChartUnavailable as error:  # of the HTTP client, which knows no printers
            raise PrinterError(str(error)) from None
        except InvalidValue as error:
            raise PrinterError(f"{self._url}: {error}") from None
        if not response.is_successful:
            raise PrinterError(f"{self._url}: {response}", permanent=response.is_permanent)
        return response

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


async def _certificate_at(endpoint: Endpoint) -> str:
    """SHA-256 of what is shown there, in hex; for people to compare."""
    try:
        sock = await dial(endpoint, LOOK_SECONDS)
        async with asyncio.timeout(LOOK_SECONDS):
            _, writer = await asyncio.open_connection(sock=sock, ssl=_any_certificate(), server_hostname="")
    except (DeliveryError, OSError):  # TimeoutError is such
        return "?"
    shown = certificate_of(writer)
    writer.transport.abort()
    return shown


def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
