"""The directory's tree: root, schema, suffix, `ou=chart` below it, and the chart's entries below that.

    (root DSE)   cn=Subschema   SUFFIX   ou=chart,SUFFIX   cn=fax1,ou=chart,SUFFIX ...

Nodes tell their attributes on demand: a search over many entries works out only what it looks at.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from lanpost import __version__
from lanpost.content.directory_entry import (
    BOUND_CLASS,
    CLASSES,
    EXPIRED,
    LEADING,
    LOCATION,
    address_attributes,
    address_named,
    location_of,
    name_of,
)
from lanpost.content.directory_schema import ATTRIBUTE_TYPES, OBJECT_CLASSES, attribute_type
from lanpost.content.generalized_time import time_text
from lanpost.errors import InvalidName, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.model.details import DETAIL_NAMES
from lanpost.model.distinguished_name import MAX_REMEMBERED_TEXT, DistinguishedName

SUBSCHEMA = "cn=Subschema"
# Entries have no identity of their own in the chart: an address that comes back has the one it had.
_NAMESPACE = uuid.UUID("20cb4955-1f9c-4cc7-a5d5-8a5a7f3f2e6c")
_CLASSES = tuple(name.encode() for name in CLASSES)
_BOUND_CLASSES = (*_CLASSES, BOUND_CLASS.encode())


class Node(Protocol):
    """One entry of the directory."""

    @property
    def name(self) -> str:
        """Its distinguished name, as it is told."""

    def values(self, name: str) -> Sequence[bytes]:
        """By an attribute's canonical name."""

    def user_attributes(self) -> Sequence[str]:
        """The canonical names that "*" means."""

    def operational_attributes(self) -> Sequence[str]:
        """Those that "+" means."""


@dataclass(frozen=True, slots=True)
class FixedNode:
    """A node that is always there and is what it is."""

    name: str
    attributes: Mapping[str, tuple[bytes, ...]]
    operational: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)

    def values(self, name: str) -> Sequence[bytes]:
        return self.attributes.get(name) or self.operational.get(name, ())

    def user_attributes(self) -> Sequence[str]:
        return tuple(self.attributes)

    def operational_attributes(self) -> Sequence[str]:
        return tuple(self.operational)


class ChartNode:
    """An entry of the chart. Times to live are told as of `now`."""

    __slots__ = ("_location", "_tree", "entry", "name", "now")

    def __init__(self, tree: Tree, entry: Entry, now: datetime) -> None:
        self.entry = entry
        self.now = now
        self.name = tree.entry_name(entry.address)
        self._tree = tree
        self._location: Mapping[str, tuple[bytes, ...]] | None = None

    @property
    def tree(self) -> Tree:
        return self._tree

    @property
    def is_live(self) -> bool:
        binding = self.entry.binding
        return binding is not None and binding.is_live(self.now)

    def location(self) -> Mapping[str, tuple[bytes, ...]]:
        """Where it is. An expired binding leads nobody there: other programs do not look at the time."""
        if self._location is None:
            binding = self.entry.binding
            self._location = found = location_of(binding) if binding else {}
            if binding is not None and not self.is_live:
                for name in LEADING:
                    del found[name]
                found[EXPIRED] = (str(binding.endpoint).encode(),)
        return self._location

    def values(self, name: str) -> Sequence[bytes]:
        found = _VALUES.get(name)
        return found(self) if found else ()

    def user_attributes(self) -> Sequence[str]:
        return _USER_ATTRIBUTES

    def operational_attributes(self) -> Sequence[str]:
        return _OPERATIONAL_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class Place:
    """What a distinguished name names: a fixed node, or an entry of the chart that may be there or not."""

    fixed: FixedNode | None = None
    address: MailAddress | None = None
    matched: str = ""  # where it names neither: the part that exists


