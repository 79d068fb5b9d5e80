"""The server's certificate: which names it bears, and that it is renewed in time while the server runs.

Every listener that speaks TLS (registration, STARTTLS, STLS) uses the one context of `Certificates`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

import structlog

from lanpost.app.settings import Settings
from lanpost.errors import StoreError
from lanpost.net.own_addresses import own_addresses
from lanpost.service.ports import Clock
from lanpost.store import formats
from lanpost.store.authority import Authority, Names

FOLDER = "tls"  # in `data`
CHECK_SECONDS = 600.0  # a new own address is in the certificate at the latest then; its third of a life is months

log = structlog.get_logger()


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_authority(settings: Settings, clock: Clock = utc_now) -> Authority:
    """The CA of the data folder, made if need be. Raises StoreError."""
    formats.require(settings.data)
    return Authority.open(settings.data / FOLDER, clock())


def names_of(settings: Settings) -> Names:
    """What clients call this server by: its name, its addresses, and where it listens."""
    services = (settings.http, settings.smtp, settings.submission, settings.pop3, settings.ldap)
    listens = [listen for service in services for listen in service.listen]
    named = {listen.host for listen in listens if not ipaddress.ip_address(listen.host).is_unspecified}
    hostname = settings.hostname or socket.gethostname()  # never the "fully qualified" one: that would ask DNS
    return Names(hostname, named | set(own_addresses()) | {"127.0.0.1", "::1"})


class Certificates:
    """The TLS context of this process. `keep_renewed` runs as long as the server does."""

    def __init__(self, settings: Settings, clock: Clock = utc_now) -> None:
        """Makes CA and certificate at the first start. Raises StoreError."""
        self._settings = settings
        self._clock = clock
        self.authority = open_authority(settings, clock)
        self.context: ssl.SSLContext = self.authority.ssl_context(names_of(settings), clock())

    def asking_context(self, client_ca_file: Path | None = None) -> ssl.SSLContext:
        """The same with a wish for client certificates, of our own CA or of that file's. Raises StoreError."""
        return self.authority.asking_context(client_ca_file)

    async def keep_renewed(self) -> None:
        """Look again and again whether a new certificate is due. Ends by cancellation only."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.renew()

    async def renew(self) -> bool:
        """Renew the certificate if it is due, for handshakes from now on. True: the context has another one."""
        try:
            names = names_of(self._settings)
            if not await asyncio.to_thread(self.authority.renew, names, self._clock()):
                return False
            self.authority.load()
        except StoreError as error:
            log.error("certificate not renewed", reason=str(error))  # the old one serves on
            return False
        log.info("certificate renewed", hostname=names.hostname, addresses=sorted(names.hosts))
        return True
