"""Which entries of the directory a search looks at, in which order: by name, address or prefix, or all of them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

from lanpost.content.directory_entry import address_named
from lanpost.content.directory_schema import attribute_type
from lanpost.errors import DirectoryRefused, InvalidName, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.service.directory_matching import Predicate, compiled
from lanpost.service.directory_tree import ChartNode, Node, Place, Tree, name_parts
from lanpost.service.ports import Chart
from lanpost.wire import ldap_filter as f
from lanpost.wire.ldap_messages import ResultCode, Scope

MAX_ADDRESSES = 100  # that one filter may name to be looked up one by one; more are found by looking at all
_ADDRESS_TYPES = {"mail", "mailLocalAddress", "lanpostKey", "lanpostAddress"}
_PREFIX = re.compile(rb"[A-Za-z0-9._-]+\Z")


@dataclass(frozen=True, slots=True)
class Plan:
    """The least that must be looked at to find all that match."""

    addresses: tuple[MailAddress, ...] | None = None  # None: not known beforehand
    prefix: str = ""  # of the keys of all that match
    exact: bool = False  # whatever has such an address matches


_ALL = Plan()


def plan_of(searched: f.Filter, domain: str) -> Plan:
    """How to look for what matches that filter."""
    match searched:
        case f.Equals(attribute, value):
            return _named(attribute, value, domain)
        case f.Substrings(attribute, initial):
            kind = attribute_type(attribute)
            named = kind is not None and (kind.name == "cn" or kind.name in _ADDRESS_TYPES)
            return Plan(prefix=initial.decode().lower()) if named and _PREFIX.match(initial) else _ALL
        case f.And(filters):
            plans = [plan_of(each, domain) for each in filters]
            some = [plan for plan in plans if plan.addresses is not None]
            if some:
                return Plan(min((plan.addresses or () for plan in some), key=len))
            return Plan(prefix=max((plan.prefix for plan in plans), key=len, default=""))
        case f.Or(filters) if filters:
            plans = [plan_of(each, domain) for each in filters]
            addresses = {each: None for plan in plans for each in plan.addresses or ()}
            if any(plan.addresses is None for plan in plans) or len(addresses) > MAX_ADDRESSES:
                return _ALL
            return Plan(tuple(addresses))
        case _:
            return _ALL


def _named(attribute: str, value: bytes, domain: str) -> Plan:
    kind = attribute_type(attribute)
    if kind is None:
        return _ALL
    try:
        if kind.name in _ADDRESS_TYPES:
            address = MailAddress.parse(value.decode(), domain)
            is_exact = address.key == value.decode() if kind.name == "lanpostKey" else b"@" in value
            return Plan((address,), exact=is_exact)
        if kind.name == "cn":
            return Plan((address_named(value.decode(), domain),))
    except (InvalidValue, UnicodeDecodeError):
        return Plan(()) if kind.name != "cn" else _ALL
    return _ALL


class Search:
    """One search of one directory: what it looks at, and what of that matches.

    Raises DirectoryRefused where there is no such base.
    """

    def __init__(
        self, tree: Tree, chart: Chart, base: str, scope: Scope, searched: f.Filter, now: datetime
    ) -> None:
        self._tree = tree
        self._chart = chart
        self._scope = scope
        self._now = now
        self._place = place_of(tree, base)
        self._plan = self._planned(searched)
        self._test: Predicate | None = None if self._plan.exact else compiled(searched, name_parts)

    @property
    def single(self) -> MailAddress | None:
        """The one address that can match, all of whose entries do: for the short way."""
        plan = self._plan
        return plan.addresses[0] if plan.exact and plan.addresses and len(plan.addresses) == 1 else None

    def reaches(self, address: MailAddress) -> bool:
        """An entry of that address is within base and scope."""
        if self._place.address is not None:
            return self._place.address == address and self._scope is not Scope.ONE
        return self._reaches_chart()

    def matches(self, node: Node) -> bool:
        if self._test is not None:
            return self._test(node) is True
        return isinstance(node, ChartNode) and node.entry.address in (self._plan.addresses or ())

    async def looked_at(self, start: str = "", fixed: int = 0) -> AsyncGenerator[Node | None, None]:
        """Every node that could match, whether it does or not; None where there was nothing to look at.

        To go on: after the key `start` and so many `fixed` nodes. DirectoryRefused where the base is not there.
        """
        if self._place.address is not None:
            entry = await self._chart.look_up(self._place.address)
            if entry is None:
                raise _nothing_at(self._tree.entry_name(self._place.address))
            if self._scope is not Scope.ONE and self._place.address.key > start:
                yield ChartNode(self._tree, entry, self._now)
            return
        if not start and not self._plan.exact:  # no fixed node has a mail address
            for node in self._fixed()[fixed:]:
                yield node
        if not self._reaches_chart():
            return
        addresses = self._plan.addresses
        if addresses is not None:
            for address in sorted(addresses, key=lambda each: each.key):
                if address.key > start:
                    entry = await self._chart.look_up(address)
                    yield ChartNode(self._tree, entry, self._now) if entry else None
            return
        prefix = self._plan.prefix
        # The key before the first with that prefix: the greatest that is less.
        after = start or (prefix[:-1] + chr(ord(prefix[-1]) - 1) + "\U0010ffff" if prefix else "")
        async for entry in self._chart.entries(after):
            if prefix and not entry.address.key.startswith(prefix):
                if entry.address.key > prefix:
                    return
                continue
            yield ChartNode(self._tree, entry, self._now)

    def _planned(self, searched: f.Filter) -> Plan:
        place = self._place
        if place.address is not None or not self._reaches_chart():
            return Plan(())
        return plan_of(searched, self._tree.domain)

    def _reaches_chart(self) -> bool:
        if self._place.fixed is self._tree.chart:
            return self._scope is not Scope.BASE
        return self._scope is Scope.SUBTREE and self._place.fixed is not self._tree.schema

    def _fixed(self) -> tuple[Node, ...]:
        tree, place = self._tree, self._place
        if place.fixed is None:
            return ()
        if self._scope is Scope.BASE:
            return (place.fixed,)
        below: tuple[Node, ...] = ()
        if place.fixed is tree.root:
            # An empty base is what many a printer asks with; RFC 4511 §4.5.1.1 leaves open what is below the root.
            return (tree.top,) if self._scope is Scope.ONE else (tree.top, tree.chart)
        if place.fixed is tree.top:
            below = (tree.chart,)
        return below if self._scope is Scope.ONE else (place.fixed, *below)


def place_of(tree: Tree, name: str) -> Place:
    """What that name names. DirectoryRefused: 34 no name, 32 nothing there."""
    try:
        place = tree.place(name)
    except InvalidName as error:
        raise DirectoryRefused(str(error), code=ResultCode.INVALID_DN_SYNTAX) from None
    if place.fixed is None and place.address is None:
        raise _nothing_at(name)
    return place


def _nothing_at(name: str) -> DirectoryRefused:
    return DirectoryRefused(f"there is nothing at {name[:200]!r} here", code=ResultCode.NO_SUCH_OBJECT)
