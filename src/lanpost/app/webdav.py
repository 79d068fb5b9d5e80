"""Opens a chart on a document server."""

from __future__ import annotations

import ipaddress
import re
import ssl
from urllib.parse import urlsplit

from lanpost.app.secret_files import read_beside, read_secret
from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError, InvalidEndpoint
from lanpost.model.endpoint import Endpoint
from lanpost.net.chart_resource import ChartResource
from lanpost.net.chart_webdav import WebdavChart
from lanpost.net.http_client import Server

PORTS = {"http": 80, "https": 443}

_TARGET = re.compile(r"/[!-~]*[!-.0-~]\Z")  # printable ASCII without blanks, not a folder


def url_problem(scheme: str, rest: str) -> str:
    """What is wrong with what follows the scheme, and the remedy; "" where nothing is."""
    example = f"write {scheme}://, an IP address and the document's path, as {scheme}://10.0.0.5:8080/chart.xml"
    try:
        parts = urlsplit(f"{scheme}:{rest}")
        _endpoint(scheme, rest)
    except (ValueError, InvalidEndpoint):
        return f"{example}; host names are not looked up"
    if parts.username is not None:
        return "user and password do not belong into the URL; set chart.user and chart.password_file"
    if parts.query or parts.fragment or not _TARGET.match(parts.path):
        return example
    return ""


def settings_problem(settings: Settings) -> str:
    """What is wrong with the settings beside the URL, for a chart of this kind; "" where nothing is."""
    scheme, _, rest = settings.chart.url.partition(":")
    chart = settings.chart
    if scheme.lower() not in PORTS or url_problem(scheme.lower(), rest):
        return ""
    if bool(chart.user) != bool(chart.password_file):
        return "chart.user and chart.password_file belong together; set both, or none"
    if chart.user and ":" in chart.user:
        return f"chart.user = {chart.user!r}: a user of a document server has no colon in his name"
    host = _endpoint(scheme.lower(), rest).host
    if chart.user and scheme.lower() == "http" and not ipaddress.ip_address(host).is_loopback:
        return f"chart.url = {chart.url!r}: a password crosses the network under https only; write https://"
    return ""


def open_webdav(settings: Settings, scheme: str, rest: str) -> WebdavChart:
    """Raises ConfigurationError. Asks nobody yet."""
    if problem := settings_problem(settings):
        raise ConfigurationError(f"{settings.file or 'built-in settings'}: {problem}")
    chart = settings.chart
    endpoint = _endpoint(scheme, rest)
    password = ""
    if chart.user:
        password = read_secret(settings, "chart.password_file", chart.password_file)
    server = Server(endpoint, _context(settings) if scheme == "https" else None, chart.user, password)
    resource = ChartResource(f"{scheme}:{rest}", server, urlsplit(f"{scheme}:{rest}").path, chart.timeout)
    return WebdavChart(resource, settings.domain, chart.timeout, replica=chart.replica)


def _endpoint(scheme: str, rest: str) -> Endpoint:
    parts = urlsplit(f"{scheme}:{rest}")
    host, _, zone = (parts.hostname or "").partition("%")
    if zone:  # urlsplit makes it lower case, which a zone is not; RFC 6874 writes %25 for %
        zone = re.split("%(?:25)?", parts.netloc.partition("]")[0], maxsplit=1)[1]
    return Endpoint.of(host, PORTS[scheme] if parts.port is None else parts.port, zone)


def _context(settings: Settings) -> ssl.SSLContext:
    """Who is trusted: `chart.ca_file` alone, else the system's authorities and our own."""
    own = settings.data / "tls" / "ca.pem"
    if settings.chart.ca_file:
        pem = read_beside(settings, "chart.ca_file", settings.chart.ca_file)
        try:
            context = ssl.create_default_context(cadata=pem)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigurationError(
                f"chart.ca_file = {settings.chart.ca_file!r}: no certificates in PEM: {error}"
            ) from None
    else:
        context = ssl.create_default_context()
        if own.is_file():
            context.load_verify_locations(own)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
