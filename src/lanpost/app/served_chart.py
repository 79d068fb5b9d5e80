"""How a mail server on another machine asks the chart that is served here over LDAP."""

from __future__ import annotations

import ipaddress

from lanpost.app.certificates import open_authority
from lanpost.app.directory_face import tree_of
from lanpost.app.queue_access import server_status
from lanpost.app.settings import Settings
from lanpost.content.chart_offer import ChartOffer, usable
from lanpost.errors import ConfigurationError
from lanpost.net.own_addresses import own_addresses


def offer(settings: Settings) -> ChartOffer:
    """What is served by the program that runs on these settings.

    Raises ServerNotRunning, and ConfigurationError where it serves no LDAP that others could reach.
    """
    listeners = server_status(settings.data).get("listeners", {})
    places: dict[tuple[str, int], None] = {}
    for text in listeners.get("ldap", ()):
        host, _, port = text.rpartition(":")
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
        for own in usable(own_addresses() if address.is_unspecified else [str(address)]):
            if ipaddress.ip_address(own).version == address.version:
                places[own, int(port)] = None
    if not places:
        raise ConfigurationError(
            "no chart is served here that another machine could ask: run `lanpost directory`, or set ldap.listen "
            "to an address of the network's"
        )
    authority = open_authority(settings).ca_pem.decode("ascii")
    tree = tree_of(settings)
    return ChartOffer(settings.domain, str(tree.base), tuple(places), authority, settings.ldap.anonymous == "read")
