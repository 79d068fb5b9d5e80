"""An entry of the chart as an entry of a directory, and back: the attributes that DESIGN and deploy/openldap name.

Attribute names are written here as the schema has them; to be read they come in lower case, without options.
Values are octets. Nothing that a directory may hold raises: what is no address or no endpoint is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lanpost.content.generalized_time import time_of, time_text
from lanpost.errors import InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import DETAIL_NAMES, MAX_VALUES, Details
from lanpost.model.endpoint import SMTP_PORT, Endpoint
from lanpost.model.proof import Proof

CLASSES = ("top", "device", "inetLocalMailRecipient", "lanpostTerminal")
BOUND_CLASS = "ipHost"  # it demands ipHostNumber: an entry has it while it is bound
# What a binding consists of: replaced together, taken away together.
LOCATION = (
    "ipHostNumber",
    "mailHost",
    "lanpostPort",
    "lanpostNextHop",
    "lanpostUpdated",
    "lanpostExpires",
    "lanpostSource",
    "lanpostOwner",
    "lanpostProof",
)
# What of it leads mail somewhere: whoever serves a directory tells it of live bindings only. Those who know leases
# are told of an expired one where it led, as EXPIRED.
LEADING = ("ipHostNumber", "mailHost", "lanpostNextHop")
EXPIRED = "lanpostExpiredEndpoint"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_SOURCES = {source.value: source for source in Source}

Attributes = dict[str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class AttributeNames:
    """Where a directory that was there before keeps what we look for."""

    address: str = "mailLocalAddress"
    host: str = "ipHostNumber"
    port: str = "lanpostPort"


OURS = AttributeNames()


def name_of(address: MailAddress, default_domain: str) -> str:
    """The `cn` of its entry, another for each address: the local part at home, the whole address elsewhere."""
    # A local part may look like a quoted one: '"1"' would be read as 1.
    if "@" not in address.local and address_named(address.local, default_domain).key == address.key:
        return address.local
    return str(address)


def address_named(name: str, default_domain: str) -> MailAddress:
    """The address that a `cn` stands for. Raises InvalidAddress."""
    return MailAddress.parse(name if "@" in name else _quoted(name), default_domain)


def attributes_of(entry: Entry, default_domain: str) -> Attributes:
    """All attributes of the entry, its object classes included; cn is the first."""
    address = entry.address
    attributes: Attributes = {
        "cn": (name_of(address, default_domain).encode(),),
        "objectClass": tuple(name.encode() for name in (*CLASSES, *((BOUND_CLASS,) if entry.binding else ()))),
        **address_attributes(address),
        **detail_attributes(entry.details),
    }
    if entry.binding:
        attributes.update(location_of(entry.binding))
    return attributes


def address_attributes(address: MailAddress) -> Attributes:
    """How it is found and shown. `mail` and `mailLocalAddress` take ASCII only (IA5String)."""
    attributes: Attributes = {"lanpostKey": (address.key.encode(),), "lanpostAddress": (str(address).encode(),)}
    if not address.needs_smtputf8:
        attributes["mail"] = (str(address).encode(),)
        attributes["mailLocalAddress"] = (str(address).lower().encode(),)
    return attributes


def detail_attributes(details: Details) -> Attributes:
    found: Attributes = {}
    for name, value in details:
        found[name] = (*found.get(name, ()), value.encode())
    return found


def location_of(binding: Binding) -> Attributes:
    """Those of LOCATION that the binding has."""
    endpoint = binding.endpoint
    attributes: Attributes = {
        "ipHostNumber": (host_of(endpoint),),
        "mailHost": (endpoint.literal.encode(),),
        "lanpostPort": (b"%d" % endpoint.port,),
        "lanpostNextHop": (next_hop(endpoint).encode(),),
        "lanpostUpdated": (time_text(binding.updated).encode(),),
        "lanpostSource": (binding.source.value.encode(),),
    }
    if binding.expires:
        attributes["lanpostExpires"] = (time_text(binding.expires).encode(),)
    if binding.owner:
        attributes["lanpostOwner"] = (binding.owner.encode(),)
    if binding.proof:
        attributes["lanpostProof"] = (str(binding.proof).encode(),)
    return attributes


def host_of(endpoint: Endpoint, names: AttributeNames = OURS) -> bytes:
    """The IP address as that attribute has it: in `mailHost` in brackets, as mail servers want it there."""
    if names.host.lower() == "mailhost":
        return endpoint.literal.encode()
    return (f"{endpoint.host}%{endpoint.zone}" if endpoint.zone else endpoint.host).encode()


def next_hop(endpoint: Endpoint) -> str:
    """What Postfix's transport(5) takes as it is: an IP in brackets is not looked up."""
    return f"smtp:[{'ipv6:' if endpoint.is_ipv6 else ''}{endpoint.host}]:{endpoint.port}"


