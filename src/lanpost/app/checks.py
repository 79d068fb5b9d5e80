"""What is wrong with settings that each are well formed: found before a mail depends on them."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

from lanpost.app import chart_directory, webdav
from lanpost.app.charts import url_problem
from lanpost.app.settings import Settings
from lanpost.app.workers import worker_count
from lanpost.errors import InvalidValue, StoreError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.model.networks import Network
from lanpost.store import formats
from lanpost.store.files import READ_ONLY_REMEDY

# A network wider than these is the Internet rather than a site, unless it is one of the private ranges.
WIDEST_SITE = {4: 16, 6: 32}


def problems(settings: Settings) -> Iterator[str]:
    """Each problem in a line that names the key, the value and the remedy. None: `lanpost serve` may start."""
    yield from _open_relay(settings)
    yield from _fallback(settings)
    yield from _data(settings.data)
    yield from _ports(settings)
    if problem := url_problem(settings.chart.url):
        yield problem
    if problem := chart_directory.settings_problem(settings):
        yield problem
    if problem := webdav.settings_problem(settings):
        yield problem


def _open_relay(settings: Settings) -> Iterator[str]:
    for network in settings.relay.networks:
        if _too_wide(network):
            yield (
                f"relay.networks holds {network}: anyone there could send to anywhere in our name (an open relay); "
                "name the networks of this site only"
            )
    for network in settings.authentication.networks_without_tls:
        if _too_wide(network):
            yield (
                f"authentication.networks_without_tls holds {network}: passwords would cross foreign networks "
                "readable; name the networks of old devices only"
            )
    for network in settings.ldap.networks_without_delay:
        if _too_wide(network):
            yield (
                f"ldap.networks_without_delay holds {network}: passwords could be guessed quickly from anywhere; "
                "name the servers that log people in with this directory only"
            )
    if settings.registrar.policy == "claim":
        for network in settings.registrar.networks:
            if _too_wide(network):
                yield (
                    f'registrar.networks holds {network} and registrar.policy is "claim": anyone there could take '
                    "a free address; name the networks of this site only"
                )
    if settings.relay.smarthost:
        smarthost = Endpoint.parse(settings.relay.smarthost)
        for listen in (*settings.smtp.listen, *settings.submission.listen):
            if listen.port == smarthost.port and listen.host == smarthost.host:
                yield f'relay.smarthost = "{smarthost}" is this server itself: mail would go in a circle'


def _too_wide(network: Network) -> bool:
    site = network.is_private or network.is_loopback or network.is_link_local
    return network.prefixlen == 0 or (not site and network.prefixlen < WIDEST_SITE[network.version])


def _fallback(settings: Settings) -> Iterator[str]:
    if settings.fallback.mailbox:
        try:
            MailAddress.parse(settings.fallback.mailbox, settings.domain)
        except InvalidValue as error:
            yield f'fallback.mailbox = "{settings.fallback.mailbox}": {error}'


def _data(data: Path) -> Iterator[str]:
    if not data.is_absolute():
        yield f'data = "{data}" must be an absolute path when there is no configuration file'
        return
    existing = next(folder for folder in (data, *data.parents) if folder.exists())
    if not existing.is_dir():
        yield f'data = "{data}": {existing} is no folder'
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield (
            f'data = "{data}": {existing} cannot be written by this user; '
            f"create the folder and give it to the user that runs lanpost; {READ_ONLY_REMEDY}"
        )
    else:
        try:
            refusal = formats.refusal(data)
        except StoreError as error:
            refusal = str(error)
        if refusal:
            yield f'data = "{data}": {refusal}'


def _ports(settings: Settings) -> Iterator[str]:
    """Two services on one port: the second could not start."""
    taken: dict[tuple[str, int], str] = {}
    services = {
        "smtp": settings.smtp.listen,
        "submission": settings.submission.listen,
        "pop3": settings.pop3.listen,
        "http": settings.http.listen,
        "ldap": settings.ldap.listen,
    }
    for name, listens in services.items():
        for listen in listens:
            if not listen.port:
                if worker_count(settings) > 1 and name != "http":
                    yield f"{name}.listen with port 0 (any free one) needs workers = 1, or name a port"
                continue
            for (host, port), other in taken.items():
                if port == listen.port and (host == listen.host or _is_any(host) or _is_any(listen.host)):
                    yield f"{name}.listen and {other}.listen both name port {port}; give one of them another"
            taken[listen.host, listen.port] = name


def _is_any(host: str) -> bool:
    return ipaddress.ip_address(host).is_unspecified
