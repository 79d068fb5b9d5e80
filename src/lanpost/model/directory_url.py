"""The URL of a terminal's own entry in a directory: `ldaps://10.0.0.5:636/cn=fax1,ou=chart,dc=office,dc=lan`.

After RFC 4516, with an IP literal for the host and nothing behind the entry's name. `ldap://` means StartTLS; on
loopback it is in the clear. Standard library only: the agent uses it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from lanpost.errors import InvalidName, InvalidValue
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.model.endpoint import Endpoint

DEFAULT_PORT = {"ldap": 389, "ldaps": 636}
_FORM = (
    "write ldaps://, an IP address, a port and the terminal's entry, as ldaps://10.0.0.5:636/cn=fax1,ou=chart,o=lan"
)
_FORM_OF_SERVER = "write ldaps://, an IP address and a port, as ldaps://10.0.0.5:636"


@dataclass(frozen=True, slots=True)
class DirectoryUrl:
    """Where a directory is, and an entry in it. `entry` "" is that of a server without an entry."""

    is_secure: bool  # TLS from the first octet on
    server: Endpoint
    entry: str = ""  # distinguished name

    @staticmethod
    def parse(url: str) -> DirectoryUrl:
        """Of a terminal's entry. Raises InvalidValue, with the remedy."""
        found = _parse(url, _FORM)
        if not found.entry:
            raise InvalidValue(f"{url[:80]!r} names no entry: {_FORM}")
        return found

    @staticmethod
    def parse_server(url: str) -> DirectoryUrl:
        """Of a server alone. Raises InvalidValue, with the remedy."""
        found = _parse(url, _FORM_OF_SERVER)
        if found.entry:
            raise InvalidValue(f"{url[:80]!r}: nothing may follow the port")
        return found

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.server.host).is_loopback

    @property
    def starts_tls(self) -> bool:
        """TLS begins after the connection is made, before anything is said (RFC 4511 §4.14)."""
        return not self.is_secure and not self.is_loopback

    def of(self, entry: str) -> DirectoryUrl:
        """The same server, and that entry."""
        return DirectoryUrl(self.is_secure, self.server, entry)

    def __str__(self) -> str:
        scheme = "ldaps" if self.is_secure else "ldap"
        return f"{scheme}://{self.server}" + (f"/{quote(self.entry, safe='=,')}" if self.entry else "")


def is_directory_url(url: str) -> bool:
    return url[:8].lower().startswith(("ldap://", "ldaps://"))


def _parse(url: str, form: str) -> DirectoryUrl:
    shown = repr(url[:80])
    try:
        parts = urlsplit(url)
        port = parts.port
        host = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        raise InvalidValue(f"{shown}: {form}; host names are not looked up") from None
    if parts.scheme not in DEFAULT_PORT or parts.username is not None or port == 0 or not url.isprintable():
        raise InvalidValue(f"{shown}: {form}")
    if parts.query or parts.fragment:
        raise InvalidValue(f"{shown}: nothing may follow the entry; {form}")
    if host.is_link_local and host.version == 6:
        raise InvalidValue(f"{shown}: a link-local address holds on one link only; name another of the directory's")
    server = Endpoint.of(str(host), port or DEFAULT_PORT[parts.scheme])
    try:
        entry = unquote(parts.path.removeprefix("/"), errors="strict")
        DistinguishedName.parse(entry)
    except UnicodeDecodeError:
        raise InvalidValue(f"{shown}: what is escaped with % is not UTF-8") from None
    except InvalidName as error:
        raise InvalidValue(f"{shown}: {error}") from None
    return DirectoryUrl(parts.scheme == "ldaps", server, entry)
