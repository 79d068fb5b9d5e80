"""Tokens for terminals that register with a directory itself, over LDAP, and the passwords they log in there with.

Where the chart is in a directory of others, the terminal's entry gets a password there; where the directory is our
own, the terminal's account is its login already.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lanpost.app.certificates import FOLDER as KEYS_FOLDER
from lanpost.app.chart_directory import open_directory
from lanpost.app.directory_face import tree_of
from lanpost.app.settings import Settings
from lanpost.app.token_urls import directory_authority, directory_servers, is_in_directory
from lanpost.errors import ConfigurationError
from lanpost.model.address import MailAddress
from lanpost.model.directory_url import DirectoryUrl
from lanpost.model.token import EnrolmentToken
from lanpost.net.chart_ldap import LdapChart
from lanpost.store.refresh_key import RefreshKey

SALT_OCTETS = 8


@dataclass(frozen=True, slots=True)
class DirectoryAccess:
    """What tokens say of the directory."""

    servers: tuple[DirectoryUrl, ...]
    authority: bytes  # CA certificate, DER
    refresh_key: bytes

    @staticmethod
    def of(settings: Settings) -> DirectoryAccess:
        """Raises ConfigurationError where there is no directory that terminals could register with, StoreError."""
        if is_in_directory(settings) and not _is_ours(settings):
            raise ConfigurationError(
                "chart.address_attribute and its like name the directory's own attributes: terminals write those "
                "of lanpost, and so cannot register there themselves; leave --ldap away"
            )
        refresh_key = RefreshKey.open(settings.data / KEYS_FOLDER).public
        return DirectoryAccess(directory_servers(settings), directory_authority(settings), refresh_key)

    def token(self, address: MailAddress, secret: str, entry: str) -> EnrolmentToken:
        urls = tuple(str(server.of(entry)) for server in self.servers)
        pin = hashlib.sha256(self.authority).hexdigest()
        return EnrolmentToken(urls, pin, address, secret, self.authority, self.refresh_key)


async def let_log_in(settings: Settings, address: MailAddress, secret: str) -> str:
    """Let the terminal log in to the directory with that secret, and no other. The name of its entry.

    Raises ConfigurationError, ChartUnavailable.
    """
    if not is_in_directory(settings):
        return tree_of(settings).entry_name(address)
    async with _directory(settings) as chart:
        return await chart.set_password(address, salted(secret))


async def lock_out(settings: Settings, address: MailAddress) -> None:
    """Let the terminal log in to a directory of others no more. Raises ConfigurationError, ChartUnavailable."""
    if is_in_directory(settings) and _is_ours(settings):
        async with _directory(settings) as chart:
            await chart.set_password(address, b"")


def salted(secret: str) -> bytes:
    """As every directory takes it for userPassword. The secret is random: what is slow to compute adds nothing."""
    salt = secrets.token_bytes(SALT_OCTETS)
    digest = hashlib.sha1(secret.encode() + salt).digest()  # noqa: S324
    return b"{SSHA}" + base64.b64encode(digest + salt)


def _is_ours(settings: Settings) -> bool:
    """The chart's entries have lanpost's attributes."""
    chart = settings.chart
    return not (chart.address_attribute or chart.host_attribute or chart.port_attribute)


@asynccontextmanager
async def _directory(settings: Settings) -> AsyncIterator[LdapChart]:
    chart = open_directory(settings)
    try:
        yield chart
    finally:
        await chart.close()
