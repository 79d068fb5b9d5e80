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
_ADDRESS_TYPES = {"mail", "mailLocalAddress", "lanpostAddress"}
_PREFIXED_TYPES = {"cn", "lanpostKey", *_ADDRESS_TYPES}
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
            named = kind is not None and kind.name in _PREFIXED_TYPES
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
    """Addresses are looked up by their keys: letters that only RFC 4518 takes for the same make two addresses."""
    kind = attribute_type(attribute)
    name = kind.name if kind is not None else ""
    try:
        text = value.decode().strip()
        if len(text.split()) == 1:  # with blanks in it, others may match too
            if name in _ADDRESS_TYPES:
                is_exact = "@" in text and text.isascii() and name != "lanpostAddress"
                return Plan((MailAddress.parse(text, domain),), exact=is_exact)
            if name == "lanpostKey":
                return Plan((MailAddress(*_halves(text), key=text),))
            if name == "cn":
                return Plan((address_named(text, domain),))
    except (InvalidValue, UnicodeDecodeError):
        return _ALL if name == "cn" else Plan(())
    return _ALL


def _halves(key: str) -> tuple[str, str]:
    local, _, domain = key.rpartition("@")
    return local, domain


class Search:
    """One search of one directory: what it looks at, and what of that matches.

    Raises DirectoryRefused where there can be no such base.
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
    def is_small(self) -> bool:
        """One entry at most is looked at."""
        addresses = self._plan.addresses
        return addresses is not None and len(addresses) <= 1

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

        To go on: after the key `start` and so many `fixed` nodes. DirectoryRefused: the base is not there.
        """
        if self._place.address is not None:
            node = await node_at(self._tree, self._chart, self._place, self._now)
            if self._scope is not Scope.ONE and not start:
                yield node
            return
        if not start and not self._plan.exact:  # no fixed node has a mail address
            for each in self._fixed()[fixed:]:
                yield each
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

    def fixed_until(self, node: Node) -> int:
        """How many fixed nodes have been looked at once this one has."""
        return self._fixed().index(node) + 1

    def _planned(self, searched: f.Filter) -> Plan:
        place = self._place
        if place.address is not None:
            return Plan((place.address,) if self._scope is not Scope.ONE else ())
        if not self._reaches_chart():
            return Plan(())
        return plan_of(searched, self._tree.domain)

    def _reaches_chart(self) -> bool:
        if self._place.address is not None:
            return True
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
    """What that name names. DirectoryRefused: 34 no name, 32 nothing can be there."""
    try:
        place = tree.place(name)
    except InvalidName as error:
        raise DirectoryRefused(str(error), code=ResultCode.INVALID_DN_SYNTAX) from None
    if place.fixed is None and place.address is None:
        raise nothing_at(name, place.matched)
    return place


async def node_at(tree: Tree, chart: Chart, place: Place, now: datetime) -> Node:
    """What stands there. DirectoryRefused: 32 nothing."""
    if place.fixed is not None:
        return place.fixed
    assert place.address is not None
    entry = await chart.look_up(place.address)
    if entry is None:
        raise nothing_at(tree.entry_name(place.address), str(tree.base))
    return ChartNode(tree, entry, now)


def nothing_at(name: str, matched: str) -> DirectoryRefused:
    text = f"there is nothing at {name[:200]!r} here"
    return DirectoryRefused(text, code=ResultCode.NO_SUCH_OBJECT, matched=matched)
