"""By what a DHCP server knows a machine: hardware address, client identifier, host name.

All three come from the network, said by the machine itself: read strictly, and never more than names to compare.
Standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lanpost.errors import InvalidValue

MAX_CLIENT_ID = 255  # octets (RFC 2132 §9.14: the option's length is one octet)
_MAC = re.compile(
    r"([0-9a-f]{2})[:-]([0-9a-f]{2})[:-]([0-9a-f]{2})[:-]([0-9a-f]{2})[:-]([0-9a-f]{2})[:-]([0-9a-f]{2})"
)
_DOTTED_MAC = re.compile(r"([0-9a-f]{2})([0-9a-f]{2})\.([0-9a-f]{2})([0-9a-f]{2})\.([0-9a-f]{2})([0-9a-f]{2})")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Device:
    """What is known of a machine; "" for what is not. Two that are equal in one of them are the same machine."""

    mac: str = ""  # 00:11:22:33:44:55
    client_id: str = ""  # option 61 of DHCPv4, the DUID of DHCPv6: hexadecimal digits, lower case
    hostname: str = ""  # its first label, lower case

    @staticmethod
    def of(*, mac: str = "", client_id: str = "", hostname: str = "") -> Device:
        """Read as people and DHCP servers write them. Raises InvalidValue, which names the wrong one."""
        return Device(_mac(mac), _client_id(client_id), _hostname(hostname))

    def __bool__(self) -> bool:
        return bool(self.mac or self.client_id or self.hostname)

    def is_other_than(self, told: Device) -> bool:
        """`told` is surely another machine: the strongest name that both have differs."""
        pairs = ((self.mac, told.mac), (self.client_id, told.client_id), (self.hostname, told.hostname))
        for own, other in pairs:
            if own and other:
                return own != other
        return False


UNKNOWN_DEVICE = Device()


def _mac(text: str) -> str:
    lowered = text.strip().lower()
    if not lowered:
        return ""
    found = _MAC.fullmatch(lowered) or _DOTTED_MAC.fullmatch(lowered)
    if not found:
        raise InvalidValue(f"{text[:40]!r} is not a hardware address; write it as 00:11:22:33:44:55")
    if set(found.groups()) == {"00"} or int(found[1], 16) & 1:
        raise InvalidValue(f"{text[:40]!r} is not the hardware address of one machine")
    return ":".join(found.groups())


def _client_id(text: str) -> str:
    digits = text.strip().lower().removeprefix("0x").replace(":", "").replace("-", "")
    if not digits and not text.strip():
        return ""
    if not _HEX.fullmatch(digits) or len(digits) > 2 * MAX_CLIENT_ID:
        raise InvalidValue(
            f"{text[:40]!r} is not a client identifier; write its octets in hexadecimal, as 01:00:11:22:33:44:55"
        )
    return digits


def _hostname(text: str) -> str:
    label = text.strip().lower().removesuffix(".").partition(".")[0]
    if not text.strip():
        return ""
    if len(text) > 255 or not _LABEL.fullmatch(label):
        raise InvalidValue(f"{text[:40]!r} is not a host name; letters, digits and hyphens, as scanner")
    return label


class LeaseEvent(StrEnum):
    """What a DHCP server tells of an address."""

    BOUND = "bound"  # given to a machine
    RENEWED = "renewed"  # it goes on having it
    RELEASED = "released"  # given back by the machine
    EXPIRED = "expired"
    DECLINED = "declined"  # the machine found somebody else at that address

    @property
    def is_end(self) -> bool:
        return self not in (LeaseEvent.BOUND, LeaseEvent.RENEWED)


@dataclass(frozen=True, slots=True)
class Lease:
    """One such word."""

    event: LeaseEvent
    host: str  # canonical IP literal
    device: Device
    lifetime: float | None = None  # seconds from the event on; None: not told
