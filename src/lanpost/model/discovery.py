"""What a search for a registrar finds, and what a server tells of itself on the link. Standard library only.

Whatever was found says only where to ask. Whom to believe is the business of pins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

REGISTRAR_TYPE = "_lanpost._tcp"  # not registered with IANA (RFC 6335 §5.2); no other use of it is known
LDAP_TYPE = "_ldap._tcp"
SUBMISSION_TYPE = "_submission._tcp"
POP3_TYPE = "_pop3._tcp"
TEXT_VERSION = "1"  # of what TXT holds (RFC 6763 §6.7)

REGISTRAR_PORT = 8025  # where DHCP names a host and no port

_PIN = re.compile(r"[0-9a-f]{64}\Z")
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}\Z")


class FoundBy(StrEnum):
    """How a terminal knows where its registrar is."""

    CONFIGURATION = "configuration"
    TOKEN = "token"  # noqa: S105
    DHCP = "dhcp"
    DNS_SD = "dns-sd"


@dataclass(frozen=True, slots=True)
class Found:
    """A place where a registrar may be: an https URL, or the ldap(s) URL of a directory without an entry."""

    url: str
    by: FoundBy
    pin: str = ""  # as it was told; "": it was not
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a server's, as DNS-SD has it (RFC 6763)."""

    type: str
    port: int
    text: Mapping[str, str]


def registrar_text(pin: str, domain: str) -> dict[str, str]:
    """What the registrar's TXT record says."""
    return {"txtvers": TEXT_VERSION, "pin": pin, "domain": domain}


def told_pin(text: Mapping[str, str]) -> str:
    """The pin in a TXT record; "" where there is none that could be one."""
    pin = text.get("pin", "")
    return pin if _PIN.match(pin) else ""


def told_domain(text: Mapping[str, str]) -> str:
    """The domain in a TXT record; "" where there is none that could be one."""
    domain = text.get("domain", "").lower()
    return domain if _DOMAIN.match(domain) else ""
