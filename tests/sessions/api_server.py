"""A registration API on loopback with real stores, and a client of the standard library."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.memory_stores import MemoryMailboxes

from lanpost.app.threaded_chart import ThreadedChart
from lanpost.model.address import MailAddress
from lanpost.model.token import REGISTRAR_NAME
from lanpost.net.api import Api
from lanpost.net.http_server import HttpServer
from lanpost.net.listener import ConnectionLimits
from lanpost.service.credentials import sha256_of
from lanpost.service.metrics import Metrics
from lanpost.service.registrar import Registrar, Rules
from lanpost.service.terminals import Terminals
from lanpost.store.accounts import SqliteAccounts
from lanpost.store.authority import Authority, Names
from lanpost.store.chart_sqlite import SqliteChart

ADMINISTRATOR = "the-administrators-own-secret"
RULES = Rules("office.lan", (25, 2525), timedelta(hours=24), networks=(ipaddress.ip_network("127.0.0.0/8"),))


@dataclass(frozen=True)
class At:
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class ApiServer:
    """What a test needs of it."""

    server: HttpServer
    authority: Authority
    accounts: SqliteAccounts
    chart: ThreadedChart
    metrics: Metrics
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.server.addresses[0][0]

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    async def enrol(self, name: str, *, speaks_for_others: bool = False) -> str:
        secret = await Terminals(self.chart, self.accounts).add(
            MailAddress.parse(name, "office.lan"), datetime.now(UTC), speaks_for_others=speaks_for_others
        )
        self.secrets[name] = secret
        return secret

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.ca_pem.decode())

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        secret: str = "",
        *,
        tls: bool = True,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        content = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        shown = {**({"Authorization": f"Bearer {secret}"} if secret else {}), **(headers or {})}

        def call() -> Answer:
            connection = (
                http.client.HTTPSConnection(self.host, self.port, context=self.client_context(), timeout=30)
                if tls
                else http.client.HTTPConnection(self.host, self.port, timeout=30)
            )
            try:
                connection.request(method, path, content, shown)
                response = connection.getresponse()
                return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            finally:
                connection.close()

        return await asyncio.to_thread(call)


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    claim: bool = False,
    host: str = "127.0.0.1",
    limits: ConnectionLimits | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    unwell: Callable[[], str] = lambda: "",
    store: SqliteChart | None = None,
) -> AsyncIterator[ApiServer]:
    """The API, listening on a free port."""
    authority = Authority.open(folder / "tls", datetime.now(UTC))
    names = Names("localhost", (host,))
    accounts = SqliteAccounts(folder / "accounts.sqlite3")
    chart = ThreadedChart(store or SqliteChart(folder / "chart.sqlite3"))
    registrar = Registrar(
        chart,
        accounts,
        MemoryMailboxes("bert@office.lan"),
        replace(RULES, claim=claim),
        durably=asyncio.to_thread,
        administrator_sha256=sha256_of(ADMINISTRATOR),
    )
    metrics = Metrics()
    api = Api(registrar, domain="office.lan", ca_pem=authority.ca_pem, clock=clock, metrics=metrics, unwell=unwell)
    context = authority.ssl_context(names, datetime.now(UTC))
    arguments = [] if limits is None else [limits]
    server = HttpServer([At(host)], api.application(), context, *arguments)
    await server.start()
    try:
        yield ApiServer(server, authority, accounts, chart, metrics)
    finally:
        await server.stop(5)
        await chart.close()
        accounts.close()


__all__ = ["ADMINISTRATOR", "REGISTRAR_NAME", "Answer", "ApiServer", "At", "serving"]
