"""Changes to the attributes of one entry, as LDAP has them (RFC 4511 §4.6), and what they say of its binding.

Attributes are held by their canonical names in lower case. Every refusal is a DirectoryRefused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lanpost.content.directory_entry import EXPIRED, LOCATION, endpoint_of
from lanpost.content.directory_schema import AttributeType, attribute_type, class_name, object_class
from lanpost.content.directory_values import NORMAL, same_value
from lanpost.content.generalized_time import time_of
from lanpost.errors import DirectoryRefused, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.details import DETAIL_NAMES, Details
from lanpost.model.endpoint import Endpoint
from lanpost.model.proof import Proof
from lanpost.wire.ldap_messages import Attribute, Modification, ModificationKind, ResultCode

LOCATION_KEYS = frozenset(name.lower() for name in (*LOCATION, EXPIRED))
ADDRESS_KEYS = ("lanpostaddress", "mail", "maillocaladdress", "lanpostkey")
DETAIL_KEYS = frozenset(name.lower() for name in DETAIL_NAMES)

ENTRY_KEYS = LOCATION_KEYS | DETAIL_KEYS | {*ADDRESS_KEYS, "objectclass", "cn"}  # all that a terminal's entry has

STRUCTURAL_CLASS = "device"

LAST_MOMENT = datetime.max.replace(tzinfo=UTC)

Held = dict[str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Location:
    """What a change says of where a terminal is; None: it says nothing of that."""

    endpoint: Endpoint | None  # None: nowhere, now
    updated: datetime | None = None
    expires: datetime | None = None
    says_expires: bool = False  # also where it says "never"
    source: Source | None = None
    owner: str | None = None
    proof: Proof | None = None
    says_proof: bool = False


def held(attributes: Sequence[Attribute]) -> Held:
    """The attributes of an entry to be added."""
    found: Held = {}
    for description, values in attributes:
        kind = _kind(description)
        if not values:
            raise refused(f"{description} has no value", ResultCode.PROTOCOL_ERROR)
        change(found, Modification(ModificationKind.ADD, kind.name, values))
    return found


def change(attributes: Held, modification: Modification) -> str:
    """Apply one modification. Returns the key of the attribute that it is about."""
    kind = _kind(modification.attribute)
    key = kind.name.lower()
    before, given = attributes.get(key, ()), modification.values
    for value in given:
        _check(kind, value)
    match modification.kind:
        case ModificationKind.ADD:
            after = _added(kind, before, given)
        case ModificationKind.DELETE:
            after = _deleted(kind, before, given)
        case ModificationKind.REPLACE:
            after = _added(kind, (), given) if given else ()
        case _:
            raise refused("nothing here is incremented", ResultCode.UNWILLING_TO_PERFORM)
    if kind.single and len(after) > 1:
        raise refused(f"{kind.name} has one value", ResultCode.CONSTRAINT_VIOLATION)
    if after and key not in ENTRY_KEYS:
        raise refused(f"a terminal's entry has no {kind.name}", ResultCode.OBJECT_CLASS_VIOLATION)
    if after:
        attributes[key] = after
    else:
        attributes.pop(key, None)
    return key


def location(attributes: Held, touched: Collection[str]) -> Location | None:
    """What of the location the change touches, taken from the attributes as they are after it."""
    if not LOCATION_KEYS.intersection(touched):
        return None
    endpoint = _endpoint(attributes, touched)
    if endpoint is None:
        if said := sorted(LOCATION_KEYS.intersection(touched, attributes)):
            raise refused(f"{said[0]} goes with an address: ipHostNumber", ResultCode.OBJECT_CLASS_VIOLATION)
        return Location(None)
    says_expires, says_proof = "lanpostexpires" in touched, "lanpostproof" in touched
    try:
        return Location(
            endpoint,
            _time(attributes, "lanpostupdated") if "lanpostupdated" in touched else None,
            _time(attributes, "lanpostexpires") if says_expires else None,
            says_expires,
            _source(attributes) if "lanpostsource" in touched else None,
            text(attributes, "lanpostowner") if "lanpostowner" in touched else None,
            Proof.parse(shown) if says_proof and (shown := text(attributes, "lanpostproof")) else None,
            says_proof,
        )
    except InvalidValue as error:
        raise refused(str(error), ResultCode.INVALID_ATTRIBUTE_SYNTAX) from None


def binding_of(address: MailAddress, place: Location, former: Binding | None, now: datetime) -> Binding:
    """The binding that an administrator's change makes. A lease that it says nothing of is renewed as it was."""
    assert place.endpoint is not None
    updated = place.updated or now
    expires = place.expires
    if not place.says_expires and former is not None and former.expires is not None:
        expires = later(updated, max(former.expires - former.updated, timedelta(seconds=1)))
    source, owner = place.source or Source.LDAP, place.owner or ""
    try:
        return Binding(address, place.endpoint, updated, expires, source, owner, proof_after(place, former))
    except InvalidValue as error:
        raise refused(str(error), ResultCode.CONSTRAINT_VIOLATION) from None