class Tree:
    """The tree of one directory. `domain` completes bare names; `suffix` "" is made of it: dc=office,dc=lan."""

    def __init__(self, domain: str, suffix: str = "", *, mechanisms: Sequence[str] = ()) -> None:
        """Raises InvalidName for a suffix that is none."""
        self.domain = domain
        self.suffix = DistinguishedName.parse(suffix or suffix_of(domain))
        if any(isinstance(value, bytes) for _, value in self.suffix.rdn) or not self.suffix.rdns:
            raise InvalidName("the suffix must begin with an attribute that has a text")
        self.base = self.suffix.child("ou", "chart")
        self.admin = self.suffix.child("cn", "admin")
        self._base_text = str(self.base)
        self._home_key = MailAddress.parse("x", domain).key.removeprefix("x")
        self.root = FixedNode("", {"objectClass": (b"top",)}, self._root(mechanisms))
        self.schema = FixedNode(SUBSCHEMA, *_schema())
        self.top = FixedNode(str(self.suffix), self._top(), _operational(str(self.suffix), self._top_class()))
        self.chart = FixedNode(
            self._base_text,
            {"objectClass": (b"top", b"organizationalUnit"), "ou": (b"chart",)},
            _operational(self._base_text, "organizationalUnit"),
        )
        self._remembered_place = lru_cache(maxsize=4096)(self._place)

    def entry_name(self, address: MailAddress) -> str:
        """The distinguished name of an address's entry."""
        local = address.local
        if address.key.endswith(self._home_key) and _needs_no_escape(local):
            return f"cn={local},{self._base_text}"
        return str(self.base.child("cn", name_of(address, self.domain)))

    def place(self, name: str) -> Place:
        """What that text names. Raises InvalidName."""
        return self._remembered_place(name) if len(name) <= MAX_REMEMBERED_TEXT else self._place(name)

    def _place(self, name: str) -> Place:
        named = DistinguishedName.parse(name)
        for node in (self.root, self.schema, self.top, self.chart):
            if named == DistinguishedName.parse(node.name):
                return Place(node)
        parent = named.parent
        if parent == self.base and len(named.rdn) == 1:
            attribute, value = named.rdn[0]
            kind = attribute_type(attribute)
            if kind is not None and isinstance(value, str):
                try:
                    if kind.name == "cn":
                        return Place(address=address_named(value, self.domain))
                    if kind.name in ("mail", "mailLocalAddress", "lanpostAddress"):
                        return Place(address=MailAddress.parse(value, self.domain))
                except InvalidValue:
                    pass
        above = next((each for each in (self.base, self.suffix) if named.is_within(each)), None)
        return Place(matched=str(above) if above else "")

    def _top(self) -> Mapping[str, tuple[bytes, ...]]:
        attribute, value = self.suffix.rdn[0]
        kind = attribute_type(attribute)
        name, text = kind.name if kind else attribute, str(value).encode()
        if name == "dc":
            classes = (b"top", b"dcObject", b"organization")
            return {"objectClass": classes, "dc": (text,), "o": (self.domain.encode(),)}
        if name == "ou":
            return {"objectClass": (b"top", b"organizationalUnit"), "ou": (text,)}
        if name == "o":
            return {"objectClass": (b"top", b"organization"), "o": (text,)}
        if name == "c":
            return {"objectClass": (b"top", b"country"), "c": (text,)}
        return {"objectClass": (b"top", b"organization"), name: (text,), "o": (self.domain.encode(),)}

    def _top_class(self) -> str:
        kind = attribute_type(self.suffix.rdn[0][0])
        return {"ou": "organizationalUnit", "c": "country"}.get(kind.name if kind else "", "organization")

    def _root(self, mechanisms: Sequence[str]) -> Mapping[str, tuple[bytes, ...]]:
        return {
            "namingContexts": (str(self.suffix).encode(),),
            "subschemaSubentry": (SUBSCHEMA.encode(),),
            "supportedLDAPVersion": (b"3",),
            "supportedSASLMechanisms": tuple(each.encode() for each in mechanisms),
            "supportedExtension": EXTENSIONS,
            "supportedControl": CONTROLS,
            "supportedFeatures": FEATURES,
            "vendorName": (b"lanpost",),
            "vendorVersion": (__version__.encode(),),
        }


EXTENSIONS = (
    b"1.3.6.1.4.1.1466.20037",  # StartTLS
    b"1.3.6.1.4.1.4203.1.11.3",  # Who am I? (RFC 4532)
    b"1.3.6.1.1.8",  # Cancel (RFC 3909)
    b"1.3.6.1.4.1.1466.101.119.1",  # Refresh (RFC 2589)
)
CONTROLS = (
    b"1.2.840.113556.1.4.319",  # paged results (RFC 2696)
    b"1.2.840.113556.1.4.473",  # server-side sorting (RFC 2891)
    b"1.3.6.1.4.1.4203.1.9.1.1",  # content synchronisation (RFC 4533)
    b"2.16.840.1.113730.3.4.2",  # ManageDsaIT (RFC 3296): there is no referral to be taken for an entry
)
FEATURES = (
    b"1.3.6.1.4.1.4203.1.5.1",  # "+": all operational attributes (RFC 3673)
    b"1.3.6.1.4.1.4203.1.5.3",  # filters that are always true or false (RFC 4526)
)


