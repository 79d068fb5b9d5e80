"""Where a terminal is, as requests that write it into a directory: in its own entry, or in a lease below it.

A lease (RFC 2589) is an entry of its own, since none that is there already becomes dynamic, and one that runs out
is gone with all it bears. Pure; standard library only: the agent uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lanpost.content.directory_entry import BOUND_CLASS, CLASSES, LOCATION
from lanpost.errors import InvalidName
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.wire.ldap_messages import AddRequest, Modification, ModificationKind, ModifyRequest

LEASE = "lease"  # its cn
LEASE_CLASSES = (*CLASSES, BOUND_CLASS, "dynamicObject")
LEASE_ADDRESS = ("mailLocalAddress", "lanpostKey", "lanpostAddress")  # what it bears of the terminal's own entry

Values = Mapping[str, Sequence[bytes]]


def bind_request(name: str, location: Values, *, with_class: bool) -> ModifyRequest:
    """Put the location (`location_of`) in place of whatever there is. `with_class`: the entry has no ipHost yet."""
    added = (Modification(ModificationKind.ADD, "objectClass", (BOUND_CLASS.encode(),)),) if with_class else ()
    return ModifyRequest(name, (*added, *_replaced(location)))


def unbind_request(name: str, *, with_class: bool) -> ModifyRequest:
    """Take the location away; that there is none is no error. `with_class`: the entry has ipHost."""
    removed = (Modification(ModificationKind.DELETE, "objectClass", (BOUND_CLASS.encode(),)),) if with_class else ()
    return ModifyRequest(name, (*removed, *_replaced({})))


def lease_name(name: str) -> str:
    """Of the lease below the entry of that name."""
    return f"cn={LEASE},{name}"


def add_lease_request(name: str, entry: Values, location: Values) -> AddRequest:
    """A lease below the entry of that name, which bears the same address; attributes of `entry` in lower case."""
    bears = [(each, tuple(entry[each.lower()])) for each in LEASE_ADDRESS if entry.get(each.lower())]
    classes = tuple(each.encode() for each in LEASE_CLASSES)
    where = [(each, tuple(values)) for each, values in location.items()]
    return AddRequest(lease_name(name), (("objectClass", classes), ("cn", (LEASE.encode(),)), *bears, *where))


def move_lease_request(name: str, location: Values) -> ModifyRequest:
    """Say anew where the terminal is. The lease lives on from then on for as long as it was given."""
    return ModifyRequest(lease_name(name), _replaced(location))


def has_class(entry: Values, name: str) -> bool:
    """Whether the entry, its attributes in lower case, is of that object class."""
    return any(value.lower() == name.lower().encode() for value in entry.get("objectclass", ()))


def is_located(entry: Values) -> bool:
    """Whether the entry, its attributes in lower case, says where anything is."""
    return any(entry.get(name.lower()) for name in LOCATION)


def has_leases(name: str, dynamic_subtrees: Iterable[bytes]) -> bool:
    """Whether dynamic entries may stand there, by the root's `dynamicSubtrees` (RFC 2589 §6)."""
    entry = DistinguishedName.parse(name)
    for value in dynamic_subtrees:
        try:
            if entry.is_within(DistinguishedName.parse(value.decode("utf-8", "replace"))):
                return True
        except InvalidName:
            continue
    return False


def _replaced(location: Values) -> tuple[Modification, ...]:
    return tuple(Modification(ModificationKind.REPLACE, name, tuple(location.get(name, ()))) for name in LOCATION)
