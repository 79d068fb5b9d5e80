"""What the controls of a search ask for: pages (RFC 2696), an order (RFC 2891), synchronisation (RFC 4533)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lanpost.content.directory_schema import attribute_type
from lanpost.content.directory_values import NORMAL, ORDERINGS, normal_or_none
from lanpost.errors import DirectoryRefused, InvalidLdapValue
from lanpost.service.directory_changes import refused
from lanpost.service.directory_tree import Node
from lanpost.wire.ldap_controls import (
    MANAGE_DSA_IT_OID,
    PAGED_RESULTS_OID,
    SORT_REQUEST_OID,
    SORT_RESPONSE_OID,
    SYNC_REQUEST_OID,
    PagedResults,
    SortKey,
    SortResult,
    SyncRequest,
    read_sort_keys,
)
from lanpost.wire.ldap_messages import Control, ResultCode

Key = Callable[[Node], Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """`order`: by which keys, the first counts most, and whether downwards. `told`: what is said of the order.

    `is_unsorted`: it could not be had, and was wished rather than needed.
    """

    page: PagedResults | None = None
    order: tuple[tuple[Key, bool], ...] = ()
    told: tuple[Control, ...] = ()
    sync: SyncRequest | None = None
    needs_order: bool = False
    is_unsorted: bool = False

    def unsorted(self, code: int) -> Asked:
        """The same without an order, and why (RFC 2891 §2): for those who do not need it."""
        return replace(self, order=(), told=(_told(code),), is_unsorted=True)


def asked_by(controls: Sequence[Control]) -> Asked:
    """DirectoryRefused for a critical control that a search may not have, and for a value that is none."""
    page, sync, needs_order = None, None, False
    order: tuple[tuple[Key, bool], ...] = ()
    told: tuple[Control, ...] = ()
    try:
        for control in controls:
            if control.oid == PAGED_RESULTS_OID:
                page = PagedResults.read(control.value)
            elif control.oid == SORT_REQUEST_OID:
                order, told = _ordered(control)
                needs_order = control.critical
            elif control.oid == SYNC_REQUEST_OID:
                sync = SyncRequest.read(control.value)
            else:
                refuse_unknown(control)
    except InvalidLdapValue as error:
        raise refused(str(error), ResultCode.PROTOCOL_ERROR) from None
    return Asked(page, order, told, sync, needs_order)


def refuse_unknown(control: Control) -> None:
    """DirectoryRefused where a control that is not known must not be passed over.

    ManageDsaIT (RFC 3296 §3) is known everywhere: no entry of ours is a referral, so each is treated as it asks.
    """
    if control.critical and control.oid != MANAGE_DSA_IT_OID:
        raise refused(
            f"the control {control.oid[:80]} is not known here", ResultCode.UNAVAILABLE_CRITICAL_EXTENSION
        )


def _ordered(control: Control) -> tuple[tuple[tuple[Key, bool], ...], tuple[Control, ...]]:
    """RFC 2891 §2: an order that is not to be had fails a search only if it is critical; else it is told so."""
    keys = read_sort_keys(control.value)
    try:
        order = tuple((_key(each), each.descending) for each in keys)
    except DirectoryRefused as error:
        if control.critical:
            raise refused(str(error), ResultCode.UNAVAILABLE_CRITICAL_EXTENSION) from None
        return (), (_told(error.code),)
    return order, (_told(ResultCode.SUCCESS),)


def _told(code: int) -> Control:
    return Control(SORT_RESPONSE_OID, value=SortResult(code).encode())


def _key(key: SortKey) -> Key:
    """By the least of several values; entries without any come last, as if with the greatest (RFC 2891 §2)."""
    kind = attribute_type(key.attribute)
    if kind is None:
        raise refused(f"there is no attribute {key.attribute[:80]!r} to sort by", ResultCode.NO_SUCH_ATTRIBUTE)
    rule = ORDERINGS.get(key.rule.lower()) if key.rule else kind.rule.equality
    if rule is None:
        raise refused(f"{key.rule[:80]!r} orders nothing here", ResultCode.INAPPROPRIATE_MATCHING)
    name, normal = kind.name, NORMAL[rule]

    def of(node: Node) -> tuple[bool, Any]:
        found = [each for value in node.values(name) if (each := normal_or_none(normal, value)) is not None]
        return (False, min(found)) if found else (True, "")

    return of