def proof_after(place: Location, former: Binding | None) -> Proof | None:
    """What the machine there has to show: as the change says, else as before, if it is the same machine."""
    if place.says_proof:
        return place.proof
    return former.proof if former is not None and former.endpoint == place.endpoint else None


def later(time: datetime, by: timedelta) -> datetime:
    """So much later, or the last moment that there is: who writes the chart names any year."""
    return time + min(by, LAST_MOMENT - time)


def address_told(attributes: Mapping[str, Sequence[bytes]], expected: MailAddress) -> MailAddress:
    """The address as the attributes spell it. DirectoryRefused where one of them means another address."""
    told = None
    for key in ADDRESS_KEYS:
        for value in attributes.get(key, ()):
            if key == "lanpostkey":
                is_other = value != expected.key.encode()
            else:
                address = _address(key, value)
                is_other = address != expected
                told = told or address
            if is_other:
                shown = value[:200].decode("utf-8", "replace")
                raise refused(
                    f"{key} {shown!r} is not of {expected}, whose entry this is: one entry, one address; add "
                    "another entry, and delete this one if it is to go",
                    ResultCode.UNWILLING_TO_PERFORM,
                )
    return told or expected


def check_classes(attributes: Mapping[str, Sequence[bytes]]) -> None:
    """DirectoryRefused where the object classes are not those of a terminal."""
    names = [class_name(value.decode()) for value in attributes.get("objectclass", ())]
    kinds = {name for name in names if (found := object_class(name)) and found.kind == "STRUCTURAL"}
    if kinds != {STRUCTURAL_CLASS}:
        raise refused(f"a terminal's entry is a {STRUCTURAL_CLASS}", ResultCode.OBJECT_CLASS_VIOLATION)


def check_names(attributes: Mapping[str, Sequence[bytes]], name: str) -> None:
    """DirectoryRefused where `cn` is more or less than what the entry is named by."""
    kind = attribute_type("cn")
    assert kind is not None
    values = attributes.get("cn", ())
    if not any(same_value(kind, value, name.encode()) for value in values):
        raise refused(f"cn is {name!r}, the entry's name, and stays", ResultCode.NOT_ALLOWED_ON_RDN)
    if len(values) > 1:
        raise refused("cn has one value here; displayName takes another", ResultCode.CONSTRAINT_VIOLATION)


def details_told(attributes: Mapping[str, Sequence[bytes]]) -> Details:
    """What it says for address books. DirectoryRefused where that is not to be had."""
    try:
        return Details.of(
            (name, value.decode()) for name in DETAIL_NAMES for value in attributes.get(name.lower(), ())
        )
    except InvalidValue as error:
        raise refused(str(error), ResultCode.CONSTRAINT_VIOLATION) from None


def refused(why: str, code: ResultCode) -> DirectoryRefused:
    return DirectoryRefused(why, code=code)


def text(attributes: Mapping[str, Sequence[bytes]], key: str) -> str:
    """The first value; "" where there is none."""
    values = attributes.get(key)
    return values[0].decode("utf-8", "replace") if values else ""


def _address(key: str, value: bytes) -> MailAddress:
    try:
        return MailAddress.parse(value.decode())
    except (InvalidValue, UnicodeDecodeError) as error:
        raise refused(f"{key}: {error}", ResultCode.INVALID_ATTRIBUTE_SYNTAX) from None


