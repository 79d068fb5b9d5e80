"""The registration API (described by `/v1/openapi.json`), as an ASGI application for HttpServer.

It reads requests and writes answers; who may do what is the registrar's to say. A binding is shown to the terminal
itself and to administrators, to nobody else: not on loopback either, where any user of the machine could ask.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lanpost.content.chart_record import time_text
from lanpost.errors import ChartUnavailable, InvalidValue, RegistrationRefused, StoreError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.duration import parse_duration
from lanpost.model.endpoint import SMTP_PORT, Endpoint
from lanpost.model.proof import Proof
from lanpost.net.api_description import DESCRIPTION
from lanpost.net.http_server import Application, Message, Receive, Send
from lanpost.net.problem import HANDLERS, BadRequest, path_of, problem
from lanpost.net.request_body import asks_leniency, lease_of, object_of
from lanpost.service import metrics as exposition
from lanpost.service import registrar as registration
from lanpost.service.credentials import Credential
from lanpost.service.metrics import Metrics
from lanpost.service.ports import Clock
from lanpost.service.registrar import Registrar, Registration
from lanpost.wire.refresh import PROOF_HEADER

MAX_BODY = 16384  # octets; a registration has about a hundred
BODY_SECONDS = 10.0  # for all of it
MAX_LIFETIME_SECONDS = 10**9  # more would not fit into a date
CHART_SECONDS = 10.0  # for a binding to be written; the terminal waits for 15 at most
MAX_WRITING = 500  # registrations that wait for the chart; one more is sent away, to come again
MAX_PROGRAM = 60  # characters kept of User-Agent
BATCH_ENTRIES = 500  # of the chart, written at once
CLAIM_KEY = re.compile(r"[A-Za-z0-9_-]{32,256}\Z")  # that a claimant chose: no word that anybody would guess
_PRIVATE = {"cache-control": "no-store"}
_END = {"connection": "close"}  # what is left of the request is not worth reading

log = structlog.get_logger()


class Api:
    """The registration API of one server.

    `ca_pem` tells what to trust; `unwell` answers why the server does not serve, or "" where it does.
    """

    def __init__(
        self,
        registrar: Registrar,
        *,
        domain: str,
        ca_pem: bytes,
        clock: Clock,
        metrics: Metrics,
        unwell: Callable[[], str] = lambda: "",
        refresh_key: bytes = b"",
        learn_refresh: Callable[[bytes], Awaitable[None]] | None = None,
        routes: Sequence[Route] = (),
    ) -> None:
        """`learn_refresh` is given the refresh request that a registering terminal obeyed last.

        `routes`: what else is answered at this server's port, to anybody.
        """
        self._more_routes = routes
        self._registrar = registrar
        self._domain = domain
        self._ca_pem = ca_pem
        self._clock = clock
        self._metrics = metrics
        self._unwell = unwell
        self._refresh_key = base64.b64encode(refresh_key).decode("ascii")
        self._learn_refresh = learn_refresh
        self._writing = 0  # registrations that wait for the chart

    def application(self) -> Application:
        """What HttpServer runs."""
        binding = "/v1/bindings/{address:path}"  # a mail address may hold a slash
        routes = [
            Route(binding, self.put, methods=["PUT"]),
            Route(binding, self.get, methods=["GET"]),
            Route(binding, self.delete, methods=["DELETE"]),
            Route("/v1/bindings", self.list, methods=["GET"]),
            Route("/v1/leases", self.lease, methods=["POST"]),
            Route("/v1/ca.pem", self.ca, methods=["GET"]),
            Route("/v1/openapi.json", self.description, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
            Route("/metrics", self.exposed_metrics, methods=["GET"]),
            *self._more_routes,
        ]
        inner = Starlette(routes=routes, exception_handlers=HANDLERS)
        inner.router.redirect_slashes = False
        requests = self._metrics.counter("lanpost_http_requests_total", "Answers of the HTTP server.", "status")

        async def application(scope: Message, receive: Receive, send: Send) -> None:
            async def counted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    requests.add(str(message["status"]))
                await send(message)

            if scope["state"]["tls"] or ipaddress.ip_address(scope["state"]["peer"].host).is_loopback:
                await inner(scope, receive, counted)
            else:
                await _refuse_plain(scope)(scope, receive, counted)

        return application

    async def put(self, request: Request) -> Response:
        address, credential, peer = self._who(request)
        asked = _request_of(await _body(request), lenient=_is_lenient(request))
        now = self._clock()
        registered = await self._in_time(self._registrar.register(address, credential, peer, asked, now))
        binding = registered.binding
        self._note(binding, request, claimed=bool(registered.key))
        await self._learn(request)
        answer = binding_json(binding, now)
        if self._refresh_key:
            answer["refresh_key"] = self._refresh_key
        if registered.key:
            return JSONResponse({**answer, "key": registered.key}, HTTPStatus.CREATED, _PRIVATE)
        return JSONResponse(answer, headers=_PRIVATE)

    async def _in_time(self, registration: Coroutine[Any, Any, Registration]) -> Registration:
        """A chart that is slow now must not make terminals wait for an answer that they will not hear any more."""
        if self._writing >= MAX_WRITING:
            registration.close()
            raise ChartUnavailable(f"{MAX_WRITING} registrations wait for the chart; come again later")
        self._writing += 1
        try:
            async with asyncio.timeout(CHART_SECONDS):
                return await registration
        except TimeoutError:
            raise ChartUnavailable(
                f"the chart did not take the registration within {CHART_SECONDS:g} s; come again later"
            ) from None
        finally:
            self._writing -= 1

    async def _learn(self, request: Request) -> None:
        shown = request.headers.get(PROOF_HEADER, "")
        if not shown or self._learn_refresh is None:
            return
        try:
            datagram = base64.b64decode(shown, validate=True)
        except ValueError:
            return
        try:
            await self._learn_refresh(datagram)
        except StoreError as error:
            log.error("the number of refresh requests cannot be stored", reason=str(error))

    async def get(self, request: Request) -> Response:
        address, credential, peer = self._who(request)
        now = self._clock()
        binding = await self._registrar.get(address, credential, peer, now)
        return JSONResponse(binding_json(binding, now), headers=_PRIVATE)

    async def delete(self, request: Request) -> Response:
        address, credential, peer = self._who(request)
        if await self._registrar.unregister(address, credential, peer, self._clock()):
            log.info("terminal said goodbye", address=str(address), client=peer.host)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def list(self, request: Request) -> Response:
        entries = self._registrar.entries(_credential(request), request.state.peer, self._clock())
        # The first one is awaited here: a chart that is down is a 503, not a list that breaks off.
        first = await anext(entries, None)
        return StreamingResponse(self._listed(first, entries), media_type="application/json", headers=_PRIVATE)

    async def lease(self, request: Request) -> Response:
        lease, age = lease_of(await _body(request), lenient=_is_lenient(request))
        now = self._clock()
        heard = await self._registrar.hear(lease, now - age, _credential(request), request.state.peer, now)
        binding = heard.binding
        if binding is None:
            log.debug("lease ignored", lease_event=lease.event.value, host=lease.host, why=heard.why)
            return Response(status_code=HTTPStatus.NO_CONTENT)
        self._note(binding, request)
        return JSONResponse(binding_json(binding, now), headers=_PRIVATE)

    async def ca(self, _request: Request) -> Response:
        return Response(self._ca_pem, media_type="application/x-pem-file")

    async def description(self, _request: Request) -> Response:
        return JSONResponse(DESCRIPTION)

    async def health(self, _request: Request) -> Response:
        if why := self._unwell():
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, why)
        return JSONResponse({"status": "ok"})

    async def exposed_metrics(self, _request: Request) -> Response:
        return Response(self._metrics.text(), headers={"content-type": exposition.CONTENT_TYPE})

    def _note(self, binding: Binding, request: Request, *, claimed: bool = False) -> None:
        log_registered(binding, request.state.peer.host, claimed=claimed, program=_program(request))
        self._metrics.counter("lanpost_registrations_total", "Bindings made or renewed.").add()

    def _who(self, request: Request) -> tuple[MailAddress, Credential | None, Endpoint]:
        address = MailAddress.parse(request.path_params["address"], self._domain)
        return address, _credential(request), request.state.peer

    async def _listed(self, first: Entry | None, rest: AsyncIterator[Entry]) -> AsyncIterator[str]:
        now = self._clock()
        batch = ['{"bindings":[']
        if first is not None:
            batch.append(json.dumps(entry_json(first, now)))
        async for entry in rest:
            batch += [",\n", json.dumps(entry_json(entry, now))]
            if len(batch) >= BATCH_ENTRIES:
                yield "".join(batch)
                batch.clear()
        yield "".join([*batch, "]}\n"])


def log_registered(binding: Binding, client: str, *, claimed: bool = False, program: str = "") -> None:
    """The event that tells of a binding made or renewed. `program`: what the terminal says that it runs."""
    log.info(
        "terminal registered",
        address=str(binding.address),
        endpoint=str(binding.endpoint),
        expires=binding.expires and time_text(binding.expires),
        source=binding.source.value,
        client=client,
        claimed=claimed,
        program=program,
    )


def binding_json(binding: Binding, now: datetime) -> dict[str, Any]:
    """A binding as the API shows it."""
    shown = {"proof": str(binding.proof)} if binding.proof else {}
    return shown | {
        "address": str(binding.address),
        "endpoint": str(binding.endpoint),
        "updated": time_text(binding.updated),
        "expires": time_text(binding.expires) if binding.expires else None,
        "source": binding.source.value,
        "live": binding.is_live(now),
    }


def entry_json(entry: Entry, now: datetime) -> dict[str, Any]:
    """A line of the chart; a terminal that is not bound has no endpoint."""
    if entry.binding is None:
        return {"address": str(entry.address), "endpoint": None}
    return binding_json(entry.binding, now)


def _credential(request: Request) -> Credential | None:
    header = request.headers.get("authorization", "")
    scheme, _, shown = header.partition(" ")
    if not header:
        return None
    if scheme.lower() != "bearer" or not shown.strip():
        raise RegistrationRefused("write the header as Authorization: Bearer SECRET", http_status=401)
    return Credential.read(shown.strip())


def _program(request: Request) -> str:
    """As the client names it (RFC 9110 §10.1.5), where that can do no harm in a log."""
    name = request.headers.get("user-agent", "")[:MAX_PROGRAM]
    return name if name.isascii() and name.isprintable() else ""


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise BadRequest(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY} octets", _END
                    )
    except TimeoutError:
        raise BadRequest(
            HTTPStatus.REQUEST_TIMEOUT, f"the body must come within {BODY_SECONDS:g} s", _END
        ) from None
    return bytes(body)


def _is_lenient(request: Request) -> bool:
    return asks_leniency(request.headers.getlist("prefer"))


def _request_of(body: bytes, *, lenient: bool = False) -> registration.Request:
    known = ("port", "lifetime", "endpoint", "proof", "key")
    fields = object_of(body, known, '{"port": 25, "lifetime": "24h"}', lenient=lenient)
    port, lifetime, endpoint, proof, key = (fields.get(name) for name in known)
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        raise InvalidValue("port: write a whole number from 1 to 65535")
    if endpoint is not None and not isinstance(endpoint, str):
        raise InvalidValue('endpoint: write an IP address and a port in quotes, as "10.0.0.7:25"')
    if proof is not None and not isinstance(proof, str):
        raise InvalidValue('proof: write "tls:SHA256" or "greeting:NAME"')
    if key is not None and not (isinstance(key, str) and CLAIM_KEY.match(key)):
        raise InvalidValue("key: write 32 to 256 random characters of A-Z a-z 0-9 _ -, or leave it out")
    try:
        seconds = None if lifetime is None else min(parse_duration(lifetime), MAX_LIFETIME_SECONDS)
    except InvalidValue as error:
        raise InvalidValue(f"lifetime: {error}") from None
    return registration.Request(
        port,
        None if endpoint is None else Endpoint.parse(endpoint, port or SMTP_PORT),
        None if seconds is None else timedelta(seconds=seconds),
        None if proof is None or (lenient and not Proof.is_known(proof)) else Proof.parse(proof),
        key=key or "",
    )


def _refuse_plain(scope: Message) -> Response:
    detail = "use https: plain HTTP is answered on this machine only"
    if any(name == b"authorization" for name, _ in scope["headers"]):
        detail += "; the secret has crossed the network readably: `lanpost terminal rotate ADDRESS` makes a new one"
    log.warning("plain HTTP from another machine", client=scope["state"]["peer"].host, path=path_of(scope))
    return problem(HTTPStatus.FORBIDDEN, detail, _END)
