"""Prints documents on one printer by IPP over HTTP (RFC 8010 §4), at an IP literal. Raises PrinterError."""

from __future__ import annotations

from collections.abc import Mapping

from lanpost.errors import ChartUnavailable, InvalidValue, PrinterError
from lanpost.model.printer_url import PrinterUrl
from lanpost.net.http_client import HttpClient, Server
from lanpost.wire import ipp

PATIENCE_SECONDS = 600.0  # for one request: a printer may read a document no faster than it prints it


class Printer:
    """For one event loop."""

    def __init__(self, url: PrinterUrl, user: str, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """`user` is whom the printer shows as the job's owner."""
        self._url = url
        self._user = user
        self._client = HttpClient(Server(url.endpoint), ipp.MAX_RESPONSE, timeout_seconds)
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
