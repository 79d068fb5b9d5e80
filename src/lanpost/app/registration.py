"""Registration wired up from the settings: the registrar behind its HTTPS server, and enrolment."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from lanpost.app.certificates import FOLDER as KEYS_FOLDER
from lanpost.app.certificates import Certificates, open_authority, utc_now
from lanpost.app.charts import open_chart
from lanpost.app.directory_enrolment import DirectoryAccess, let_log_in, lock_out
from lanpost.app.handover_watch import log_dropped
from lanpost.app.program_offer import ProgramOffer
from lanpost.app.refresher import Refresher
from lanpost.app.settings import Settings
from lanpost.app.token_urls import registrar_urls
from lanpost.errors import InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.token import EnrolmentToken
from lanpost.net.api import Api
from lanpost.net.http_server import HttpServer
from lanpost.net.program_download import ProgramDownload
from lanpost.service.credentials import sha256_of
from lanpost.service.metrics import Metrics
from lanpost.service.ports import Accounts, Chart, Clock, Mailboxes
from lanpost.service.registrar import Registrar, Rules
from lanpost.service.terminals import NO_TRAITS, Terminals, Traits
from lanpost.store import formats
from lanpost.store.accounts import SqliteAccounts
from lanpost.store.admin_token import admin_token
from lanpost.store.refresh_key import RefreshKey

ACCOUNTS_FILE = "accounts.sqlite3"  # in `data`


class RegistrationService:
    """The registrar of this server, reached over HTTPS at `[http] listen`."""

    def __init__(
        self,
        settings: Settings,
        chart: Chart,
        accounts: Accounts,
        mailboxes: Mailboxes,
        certificates: Certificates,
        *,
        metrics: Metrics,
        sockets: Sequence[socket.socket] | None = None,
        unwell: Callable[[], str] = lambda: "",
        clock: Clock = utc_now,
    ) -> None:
        """Makes the administrator's secret and the key of refresh requests at the first start.

        `sockets` are bound already, and listened at. `unwell` says why the server does not serve, or "".

        Raises StoreError.
        """
        self.registrar = registrar_of(settings, chart, accounts, mailboxes)
        self.refresher = Refresher(settings, chart, accounts, clock)
        self._domain = settings.domain
        self._refreshing: asyncio.Task[None] | None = None
        api = Api(
            self.registrar,
            domain=settings.domain,
            ca_pem=certificates.authority.ca_pem,
            clock=clock,
            metrics=metrics,
            unwell=unwell,
            refresh_key=self.refresher.public_key,
            learn_refresh=self.refresher.learn,
            routes=ProgramDownload(ProgramOffer(settings.data).offer).routes(),
        )
        self._server = HttpServer(settings.http.listen, api.application(), certificates.context, sockets=sockets)
        metrics.gauge("lanpost_http_connections", "Connections to the HTTP server.", lambda: self._server.count)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and real port of each listener, in the order of the setting."""
        return self._server.addresses

    def reload(self, settings: Settings) -> None:
        """Use the rules of these settings from now on; where it listens stays."""
        self.registrar.use(rules_of(settings))
        self.refresher.use(settings)

    async def start(self) -> None:
        """Listen, and ask the terminals to register. Raises ConfigurationError."""
        await self._server.start()
        self._refreshing = asyncio.ensure_future(self.refresher.run())

    async def stop(self, seconds: float) -> None:
        """Ask and accept no more, finish what is being answered within `seconds`. Idempotent."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await self.refresher.close()
        await self._server.stop(seconds)

    async def command_refresh(self, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        """`refresh` at the control socket: `addresses` to ask, or everyone. Raises LanpostError."""
        addresses = [MailAddress.parse(str(text), self._domain) for text in arguments.get("addresses", ())]
        return [asdict(await self.refresher.refresh(addresses))]


def registrar_of(settings: Settings, chart: Chart, accounts: Accounts, mailboxes: Mailboxes) -> Registrar:
    """The registrar as the settings have it; makes the administrator's secret at the first start. StoreError."""
    return Registrar(
        chart,
        accounts,
        mailboxes,
        rules_of(settings),
        durably=asyncio.to_thread,
        administrator_sha256=sha256_of(admin_token(settings.data)),
        dropped=log_dropped,
    )


def rules_of(settings: Settings) -> Rules:
    """The registrar's rules as the settings have them."""
    return Rules(
        domain=settings.domain,
        endpoint_ports=settings.delivery.endpoint_ports,
        lifetime=timedelta(seconds=settings.registrar.lifetime),
        claim=settings.registrar.policy == "claim",
        networks=settings.registrar.networks,
    )


@asynccontextmanager
async def open_terminals(settings: Settings) -> AsyncIterator[Terminals]:
    """The enrolled terminals, whether a server runs or not. Raises what opening chart and accounts raises."""
    formats.require(settings.data)
    accounts = SqliteAccounts(settings.data / ACCOUNTS_FILE)
    try:
        chart = open_chart(settings)
        try:
            yield Terminals(chart, accounts)
        finally:
            await chart.close()
    finally:
        accounts.close()


async def enrol(
    settings: Settings,
    address: MailAddress,
    *,
    speaks_for_others: bool = False,
    ldap: bool = False,
    traits: Traits = NO_TRAITS,
) -> EnrolmentToken:
    """Make a terminal known, with a secret of its own; `ldap`: its token names the directory.

    Raises what `Terminals.add`, `registrar_urls` and `DirectoryAccess.of` raise.
    """
    if traits != NO_TRAITS:  # one with an agent says its port itself
        expect_port(settings, traits.port)
    issue = _issuer(settings, ldap=ldap)  # first: without a place to name there is no token
    async with open_terminals(settings) as terminals:
        was_known = await terminals.knows(address)
        secret = await terminals.add(address, utc_now(), speaks_for_others=speaks_for_others, traits=traits)
        try:
            return await issue(address, secret)
        except BaseException:
            await terminals.undo_add(address, was_known=was_known)
            raise


def expect_port(settings: Settings, port: int) -> None:
    """InvalidValue where no binding may name that port."""
    allowed = settings.delivery.endpoint_ports
    if port not in allowed:
        shown = ", ".join(map(str, allowed))
        raise InvalidValue(f"port {port} is not to be had: [delivery] endpoint_ports allows {shown}; see --port")


async def enrol_anew(settings: Settings, address: MailAddress, *, ldap: bool = False) -> EnrolmentToken:
    """Give an enrolled terminal a new secret. Raises what `Terminals.rotate` and `enrol` raise."""
    issue = _issuer(settings, ldap=ldap)
    async with open_terminals(settings) as terminals:
        secret = await terminals.rotate(address)
    if not ldap:
        await lock_out(settings, address)  # with the old one
    return await issue(address, secret)


def _issuer(settings: Settings, *, ldap: bool) -> Callable[[MailAddress, str], Awaitable[EnrolmentToken]]:
    if not ldap:
        urls, pin = registrar_urls(settings), open_authority(settings).pin
        refresh_key = RefreshKey.open(settings.data / KEYS_FOLDER).public

        async def issue(address: MailAddress, secret: str) -> EnrolmentToken:
            return EnrolmentToken(urls, pin, address, secret, refresh_key=refresh_key)

        return issue
    access = DirectoryAccess.of(settings)

    async def issue_for_directory(address: MailAddress, secret: str) -> EnrolmentToken:
        return access.token(address, secret, await let_log_in(settings, address, secret))

    return issue_for_directory
