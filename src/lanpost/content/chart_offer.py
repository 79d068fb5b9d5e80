"""What a mail server on another machine must know to ask the chart of a directory of ours: told in JSON, and made
into its configuration.

Raises InvalidValue for what is no offer.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanpost.errors import InvalidValue

CONFIGURATION = "/etc/lanpost/lanpost.toml"
AUTHORITY = "/etc/lanpost/directory-ca.pem"


@dataclass(frozen=True, slots=True)
class ChartOffer:
    """Where a directory's chart is. `places`: IP addresses and ports, one machine's; `authority`: its CA, PEM."""

    domain: str
    base: str  # distinguished name of the entry above the chart's entries
    places: tuple[tuple[str, int], ...]
    authority: str
    is_open: bool  # whoever asks is answered; else a name and a password are needed

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "domain": self.domain,
            "urls": [self.url(number) for number in range(len(self.places))],
            "base": self.base,
            "places": [list(place) for place in self.places],
            "open": self.is_open,
            "ca": self.authority,
        }

    def url(self, number: int) -> str:
        """`chart.url` for one of the places."""
        host, port = self.places[number]
        return f"ldaps://{f'[{host}]' if ':' in host else host}:{port}/{self.base}"

    def settings(self, number: int) -> Mapping[str, str]:
        """The `[chart]` table of a mail server that asks there."""
        return {"url": self.url(number), "ca_file": AUTHORITY.rpartition("/")[2]}

    def configuration(self, number: int) -> str:
        """The configuration of a mail server that asks there and leaves registrations to the directory."""
        lines = [
            f"domain = {json.dumps(self.domain)}",
            "",
            "[chart]  # of the directory: terminals are enrolled and register there",
            *(f"{key} = {json.dumps(value)}" for key, value in self.settings(number).items()),
            "",
            "[discovery]",
            "advertise = false  # terminals look for the directory",
        ]
        return "\n".join(lines) + "\n"


def read_offer(text: str) -> ChartOffer:
    """What `to_json` told."""
    try:
        said = json.loads(text)
        first, *others = (_place(*each) for each in said["places"])
        places = (first, *others)
        return ChartOffer(
            _text(said["domain"]), _text(said["base"]), places, _text(said["ca"]), said["open"] is True
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValue(f"this does not say where a chart is: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value


def _place(host: str, port: int) -> tuple[str, int]:
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    return str(ipaddress.ip_address(host)), port


def usable(hosts: Sequence[str]) -> list[str]:
    """Those of some IP addresses that another machine reaches without naming an interface."""
    addresses = [ipaddress.ip_address(host.partition("%")[0]) for host in hosts]
    return [str(address) for address in addresses if not (address.is_loopback or address.is_link_local)]
