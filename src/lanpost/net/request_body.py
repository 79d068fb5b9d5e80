"""Bodies of the registration API's requests as JSON: what stands in them, read strictly or leniently.

People who write a field's name wrong are told so. Agents may be of a later version than we are: they ask for what
we do not know to be left aside (`Prefer: handling=lenient`, RFC 7240 §4.4).

Raises BadRequest where a body is no JSON object, InvalidValue for a field that is wrong.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from lanpost.errors import InvalidValue
from lanpost.model.device import Device, Lease, LeaseEvent
from lanpost.net.problem import BadRequest

MAX_AGE = 86400.0 * 7  # seconds; a word as old as that says nothing any more
FOREVER = 0xFFFFFFFF  # DHCP's infinite lifetime (RFC 2131 §3.3)
FIELDS = ("event", "address", "mac", "client_id", "hostname", "lifetime", "age")


def asks_leniency(preferences: Iterable[str]) -> bool:
    """Whether one of the values of the header `Prefer` says so."""
    words = (word.partition(";")[0].strip().lower() for value in preferences for word in value.split(","))
    return any(word.replace(" ", "").replace('"', "") == "handling=lenient" for word in words)


def object_of(body: bytes, known: Sequence[str], example: str, *, lenient: bool = False) -> dict[str, Any]:
    """The fields of a JSON object, none but the known ones; an empty body has none."""
    try:
        fields: Any = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadRequest(HTTPStatus.BAD_REQUEST, f"the body must be a JSON object, as {example}")
    if lenient:
        return {name: value for name, value in fields.items() if name in known}
    if unknown := set(fields) - set(known):
        named = ", ".join(sorted(unknown))[:80]
        raise InvalidValue(f"no such field: {named}; there are {', '.join(known[:-1])} and {known[-1]}")
    return fields


def lease_of(body: bytes, *, lenient: bool = False) -> tuple[Lease, timedelta]:
    """What a DHCP server says, and how long ago it was so."""
    example = '{"event": "bound", "address": "10.0.0.7", "mac": "00:11:22:33:44:55", "lifetime": 3600}'
    fields = object_of(body, FIELDS, example, lenient=lenient)
    try:
        event = LeaseEvent(_text(fields, "event"))
    except ValueError:
        raise InvalidValue(f"event: one of {', '.join(LeaseEvent)}") from None
    try:
        host = ipaddress.ip_address(_text(fields, "address"))
    except ValueError:
        raise InvalidValue('address: the IP address that was leased, as "10.0.0.7"') from None
    if host.is_multicast or host.is_unspecified or host.is_link_local or "%" in str(host):
        raise InvalidValue(f"address: {host} is not leased to anybody")
    device = Device.of(
        mac=_text(fields, "mac"), client_id=_text(fields, "client_id"), hostname=_text(fields, "hostname")
    )
    lifetime = _seconds(fields, "lifetime")
    forever = lifetime is None or lifetime >= FOREVER
    age = min(_seconds(fields, "age") or 0.0, MAX_AGE)
    return Lease(event, str(host), device, None if forever else lifetime), timedelta(seconds=age)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidValue(f"{name}: write it in quotes")
    return value


def _seconds(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise InvalidValue(f"{name}: a number of seconds")
    return float(value)
