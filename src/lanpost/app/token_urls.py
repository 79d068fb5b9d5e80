"""Where the URLs in enrolment tokens come from: the registration API's, and the directory's.

Everything here raises ConfigurationError where they cannot be known.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Sequence

from lanpost.app.certificates import open_authority
from lanpost.app.chart_directory import PORTS, places_of
from lanpost.app.secret_files import beside_configuration
from lanpost.app.setting_values import Listen
from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError
from lanpost.model.directory_url import DirectoryUrl
from lanpost.model.endpoint import Endpoint
from lanpost.model.token import MAX_URLS
from lanpost.net.own_addresses import own_addresses

_BEGIN = "-----BEGIN CERTIFICATE-----"


def registrar_urls(settings: Settings) -> tuple[str, ...]:
    """Where terminals reach the registrar: `[http] urls`, or else `[http] listen` at this host's own addresses."""
    if settings.http.urls:
        return settings.http.urls[:MAX_URLS]
    urls: dict[str, None] = {}
    for host, port in _reached("http", settings.http.listen):
        urls[f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"] = None
    if not urls:
        raise ConfigurationError(
            "http.listen names no address that terminals could reach now: connect this machine to the network, "
            'or set http.urls, as ["https://10.0.0.2:8025"]'
        )
    return tuple(urls)[:MAX_URLS]


def is_in_directory(settings: Settings) -> bool:
    """The chart is in an LDAP directory of others (or in a `lanpost directory` on another machine)."""
    return settings.chart.url.partition(":")[0].lower() in PORTS


def directory_servers(settings: Settings) -> tuple[DirectoryUrl, ...]:
    """Where terminals reach the directory: `[ldap] urls`; else `chart.url`, or `[ldap] listen` at our addresses."""
    if settings.ldap.urls:
        return tuple(DirectoryUrl.parse_server(url) for url in settings.ldap.urls[:MAX_URLS])
    if is_in_directory(settings):
        return tuple(_servers_of_chart(settings))
    if not settings.ldap.listen:
        raise ConfigurationError(
            "no directory that terminals could register with: the chart is in none (chart.url), and this server is "
            'none; set ldap.listen, as ["0.0.0.0:389"], or ldap.urls'
        )
    found = [DirectoryUrl(True, Endpoint.of(*where)) for where in _reached("ldap", settings.ldap.listen)]
    if not found:
        raise ConfigurationError(
            "ldap.listen names no address that terminals could reach now: connect this machine to the network, "
            'or set ldap.urls, as ["ldaps://10.0.0.2:389"]'
        )
    return tuple(dict.fromkeys(found))[:MAX_URLS]


def directory_authority(settings: Settings) -> bytes:
    """The CA certificate (DER) that vouches for the directory: `chart.ca_file`'s, or our own."""
    name = settings.chart.ca_file if is_in_directory(settings) else ""
    if not name:
        return _der(open_authority(settings).ca_pem.decode("ascii"))
    try:
        text = beside_configuration(settings, name).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'chart.ca_file = "{name}": {error}; it is a PEM file') from None
    if text.count(_BEGIN) != 1:
        raise ConfigurationError(
            f'chart.ca_file = "{name}" has {text.count(_BEGIN)} certificates; a token carries one: leave that '
            "of the CA which issued the directory's"
        )
    try:
        return _der(_BEGIN + text.partition(_BEGIN)[2])
    except ValueError as error:
        raise ConfigurationError(f'chart.ca_file = "{name}": {error}; it is a PEM file') from None


def _servers_of_chart(settings: Settings) -> Iterator[DirectoryUrl]:
    for address in places_of(settings.chart.url).addresses:
        if ipaddress.ip_address(address.endpoint.host).is_loopback:
            raise ConfigurationError(
                f"chart.url names {address.endpoint}, where no terminal but this machine reaches the directory: "
                'set ldap.urls, as ["ldaps://10.0.0.5:636"]'
            )
        yield DirectoryUrl(address.secure, Endpoint.of(address.endpoint.host, address.endpoint.port))


def _reached(table: str, listens: Sequence[Listen]) -> Iterator[tuple[str, int]]:
    for listen in listens:
        if listen.port == 0:
            raise ConfigurationError(
                f'{table}.listen has "{listen}": port 0 is any free port; name one, or set {table}.urls'
            )
        for host in _hosts(listen.host):
            yield host, listen.port


def _hosts(host: str) -> tuple[str, ...]:
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return (host.partition("%")[0],)
    found = tuple(own for own in own_addresses() if ipaddress.ip_address(own).version == address.version)
    # Without a network there is still this machine: software terminals on it can register.
    return found or (("127.0.0.1",) if address.version == 4 else ())


def _der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.strip())
