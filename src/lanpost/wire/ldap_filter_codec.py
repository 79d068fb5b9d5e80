"""Search filters in BER, both ways (RFC 4511 §4.5.1.7), with bounded depth and size."""

from __future__ import annotations

from typing import Final

from lanpost.errors import InvalidLdapValue
from lanpost.wire.ber import boolean, element, octets, read_expected, read_header, text, text_of
from lanpost.wire.ldap_filter import (
    MAX_DEPTH,
    MAX_ITEMS,
    And,
    Approximately,
    Equals,
    Extensible,
    Filter,
    GreaterOrEqual,
    LessOrEqual,
    Not,
    Or,
    Present,
    Substrings,
)

AND: Final = 0xA0
OR: Final = 0xA1
NOT: Final = 0xA2
EQUALS: Final = 0xA3
SUBSTRINGS: Final = 0xA4
GREATER_OR_EQUAL: Final = 0xA5
LESS_OR_EQUAL: Final = 0xA6
PRESENT: Final = 0x87
APPROXIMATELY: Final = 0xA8
EXTENSIBLE: Final = 0xA9
_INITIAL: Final = 0x80
_ANY: Final = 0x81
_FINAL: Final = 0x82
_RULE: Final = 0x81
_TYPE: Final = 0x82
_VALUE: Final = 0x83
_DN_ATTRIBUTES: Final = 0x84

_Comparison = Equals | GreaterOrEqual | LessOrEqual | Approximately
_COMPARISONS: Final[dict[int, type[_Comparison]]] = {
    EQUALS: Equals,
    GREATER_OR_EQUAL: GreaterOrEqual,
    LESS_OR_EQUAL: LessOrEqual,
    APPROXIMATELY: Approximately,
}
_COMPARISON_TAGS: Final = {kind: tag for tag, kind in _COMPARISONS.items()}


def read_filter(data: bytes, at: int, end: int) -> tuple[Filter, int]:
    """A filter, and where the next element begins."""
    tag, start, stop = read_header(data, at, end)
    if tag in _COMPARISONS:
        return _comparison(tag, data, start, stop), stop
    return _Reader(data).read(tag, start, stop, 1), stop


def _comparison(tag: int, data: bytes, at: int, end: int) -> Filter:
    start, stop = read_expected(data, at, end, 0x04)
    value_start, value_stop = read_expected(data, stop, end, 0x04)
    return _COMPARISONS[tag](text_of(data[start:stop]), data[value_start:value_stop])


class _Reader:
    """Counts the items of one filter."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._items = 0

    def read(self, tag: int, at: int, end: int, depth: int) -> Filter:
        if tag in (AND, OR):
            filters = self._filters(at, end, depth)
            if not filters:
                self._count()
            return And(filters) if tag == AND else Or(filters)
        if tag == NOT:
            filters = self._filters(at, end, depth)
            if len(filters) != 1:
                raise InvalidLdapValue("a negation of one filter has several, or none")
            return Not(filters[0])
        self._count()
        if tag in _COMPARISONS:
            return _comparison(tag, self._data, at, end)
        if tag == PRESENT:
            return Present(text_of(self._data[at:end]))
        if tag == SUBSTRINGS:
            return self._substrings(at, end)
        if tag == EXTENSIBLE:
            return self._extensible(at, end)
        raise InvalidLdapValue(f"an unknown kind of filter, {tag:#04x}")

    def _count(self) -> None:
        self._items += 1
        if self._items > MAX_ITEMS:
            raise InvalidLdapValue(f"a filter of more than {MAX_ITEMS} items")

    def _filters(self, at: int, end: int, depth: int) -> tuple[Filter, ...]:
        if depth >= MAX_DEPTH and at < end:
            raise InvalidLdapValue(f"a filter that is nested deeper than {MAX_DEPTH}")
        filters = []
        while at < end:
            tag, start, at = read_header(self._data, at, end)
            filters.append(self.read(tag, start, at, depth + 1))
        return tuple(filters)

    def _substrings(self, at: int, end: int) -> Filter:
        data = self._data
        start, stop = read_expected(data, at, end, 0x04)
        attribute = text_of(data[start:stop])
        at, end = read_expected(data, stop, end, 0x30)
        initial = final = b""
        anywhere = []
        first = at
        while at < end:
            if final:
                raise InvalidLdapValue("something follows the end of a substring filter")
            here = at
            tag, start, at = read_header(data, at, end)
            part = data[start:at]
            if not part:
                raise InvalidLdapValue("an empty part in a substring filter")
            if tag == _ANY:
                anywhere.append(part)
            elif tag == _FINAL:
                final = part
            elif tag == _INITIAL and here == first:
                initial = part
            else:
                raise InvalidLdapValue("a misplaced part in a substring filter")
        if first == end:
            raise InvalidLdapValue("a substring filter without a part")
        return Substrings(attribute, initial, tuple(anywhere), final)

    def _extensible(self, at: int, end: int) -> Filter:
        attribute = rule = ""
        value: bytes | None = None
        dn_attributes = False
        while at < end:
            tag, start, at = read_header(self._data, at, end)
            contents = self._data[start:at]
            if tag == _RULE:
                rule = text_of(contents)
            elif tag == _TYPE:
                attribute = text_of(contents)
            elif tag == _VALUE:
                value = contents
            elif tag == _DN_ATTRIBUTES:
                dn_attributes = contents != b"\0"
        if value is None or not (attribute or rule):
            raise InvalidLdapValue("an extensible filter without a value, or without attribute and rule")
        return Extensible(attribute, rule, value, dn_attributes)


def encode_filter(filter_: Filter) -> bytes:
    """In BER. The depth is the caller's affair: what `parse_filter` gives is bounded."""
    if isinstance(filter_, (Equals, GreaterOrEqual, LessOrEqual, Approximately)):
        return element(_COMPARISON_TAGS[type(filter_)], text(filter_.attribute) + octets(filter_.value))
    if isinstance(filter_, (And, Or)):
        tag = AND if isinstance(filter_, And) else OR
        return element(tag, b"".join([encode_filter(item) for item in filter_.filters]))
    if isinstance(filter_, Not):
        return element(NOT, encode_filter(filter_.filter))
    if isinstance(filter_, Present):
        return element(PRESENT, filter_.attribute.encode())
    if isinstance(filter_, Substrings):
        parts = [element(_INITIAL, filter_.initial)] if filter_.initial else []
        parts += [element(_ANY, part) for part in filter_.any]
        if filter_.final:
            parts.append(element(_FINAL, filter_.final))
        return element(SUBSTRINGS, text(filter_.attribute) + element(0x30, b"".join(parts)))
    rule = element(_RULE, filter_.rule.encode()) if filter_.rule else b""
    attribute = element(_TYPE, filter_.attribute.encode()) if filter_.attribute else b""
    dn_attributes = boolean(True, _DN_ATTRIBUTES) if filter_.dn_attributes else b""
    return element(EXTENSIBLE, rule + attribute + element(_VALUE, filter_.value) + dn_attributes)