def entries_of(
    attributes: Mapping[str, Sequence[bytes]], default_domain: str, names: AttributeNames = OURS
) -> Sequence[Entry]:
    """What one entry of a directory says: an Entry for each mail address that it bears, or none."""
    found: dict[MailAddress, Entry] = {}
    for address in _addresses(attributes, default_domain, names):
        found.setdefault(address, entry_for(address, attributes, names))
    return tuple(found.values())


def entry_for(
    address: MailAddress, attributes: Mapping[str, Sequence[bytes]], names: AttributeNames = OURS
) -> Entry:
    """What one entry of a directory says of that address, whether it bears it or not."""
    endpoint = endpoint_of(attributes, names) or _endpoint(_first(attributes, "lanpostexpiredendpoint"), SMTP_PORT)
    binding = None if endpoint is None else _binding(address, endpoint, attributes)
    return Entry(address, binding, details_of(attributes))


def merged(entries: Iterable[Entry]) -> dict[MailAddress, Entry]:
    """One for each address: of several bindings the newest, details of whichever has some.

    An address has two entries where its lease is an entry of its own.
    """
    found: dict[MailAddress, Entry] = {}
    for entry in entries:
        other = found.get(entry.address)
        if other is None:
            found[entry.address] = entry
            continue
        bindings = [each.binding for each in (other, entry) if each.binding]
        newest = max(bindings, key=lambda binding: binding.updated, default=None)
        address = newest.address if newest else other.address
        found[entry.address] = Entry(address, newest, other.details or entry.details)
    return found


def endpoint_of(attributes: Mapping[str, Sequence[bytes]], names: AttributeNames = OURS) -> Endpoint | None:
    """Of several addresses the first that is one; without any, `mailHost` if that is an IP in brackets."""
    port = _port(attributes.get(names.port.lower(), ()))
    for value in attributes.get(names.host.lower(), ()):
        if endpoint := _endpoint(_text(value), port):
            return endpoint
    for value in attributes.get("mailhost", ()):
        text = _text(value)
        if text.startswith("[") and (endpoint := _endpoint(_without_tag(text), port)):
            return endpoint
    return None


def details_of(attributes: Mapping[str, Sequence[bytes]]) -> Details:
    """What of it an address book shows."""
    pairs = []
    for name in DETAIL_NAMES:
        for value in attributes.get(name.lower(), ()):
            try:
                pairs += list(Details.of([(name, _text(value))]))
            except InvalidValue:
                continue
    return Details.of(pairs[:MAX_VALUES])


def _addresses(
    attributes: Mapping[str, Sequence[bytes]], default_domain: str, names: AttributeNames
) -> Iterable[MailAddress]:
    values = attributes.get("lanpostaddress", ()) if names.address == OURS.address else ()
    for value in (*values, *attributes.get(names.address.lower(), ())):
        try:
            yield MailAddress.parse(_text(value).strip(), default_domain)
        except InvalidValue:
            continue


def _binding(address: MailAddress, endpoint: Endpoint, attributes: Mapping[str, Sequence[bytes]]) -> Binding:
    updated = _time(attributes, "lanpostupdated") or _time(attributes, "modifytimestamp") or _LONG_AGO
    expires = _time(attributes, "lanpostexpires") or _time(attributes, "entryexpiretimestamp")
    if expires is not None and expires <= updated:
        updated = expires - _TICK if expires > _LONG_AGO else _LONG_AGO
        expires = max(expires, updated + _TICK)
    source = _SOURCES.get(_first(attributes, "lanpostsource"), Source.LDAP)
    owner, proof = _first(attributes, "lanpostowner"), _proof(_first(attributes, "lanpostproof"))
    return Binding(address, endpoint, updated, expires, source, owner, proof)


def _proof(text: str) -> Proof | None:
    try:
        return Proof.parse(text) if text else None
    except InvalidValue:
        return None


def _time(attributes: Mapping[str, Sequence[bytes]], name: str) -> datetime | None:
    text = _first(attributes, name)
    try:
        return time_of(text) if text else None
    except InvalidValue:
        return None


def _port(values: Sequence[bytes]) -> int:
    text = _text(values[0]) if values else ""
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536 else SMTP_PORT


def _endpoint(text: str, port: int) -> Endpoint | None:
    try:
        return Endpoint.parse(text, port)
    except InvalidValue:
        return None


def _without_tag(literal: str) -> str:
    return "[" + literal[6:] if literal[1:6].lower() == "ipv6:" else literal.replace("[", "").replace("]", "", 1)


def _first(attributes: Mapping[str, Sequence[bytes]], name: str) -> str:
    values = attributes.get(name)
    return _text(values[0]) if values else ""


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _quoted(name: str) -> str:
    """A local part that must be quoted is bare in a `cn`."""
    try:
        MailAddress.parse(name, "x")
    except InvalidValue:
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return name
