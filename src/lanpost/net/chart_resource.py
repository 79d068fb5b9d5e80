"""One document on a document server: get, put, lock. RFC 9110 (ETags and preconditions), RFC 4918 (locks).

Raises ChartUnavailable, whose text says what happened, where, and what to do.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from lanpost.content.chart_xml import MAX_DOCUMENT
from lanpost.errors import ChartUnavailable
from lanpost.net.http_client import Answer, HttpClient, Server

LOCK_SECONDS = 15  # after which the server takes back the lock of one who is gone
LOCK_PAUSES = (0.01, 0.06)  # seconds between tries to get it, by chance
STRONG_SECONDS = 1.5  # Apache gives a weak ETag in the first second of a document
STRONG_PAUSE = 0.25

_LOCK = (
    b'<?xml version="1.0" encoding="utf-8"?><lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope>'
    b"<locktype><write/></locktype><owner>lanpost</owner></lockinfo>"
)
_NO_LOCKS = (  # answers of a server, or of its access rules, that knows no LOCK
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.NOT_IMPLEMENTED,
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as the server has it."""

    exists: bool
    body: bytes = b""
    etag: str = ""  # "": not known; it must be read as a whole next time
    modified: datetime | None = None

    @property
    def is_strong(self) -> bool:
        return self.etag.startswith('"')


class ChartResource:
    """The document at one URL, whose size has a bound."""

    def __init__(self, url: str, server: Server, target: str, timeout_seconds: float) -> None:
        self._url = url
        self._target = target
        self._http = HttpClient(server, MAX_DOCUMENT, timeout_seconds)
        self._locks = True

    def __str__(self) -> str:
        return self._url

    async def get(self, former: Stored | None) -> Stored:
        """The document as it is now; `former` itself where that has not changed."""
        headers = {"If-None-Match": former.etag} if former and former.etag else {}
        answer = await self._http.request("GET", self._target, {**headers, "Accept-Encoding": "identity"})
        if former and answer.status == HTTPStatus.NOT_MODIFIED:
            return former
        if answer.status == HTTPStatus.NOT_FOUND:
            return Stored(exists=False)
        if answer.status != HTTPStatus.OK:
            raise self._refused("GET", answer)
        modified = None
        if "last-modified" in answer.headers:
            try:
                modified = parsedate_to_datetime(answer.headers["last-modified"])
            except ValueError:
                modified = None
        if modified and modified.tzinfo is None:
            modified = None
        return Stored(True, answer.body, answer.headers.get("etag", ""), modified)

    async def put(self, body: bytes, former: Stored, token: str) -> Stored | None:
        """Put it in place of `former`, and of nothing else; None: something else is there.

        Without a lock only a strong ETag tells (RFC 9110 §13.1.1); under ours it is a second safeguard.
        """
        headers = {"Content-Type": "application/xml"}
        if former.exists:
            if not (token or former.is_strong):
                former = await self._strong(former)
                if not former.is_strong:
                    return None
            if former.is_strong:
                headers["If-Match"] = former.etag
        else:
            headers["If-None-Match"] = "*"
        if token:
            headers["If"] = f"({token})"
        answer = await self._http.request("PUT", self._target, headers, body)
        if answer.status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.LOCKED):
            return None
        if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT):
            raise self._refused("PUT", answer)
        etag = answer.headers.get("etag", "")
        if token and not etag:
            # While it is locked nobody else can have put another one.
            head = await self._http.request("HEAD", self._target, {"Accept-Encoding": "identity"})
            etag = head.headers.get("etag", "") if head.status == HTTPStatus.OK else ""
        return Stored(True, body, etag)

    async def lock(self) -> str:
        """A lock, to be given to `put` and `unlock`; "" where the server has none. Waits for those of others."""
        while self._locks:
            headers = {"Timeout": f"Second-{LOCK_SECONDS}", "Depth": "0", "Content-Type": "application/xml"}
            answer = await self._http.request("LOCK", self._target, headers, _LOCK)
            if answer.status in (HTTPStatus.OK, HTTPStatus.CREATED) and "lock-token" in answer.headers:
                return answer.headers["lock-token"]
            if answer.status in _NO_LOCKS:
                self._locks = False
            elif answer.status != HTTPStatus.LOCKED:
                raise self._refused("LOCK", answer)
            else:
                await asyncio.sleep(random.uniform(*LOCK_PAUSES))  # noqa: S311
        return ""

    async def unlock(self, token: str) -> None:
        """Whatever comes of it: the lock ends by itself."""
        try:
            await self._http.request("UNLOCK", self._target, {"Lock-Token": token})
        except ChartUnavailable:
            return

    async def close(self) -> None:
        await self._http.close()

    async def _strong(self, former: Stored) -> Stored:
        """`former` with a strong ETag. Not strong: it has changed. Raises where the server gives none."""
        waited = 0.0
        while not former.is_strong:
            if not former.etag or waited >= STRONG_SECONDS:
                raise ChartUnavailable(
                    f"{self._url} has {'only a weak' if former.etag else 'no'} ETag and takes no LOCK: two mail"
                    " servers would overwrite each other's changes, so nothing is written; take a server that can"
                    " lock (in Apache set `DAVLockDB`)"
                )
            await asyncio.sleep(STRONG_PAUSE)
            waited += STRONG_PAUSE
            fresh = await self.get(None)
            if fresh.body != former.body:
                return Stored(exists=True)
            former = fresh
        return former

    def _refused(self, method: str, answer: Answer) -> ChartUnavailable:
        status = answer.status
        words = HTTPStatus(status).phrase if status in list(HTTPStatus) else "no known status"
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            hint = "; look at chart.user and chart.password_file, and at what the server lets that user do"
        elif 300 <= status < 400:
            hint = (
                f"; name the document's own URL, not one that leads to {answer.headers.get('location', '')[:200]}"
            )
        elif status == HTTPStatus.METHOD_NOT_ALLOWED:
            hint = "; the server must take GET and PUT there: in Apache set `Dav On`"
        elif status == HTTPStatus.CONFLICT:
            hint = "; make the folder first"
        else:
            hint = ""
        return ChartUnavailable(f"{self._url} answers {method} with {status} ({words}){hint}")
