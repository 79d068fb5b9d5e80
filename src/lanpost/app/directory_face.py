"""The chart's LDAP face wired up from the settings, for a mail server and for a directory alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence

from lanpost.app.certificates import Certificates, utc_now
from lanpost.app.secret_files import beside_configuration, read_secret
from lanpost.app.setting_values import Listen
from lanpost.app.settings import Settings
from lanpost.app.threaded_chart import ThreadedChart
from lanpost.errors import ConfigurationError, InvalidName, StoreError
from lanpost.net.ldap import REFUSAL, LdapService
from lanpost.net.ldap_operations import Operations
from lanpost.net.ldap_searches import Searches, SearchRules
from lanpost.net.ldap_sync import SyncProvider
from lanpost.net.listener import ConnectionLimits, Listener
from lanpost.net.login_delays import LoginDelays
from lanpost.service.credentials import sha256_of
from lanpost.service.directory_login import DirectoryLogin
from lanpost.service.directory_tree import Tree
from lanpost.service.directory_writing import DirectoryWriter
from lanpost.service.ports import Accounts, Chart, Clock, Mailboxes
from lanpost.service.registrar import Registrar
from lanpost.store.admin_token import admin_token


class DirectoryFace:
    """The LDAP service of one process. `start` after everything that it stands on."""

    def __init__(
        self,
        settings: Settings,
        listens: Sequence[Listen],
        chart: Chart,
        accounts: Accounts,
        mailboxes: Mailboxes,
        registrar: Registrar,
        certificates: Certificates,
        *,
        limits: ConnectionLimits,
        sockets: Sequence[socket.socket] | None = None,
        delays: LoginDelays | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """Raises ConfigurationError and StoreError."""
        tree = tree_of(settings)
        searches = Searches(
            tree,
            chart,
            SearchRules(settings.ldap.anonymous == "read", settings.ldap.entries, settings.ldap.search_timeout),
            clock,
            local=chart if isinstance(chart, ThreadedChart) else None,
            synchronisation=SyncProvider(tree, chart, clock) if isinstance(chart, ThreadedChart) else None,
        )
        operations = Operations(
            tree,
            chart,
            DirectoryLogin(tree, accounts, _administrator_secrets(settings)),
            DirectoryWriter(tree, chart, accounts, mailboxes, registrar, durably=asyncio.to_thread),
            searches,
            clock,
            networks_without_tls=settings.authentication.networks_without_tls,
            networks_without_delay=settings.ldap.networks_without_delay,
            delays=delays,
        )
        self.registrar = registrar
        self._service = LdapService(operations, idle_seconds=settings.ldap.idle)
        self._listener = Listener(
            "ldap",
            listens,
            self._service.connection,
            limits,
            refusal=REFUSAL,
            tls=_tls(settings, certificates),
            sockets=sockets,
        )

    @property
    def listener(self) -> Listener:
        return self._listener

    async def start(self) -> None:
        """Listen. Raises ConfigurationError."""
        await self._listener.start()

    async def stop(self, seconds: float) -> None:
        """Accept no more, take leave of the clients. Idempotent."""
        await self._listener.drain(seconds)
        await self._service.close()


def tree_of(settings: Settings) -> Tree:
    """The directory's tree. Raises ConfigurationError for a suffix that is none."""
    try:
        return Tree(settings.domain, settings.ldap.suffix, mechanisms=("EXTERNAL",))
    except InvalidName as error:
        raise ConfigurationError(
            f'{settings.file or "built-in settings"}: ldap.suffix = "{settings.ldap.suffix}": {error}; write it as '
            '"dc=office,dc=lan", or leave it empty'
        ) from None


def _administrator_secrets(settings: Settings) -> tuple[bytes, ...]:
    """Of the password in `ldap.admin_password_file`, if there is one, and of the administrator's token."""
    found = [sha256_of(admin_token(settings.data))]
    if settings.ldap.admin_password_file:
        name = settings.ldap.admin_password_file
        found.append(sha256_of(read_secret(settings, "ldap.admin_password_file", name)))
    return tuple(found)


def _tls(settings: Settings, certificates: Certificates) -> ssl.SSLContext:
    name = settings.ldap.client_ca_file
    try:
        return certificates.asking_context(beside_configuration(settings, name) if name else None)
    except StoreError as error:
        raise ConfigurationError(f'ldap.client_ca_file = "{name}": {error}') from None
