"""Opens a chart in an LDAP directory: `ldap://192.0.2.5/ou=chart,dc=office,dc=lan`, or several such URLs."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import structlog

from lanpost.app.client_certificate import load_client_certificate
from lanpost.app.secret_files import beside_configuration, read_secret
from lanpost.app.settings import Settings
from lanpost.content.directory_entry import OURS, AttributeNames
from lanpost.errors import ConfigurationError, InvalidEndpoint, InvalidFilter, InvalidName
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.model.endpoint import Endpoint
from lanpost.model.token import REGISTRAR_NAME
from lanpost.net.chart_ldap import Layout, LdapChart
from lanpost.net.ldap_connection import Trust
from lanpost.net.ldap_servers import Access, Address, LdapServers, Login
from lanpost.wire.ldap_filter_text import parse_filter

PORTS = {"ldap": 389, "ldaps": 636}
EXAMPLE = "ldap://192.0.2.5/ou=chart,dc=office,dc=lan"
MAX_SERVERS = 8
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+")  # RFC 4512 §1.4

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Places:
    """Where a chart's URL leads."""

    addresses: tuple[Address, ...]
    base: str


def url_problem(scheme: str, rest: str) -> str:
    """What is wrong with what follows the scheme, and the remedy; "" where nothing is."""
    try:
        places_of(f"{scheme}:{rest}")
    except ConfigurationError as error:
        return str(error)
    return ""


def places_of(urls: str) -> Places:
    """Read one URL, or several with blanks between them. Raises ConfigurationError, whose text is the remedy."""
    addresses, bases = [], {}
    for url in urls.split():
        scheme = url.partition(":")[0].lower()
        try:
            parts = urlsplit(url)
            if scheme not in PORTS or parts.username is not None:
                raise ValueError  # noqa: TRY301
            host, _, zone = (parts.hostname or "").partition("%")
            endpoint = Endpoint.of(host, parts.port or PORTS[scheme], zone)
        except (ValueError, InvalidEndpoint):
            raise ConfigurationError(
                f"write {EXAMPLE}, with the IP address of the directory; host names are not looked up"
            ) from None
        base = unquote(parts.path.lstrip("/"))
        try:
            bases[DistinguishedName.parse(base)] = base
        except InvalidName as error:
            raise ConfigurationError(f"{base!r} is no base: {error}; write {EXAMPLE}") from None
        if not base:
            raise ConfigurationError(f"the base is missing, below which the chart is; write {EXAMPLE}")
        if parts.query or parts.fragment:
            raise ConfigurationError(f"nothing may follow the base (chart.filter is for filters); write {EXAMPLE}")
        addresses.append(Address(endpoint, scheme == "ldaps"))
    if not addresses or len(addresses) > MAX_SERVERS:
        raise ConfigurationError(f"write 1 to {MAX_SERVERS} URLs, as {EXAMPLE}")
    if len(bases) > 1:
        raise ConfigurationError("all servers have the same base: they hold the same chart")
    return Places(tuple(addresses), next(iter(bases.values())))


def settings_problem(settings: Settings) -> str:
    """What is wrong with the settings beside the URL, for a chart of this kind; "" where nothing is."""
    chart = settings.chart
    if chart.url.partition(":")[0].lower() not in PORTS or url_problem(*chart.url.split(":", 1)):
        return ""
    if bool(chart.bind_dn) != bool(chart.password_file):
        return "chart.bind_dn and chart.password_file belong together; set both, or none"
    try:
        DistinguishedName.parse(chart.bind_dn)
    except InvalidName as error:
        return f'chart.bind_dn = "{chart.bind_dn}": {error}'
    for key in ("address_attribute", "host_attribute", "port_attribute"):
        if (name := getattr(chart, key)) and not _ATTRIBUTE.fullmatch(name):
            return f'chart.{key} = "{name}" is no name of an attribute; write it as "mail"'
    if chart.filter:
        try:
            parse_filter(chart.filter.replace("%s", "x"))
        except InvalidFilter as error:
            return f'chart.filter = "{chart.filter}": {error}; write it as "(mail=%s)"'
        if "%s" not in chart.filter:
            return f'chart.filter = "{chart.filter}" has no %s, where the mail address belongs; write "(mail=%s)"'
    secure = all(address.secure for address in places_of(chart.url).addresses)
    if chart.certificate_file and not (secure or chart.start_tls):
        return "chart.certificate_file is shown under TLS only; write ldaps://, or set chart.start_tls = true"
    return ""


def open_directory(settings: Settings) -> LdapChart:
    """Raises ConfigurationError. Asks nobody yet."""
    if problem := settings_problem(settings):
        raise ConfigurationError(f"{settings.file or 'built-in settings'}: {problem}")
    chart = settings.chart
    places = places_of(chart.url)
    uses_tls = chart.start_tls or any(address.secure for address in places.addresses)
    login = Login()
    if chart.bind_dn:
        password = read_secret(settings, "chart.password_file", chart.password_file)
        login = Login(chart.bind_dn, password.encode())
        _warn_of_clear_text(settings, places)
    elif chart.certificate_file:
        login = Login(external=True)
    access = Access(login, _trusts(settings) if uses_tls else (), chart.start_tls, chart.timeout)
    names = AttributeNames(
        chart.address_attribute or OURS.address,
        chart.host_attribute or OURS.host,
        chart.port_attribute or OURS.port,
    )
    layout = Layout(places.base, settings.domain, names, chart.filter)
    return LdapChart(LdapServers(places.addresses, access, layout.probe), layout, replica=chart.replica)


def _warn_of_clear_text(settings: Settings, places: Places) -> None:
    for address in places.addresses:
        is_here = ipaddress.ip_address(address.endpoint.host).is_loopback
        if not (address.secure or settings.chart.start_tls or is_here):
            log.warning(
                "password crosses the network readably",
                server=str(address.endpoint),
                remedy="write ldaps://, or set chart.start_tls = true",
            )


def _trusts(settings: Settings) -> tuple[Trust, ...]:
    """`chart.ca_file` alone; else our own CA, by the name in its certificates, and then the system's."""
    chart = settings.chart
    own = settings.data / "tls" / "ca.pem"
    try:
        if chart.ca_file:
            path = beside_configuration(settings, chart.ca_file)
            found = [Trust(ssl.create_default_context(cafile=path), name) for name in ("", REGISTRAR_NAME)]
        else:
            found = [Trust(ssl.create_default_context())]
            if own.is_file():
                found[:0] = [Trust(ssl.create_default_context(cafile=own), name) for name in ("", REGISTRAR_NAME)]
    except OSError as error:  # ssl.SSLError too
        raise ConfigurationError(
            f'chart.ca_file = "{chart.ca_file}": {error.strerror or error}; it is a PEM file'
        ) from None
    for trust in found:
        trust.context.minimum_version = ssl.TLSVersion.TLSv1_2
    if chart.certificate_file:
        load_client_certificate(settings, *(trust.context for trust in found))
    return tuple(found)