def _kind(description: str) -> AttributeType:
    kind = attribute_type(description)
    if kind is None:
        raise refused(
            f"{description[:80]} is no attribute here (cn=Subschema tells those that are)",
            ResultCode.UNDEFINED_ATTRIBUTE_TYPE,
        )
    if kind.operational:
        raise refused(f"{kind.name} is not written by anybody", ResultCode.CONSTRAINT_VIOLATION)
    if kind.name == "userPassword":
        raise refused(
            "secrets are made at the server: `lanpost terminal add`, `lanpost terminal rotate`",
            ResultCode.UNWILLING_TO_PERFORM,
        )
    return kind


def _check(kind: AttributeType, value: bytes) -> None:
    shown = value[:40].decode("utf-8", "replace")
    if kind.name == "objectClass":
        if not class_name(value.decode("utf-8", "replace")):
            raise refused(f"{shown!r} is no object class here", ResultCode.OBJECT_CLASS_VIOLATION)
        return
    try:
        NORMAL[kind.rule.equality](value)
    except InvalidValue as error:
        raise refused(f"{kind.name}: {shown!r}: {error}", ResultCode.INVALID_ATTRIBUTE_SYNTAX) from None


def _added(kind: AttributeType, before: Sequence[bytes], given: Sequence[bytes]) -> tuple[bytes, ...]:
    if not given:
        raise refused(f"{kind.name}: there is no value to add", ResultCode.PROTOCOL_ERROR)
    after = list(before)
    for value in given:
        if any(same_value(kind, value, each) for each in after):
            shown = value[:80].decode("utf-8", "replace")
            raise refused(f"{kind.name} has {shown!r} already", ResultCode.ATTRIBUTE_OR_VALUE_EXISTS)
        after.append(value)
    return tuple(after)


def _deleted(kind: AttributeType, before: Sequence[bytes], given: Sequence[bytes]) -> tuple[bytes, ...]:
    if not before:
        raise refused(f"there is no {kind.name}", ResultCode.NO_SUCH_ATTRIBUTE)
    if not given:
        return ()
    after = list(before)
    for value in given:
        found = next((each for each in after if same_value(kind, each, value)), None)
        if found is None:
            shown = value[:80].decode("utf-8", "replace")
            raise refused(f"{kind.name} has no {shown!r}", ResultCode.NO_SUCH_ATTRIBUTE)
        after.remove(found)
    return tuple(after)


def _endpoint(attributes: Held, touched: Collection[str]) -> Endpoint | None:
    """By the host that the change is about: who writes one of the two attributes does not know the other.

    Of an expired binding only where it led is left: what is changed of it makes it good again.
    """
    port = attributes.get("lanpostport", ())
    if port and not 0 < int(port[0]) < 65536:
        raise refused("lanpostPort is 1 to 65535", ResultCode.CONSTRAINT_VIOLATION)
    keys = [key for key in ("iphostnumber", "mailhost") if key in touched]
    if not keys:
        keys = ["iphostnumber"]
        if expired := text(attributes, EXPIRED.lower()):
            attributes = {**attributes, "iphostnumber": (_host(expired).encode(),)}
    for key in keys:
        if values := attributes.get(key):
            if len(values) > 1:
                raise refused(f"{key} has one value here", ResultCode.CONSTRAINT_VIOLATION)
            endpoint = endpoint_of({key: values, "lanpostport": port})
            if endpoint is None:
                raise refused(
                    f"{key} {text(attributes, key)!r} is no IP address; host names are not looked up",
                    ResultCode.INVALID_ATTRIBUTE_SYNTAX,
                )
            return endpoint
    return None


def _host(endpoint: str) -> str:
    try:
        found = Endpoint.parse(endpoint)
    except InvalidValue as error:
        raise refused(f"{EXPIRED}: {error}", ResultCode.INVALID_ATTRIBUTE_SYNTAX) from None
    return f"{found.host}%{found.zone}" if found.zone else found.host


def _source(attributes: Held) -> Source | None:
    value = text(attributes, "lanpostsource")
    try:
        return Source(value) if value else None
    except ValueError:
        known = ", ".join(Source)
        raise refused(f"lanpostSource {value[:40]!r} is none of {known}", ResultCode.CONSTRAINT_VIOLATION) from None


def _time(attributes: Held, key: str) -> datetime | None:
    value = text(attributes, key)
    return time_of(value) if value else None
