"""Errors of the API as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lanpost.errors import ChartUnavailable, InvalidValue, RegistrationRefused, StoreError

MAX_LOGGED = 200  # octets of a path
RETRY_SECONDS = 10  # told to whoever asks while a store of ours cannot answer

log = structlog.get_logger()


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


class BadRequest(HTTPException):
    """A request that cannot be read: `detail` says what to write instead."""


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A problem of no type but its status ("about:blank"), and a sentence for whoever has it."""
    fields = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return ProblemResponse(fields, status, headers)


def path_of(scope: MutableMapping[str, Any]) -> str:
    """The path as it was sent, percent-encoded: nothing in it can play tricks with a log or a terminal."""
    raw: bytes = scope["raw_path"]
    return raw[:MAX_LOGGED].decode("ascii", "replace")


async def on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistrationRefused)
    status = error.http_status
    log.info(
        "registration refused",
        client=request.state.peer.host,
        path=path_of(request.scope),
        method=request.method,
        status=status,
        reason=str(error),
    )
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="lanpost"'
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["retry-after"] = "60"
    return problem(status, str(error), headers)


async def on_invalid_value(_request: Request, error: Exception) -> Response:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


async def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if isinstance(error, BadRequest):
        pass
    elif error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.url.path}; /v1/openapi.json describes what there is"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not to be had here; see the header Allow, and /v1/openapi.json"
    return problem(error.status_code, detail, dict(error.headers or {}))


async def on_unavailable(request: Request, error: Exception) -> Response:
    log.warning("registration not possible now", client=request.state.peer.host, reason=str(error))
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"retry-after": str(RETRY_SECONDS)})


async def on_bug(request: Request, error: Exception) -> Response:
    log.error("request failed", path=path_of(request.scope), method=request.method, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says more")


HANDLERS = {
    RegistrationRefused: on_refusal,
    InvalidValue: on_invalid_value,
    HTTPException: on_http_error,
    ChartUnavailable: on_unavailable,
    StoreError: on_unavailable,
    Exception: on_bug,
}
