"""Where a terminal is, as what is written into a directory: in its own entry, or in a lease below it.

A lease (RFC 2589) is an entry of its own, since none that is there already becomes dynamic, and one that runs out
is gone with all it bears. Attributes that were read are held by their names in lower case. Pure; standard library
only: the agent uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lanpost.content.directory_entry import BOUND_CLASS, LOCATION
from lanpost.errors import InvalidName
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.wire.ldap_messages import Attribute, Modification, ModificationKind

LEASE = "lease"  # its cn
LEASE_CLASSES = ("top", "device", BOUND_CLASS, "inetLocalMailRecipient", "lanpostTerminal", "dynamicObject")
LEASE_ADDRESS = ("mailLocalAddress", "lanpostKey", "lanpostAddress")  # `mail` the terminal's own entry has

Values = Mapping[str, tuple[bytes, ...]]


def located(location: Values) -> Sequence[Modification]:
    """This location (`location_of`) in place of whatever there is."""
    return [Modification(ModificationKind.REPLACE, each, location.get(each, ())) for each in LOCATION]


def with_bound_class(changes: Sequence[Modification]) -> Sequence[Modification]:
    """The same, and the class that an entry needs for a location."""
    return [Modification(ModificationKind.ADD, "objectClass", (BOUND_CLASS.encode(),)), *changes]


def taken_away(read: Values) -> Sequence[Modification]:
    """No location any more."""
    changes = list(located({}))
    if has_class(read, BOUND_CLASS):
        changes.append(Modification(ModificationKind.DELETE, "objectClass", (BOUND_CLASS.encode(),)))
    return changes


def lease_name(name: str) -> str:
    """Of the lease below the entry of that name."""
    return f"cn={LEASE},{name}"


def lease_attributes(addresses: Values, location: Values) -> Sequence[Attribute]:
    """Of a lease. `addresses` by their names as the schema has them; what a lease does not bear is left out."""
    classes = tuple(each.encode() for each in LEASE_CLASSES)
    borne = [(each, addresses[each]) for each in LEASE_ADDRESS if addresses.get(each)]
    return [("objectClass", classes), ("cn", (LEASE.encode(),)), *borne, *location.items()]


def has_leases(name: DistinguishedName, dynamic_subtrees: Iterable[bytes]) -> bool:
    """Whether dynamic entries may stand below that name, by the root's `dynamicSubtrees` (RFC 2589 §7)."""
    for value in dynamic_subtrees:
        try:
            if name.is_within(DistinguishedName.parse(value.decode("utf-8", "replace"))):
                return True
        except InvalidName:
            continue
    return False


def has_class(read: Values, name: str) -> bool:
    return any(value.lower() == name.lower().encode() for value in read.get("objectclass", ()))


def is_lease(read: Values) -> bool:
    return has_class(read, "dynamicObject")


def is_located(read: Values) -> bool:
    """It says something of where the terminal is, or was."""
    return any(each.lower() in read for each in LOCATION)