def suffix_of(domain: str) -> str:
    """dc=office,dc=lan of office.lan (RFC 2247)."""
    return ",".join(f"dc={label}" for label in domain.split(".") if label)


def uuid_of(key: str) -> uuid.UUID:
    """The entryUUID of what has that key; of the nodes above the chart, their name."""
    return uuid.uuid5(_NAMESPACE, key)


def name_parts(node: object) -> Sequence[tuple[str, str]]:
    """Attributes and values that a node's distinguished name is made of."""
    name = getattr(node, "name", "")
    return [(attribute, str(value)) for rdn in DistinguishedName.parse(name).rdns for attribute, value in rdn]


def _needs_no_escape(local: str) -> bool:
    return local.isascii() and local.replace(".", "").replace("-", "").replace("_", "").isalnum()


def _operational(name: str, kind: str) -> Mapping[str, tuple[bytes, ...]]:
    return {
        "entryDN": (name.encode(),),
        "entryUUID": (str(uuid_of(name.lower())).encode(),),
        "structuralObjectClass": (kind.encode(),),
        "subschemaSubentry": (SUBSCHEMA.encode(),),
        "hasSubordinates": (b"TRUE",),
    }


def _schema() -> tuple[Mapping[str, tuple[bytes, ...]], Mapping[str, tuple[bytes, ...]]]:
    shown = {"objectClass": (b"top", b"subentry", b"subschema"), "cn": (b"Subschema",)}
    return shown, {
        "attributeTypes": tuple(kind.definition().encode() for kind in ATTRIBUTE_TYPES),
        "objectClasses": tuple(each.definition().encode() for each in OBJECT_CLASSES),
        "subschemaSubentry": (SUBSCHEMA.encode(),),
    }


def _located(name: str) -> Callable[[ChartNode], Sequence[bytes]]:
    return lambda node: node.location().get(name, ())


def _addressed(name: str) -> Callable[[ChartNode], Sequence[bytes]]:
    return lambda node: address_attributes(node.entry.address).get(name, ())


def _detailed(name: str) -> Callable[[ChartNode], Sequence[bytes]]:
    return lambda node: [value.encode() for value in node.entry.details.values(name)]


def _modified(node: ChartNode) -> Sequence[bytes]:
    binding = node.entry.binding
    return (time_text(binding.updated.replace(microsecond=0)).encode(),) if binding else ()


def _time_to_live(node: ChartNode) -> Sequence[bytes]:
    binding = node.entry.binding
    if binding is None or binding.expires is None:
        return ()
    return (b"%d" % max(0, int((binding.expires - node.now.astimezone(UTC)).total_seconds())),)


_VALUES: Mapping[str, Callable[[ChartNode], Sequence[bytes]]] = {
    "objectClass": lambda node: _BOUND_CLASSES if node.is_live else _CLASSES,
    "cn": lambda node: (name_of(node.entry.address, node.tree.domain).encode(),),
    "mail": _addressed("mail"),
    "mailLocalAddress": _addressed("mailLocalAddress"),
    "lanpostKey": lambda node: (node.entry.address.key.encode(),),
    "lanpostAddress": lambda node: (str(node.entry.address).encode(),),
    **{name: _located(name) for name in (*LOCATION, EXPIRED)},
    **{name: _detailed(name) for name in DETAIL_NAMES},
    "entryTtl": _time_to_live,
    "entryUUID": lambda node: (str(uuid_of(node.entry.address.key)).encode(),),
    "entryDN": lambda node: (node.name.encode(),),
    "modifyTimestamp": _modified,
    "structuralObjectClass": lambda _node: (b"device",),
    "subschemaSubentry": lambda _node: (SUBSCHEMA.encode(),),
    "hasSubordinates": lambda _node: (b"FALSE",),
}
_OPERATIONAL_ATTRIBUTES = tuple(name for name in _VALUES if (kind := attribute_type(name)) and kind.operational)
_USER_ATTRIBUTES = tuple(name for name in _VALUES if name not in _OPERATIONAL_ATTRIBUTES)
