"""Which attributes of an entry a search is answered with (RFC 4511 §4.5.1.8, RFC 3673), as octets to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lanpost.content.directory_schema import attribute_type
from lanpost.service.directory_tree import Node
from lanpost.wire.ldap_encode import encode_attribute
from lanpost.wire.ldap_messages import Attribute

MAX_REMEMBERED_NAMES, MAX_REMEMBERED_NAME = 40, 80  # attributes, and characters of each


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for, in the canonical names of the schema."""

    all_user: bool
    all_operational: bool
    names: tuple[str, ...]

    @property
    def tells_time(self) -> bool:
        """What it tells of an entry is another thing each second."""
        return self.all_operational or "entryTtl" in self.names

    def octets(self, node: Node, *, types_only: bool = False) -> bytes:
        """The node's attributes that are asked for, each encoded, joined."""
        parts = []
        for name in self._of(node):
            values = node.values(name)
            if values:
                parts.append(encode_attribute(name, () if types_only else values))
        return b"".join(parts)

    def attributes(self, node: Node) -> tuple[Attribute, ...]:
        """The same, not encoded."""
        return tuple((name, tuple(values)) for name in self._of(node) if (values := node.values(name)))

    def _of(self, node: Node) -> Sequence[str]:
        if not (self.all_user or self.all_operational):
            return self.names
        names = dict.fromkeys(node.user_attributes() if self.all_user else ())
        names.update(dict.fromkeys(node.operational_attributes() if self.all_operational else ()))
        names.update(dict.fromkeys(self.names))
        return tuple(names)


def is_ordinary(attributes: tuple[str, ...]) -> bool:
    """Such a list as programs ask with: worth remembering, and small."""
    return len(attributes) <= MAX_REMEMBERED_NAMES and all(len(name) <= MAX_REMEMBERED_NAME for name in attributes)


def selection_of(attributes: tuple[str, ...]) -> Selection:
    """From the list in the request; none at all means all user attributes."""
    return _remembered(attributes) if is_ordinary(attributes) else _selection(attributes)


@lru_cache(maxsize=1024)  # a program asks for the same attributes again and again
def _remembered(attributes: tuple[str, ...]) -> Selection:
    return _selection(attributes)


def _selection(attributes: tuple[str, ...]) -> Selection:
    if not attributes:
        return Selection(True, False, ())
    names: dict[str, None] = {}
    for attribute in attributes:
        kind = attribute_type(attribute)
        if kind is not None:
            names[kind.name] = None
    return Selection("*" in attributes, "+" in attributes, tuple(names))
