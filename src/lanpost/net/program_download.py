"""`GET /lanpost.pyz` and what belongs to it: the program, handed out by a running server to whoever asks.

The file is public: there is nothing in it but what anybody may have. It is sent from the disk piece by piece, whole
or in ranges (RFC 9110 §14), a few at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lanpost.net.problem import problem

AT_ONCE = 8  # files on their way; the next one is sent away, to come again
PER_CLIENT = 2  # of those, to one machine: one that takes them slowly keeps nobody else from the file
LONGEST_SECONDS = 600.0  # 50 MB at 85 kB/s; whoever is slower goes on where it was cut off, and others had a chance
RETRY_SECONDS = 10
LOGGED_RANGE = 80  # characters of what a client asks for: it may send a header full of them
MEDIA_TYPE = "application/zip"
SIGNATURE_TYPE = "text/plain"
NONE_HERE = (
    "this server has no lanpost.pyz to hand out, for it was not installed from one: build one from its source "
    "(`make dist`), and install that"
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Offer:
    """The file that is handed out now, and what vouches for it: texts for the routes beside it."""

    file: Path
    sha256: str
    signature: str
    signers: str
    publisher_signature: str  # "": nobody has signed it but this server


class ProgramDownload:
    """Routes for the API. `offer` finds out what is handed out now: None, where there is nothing.

    An answer that takes longer than `longest` seconds ends with TimeoutError.
    """

    def __init__(self, offer: Callable[[], Awaitable[Offer | None]], *, longest: float = LONGEST_SECONDS) -> None:
        self._offer = offer
        self._longest = longest
        self.sending: Counter[str] = Counter()  # how many are on their way, by client

    def routes(self) -> list[Route]:
        """GET and HEAD of the file, its digest and its signatures."""
        texts: dict[str, Callable[[Offer], str]] = {
            "sha256": lambda offer: f"{offer.sha256}  {offer.file.name}\n",
            "sig": lambda offer: offer.signature,
            "signers": lambda offer: offer.signers,
            "publisher.sig": lambda offer: offer.publisher_signature,
        }
        routes = [Route(f"/lanpost.pyz.{name}", self._text_of(text)) for name, text in texts.items()]
        return [Route("/lanpost.pyz", self._file), *routes]

    def _text_of(self, text: Callable[[Offer], str]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_request: Request) -> Response:
            offer = await self._offer()
            if offer is None:
                return problem(HTTPStatus.NOT_FOUND, NONE_HERE)
            if not (content := text(offer)):
                return problem(
                    HTTPStatus.NOT_FOUND, "nobody but this server has signed this file: see /lanpost.pyz.sig"
                )
            return PlainTextResponse(content, media_type=SIGNATURE_TYPE)

        return answer

    async def _file(self, request: Request) -> Response:
        offer = await self._offer()
        if offer is None:
            return problem(HTTPStatus.NOT_FOUND, NONE_HERE)
        etag = f'"{offer.sha256}"'
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": etag})
        client = request.state.peer.host
        if self.sending.total() >= AT_ONCE or self.sending[client] >= PER_CLIENT:
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"it is being sent to as many as may be at once: come again in {RETRY_SECONDS} s (curl --retry 9)",
                {"retry-after": str(RETRY_SECONDS)},
            )
        if request.method == "GET":
            log.info("program handed out", client=client, range=request.headers.get("range", "")[:LOGGED_RANGE])
        return _Sent(
            self.sending,
            client,
            self._longest,
            offer.file,
            media_type=MEDIA_TYPE,
            headers={"etag": etag},
            filename="lanpost.pyz",
        )


class _Sent(FileResponse):
    """Counted as long as it is on its way, which is not for ever."""

    def __init__(self, sending: Counter[str], client: str, longest: float, file: Path, **options: Any) -> None:
        super().__init__(file, **options)
        self._sending = sending
        self._client = client
        self._longest = longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._sending[self._client] += 1
        try:
            async with asyncio.timeout(self._longest):
                await super().__call__(scope, receive, send)
        finally:
            self._sending -= Counter([self._client])  # forgets who has none any more
