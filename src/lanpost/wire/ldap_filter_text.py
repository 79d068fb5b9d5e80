"""Search filters as text, both ways (RFC 4515): `(&(mail=*)(cn=fa*))`. InvalidFilter names the position."""

from __future__ import annotations

import re
from typing import Final

from lanpost.errors import InvalidFilter
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

MAX_TEXT: Final = 64 * 1024  # characters; as long as a message of 256 KiB can bear with every octet escaped

_DESCRIPTION: Final = r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*)(?:;[A-Za-z0-9-]+)*"
_SIMPLE: Final = re.compile(rf"({_DESCRIPTION})(=|>=|<=|~=)")
_EXTENSIBLE: Final = re.compile(rf"({_DESCRIPTION})?(:dn)?(?::({_DESCRIPTION}))?:=", re.IGNORECASE)
_VALUE: Final = re.compile(r"[^()\0]*")
_ESCAPED: Final = re.compile(rb"\\([0-9A-Fa-f]{2})?")
_TO_ESCAPE: Final = re.compile(rb"[\0-\x1f\x7f-\xff()*\\]+")
_COMPARISONS: Final[dict[str, type[GreaterOrEqual | LessOrEqual | Approximately]]] = {
    ">=": GreaterOrEqual,
    "<=": LessOrEqual,
    "~=": Approximately,
}
_OPERATORS: Final[dict[type, str]] = {
    Equals: "=",
    GreaterOrEqual: ">=",
    LessOrEqual: "<=",
    Approximately: "~=",
}


def parse_filter(text: str) -> Filter:
    """A filter of MAX_DEPTH and MAX_ITEMS at most; blanks between its parts are passed over. InvalidFilter."""
    if len(text) > MAX_TEXT:
        raise InvalidFilter(f"a filter of {len(text)} characters, {MAX_TEXT} are allowed")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._items = 0

    def parse(self) -> Filter:
        self._skip_blanks()
        found = self._filter(1)
        self._skip_blanks()
        if self._at < len(self._text):
            raise self._error("something follows the filter")
        return found

    def _filter(self, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH}")
        self._expect("(")
        self._skip_blanks()
        sign = self._text[self._at : self._at + 1]
        found: Filter
        if sign in ("&", "|"):
            self._at += 1
            filters = self._filters(depth)
            found = And(filters) if sign == "&" else Or(filters)
        elif sign == "!":
            self._at += 1
            self._skip_blanks()
            found = Not(self._filter(depth + 1))
            self._skip_blanks()
        else:
            self._count()
            found = self._item()
        self._expect(")")
        return found

    def _filters(self, depth: int) -> tuple[Filter, ...]:
        found = []
        self._skip_blanks()
        while self._text.startswith("(", self._at):
            found.append(self._filter(depth + 1))
            self._skip_blanks()
        if not found:
            self._count()
        return tuple(found)

    def _item(self) -> Filter:
        simple = _SIMPLE.match(self._text, self._at)
        if simple is not None:
            self._at = simple.end()
            attribute, operator = simple.groups()
            if operator != "=":
                return _COMPARISONS[operator](attribute, self._value())
            return self._equality(attribute)
        extensible = _EXTENSIBLE.match(self._text, self._at)
        if extensible is None:
            raise self._error("an attribute and a comparison are expected")
        attribute, dn, rule = extensible.groups()
        if not (attribute or rule):
            raise self._error("an attribute or a matching rule is expected")
        self._at = extensible.end()
        return Extensible(attribute or "", rule or "", self._value(), dn is not None)

    def _value(self) -> bytes:
        start = self._at
        raw = self._raw_value()
        if "*" in raw:
            self._at = start + raw.index("*")
            raise self._error("an asterisk here must be written \\2a")
        return self._unescaped(raw, start)

    def _equality(self, attribute: str) -> Filter:
        begun = start = self._at
        raw = self._raw_value()
        if raw == "*":
            return Present(attribute)
        parts = []
        for part in raw.split("*"):
            parts.append(self._unescaped(part, start))
            start += len(part) + 1
        if len(parts) == 1:
            return Equals(attribute, parts[0])
        initial, *middle, final = parts
        if not all(middle) or not (initial or middle or final):
            self._at = begun
            raise self._error("nothing between two asterisks")
        return Substrings(attribute, initial, tuple(middle), final)

    def _raw_value(self) -> str:
        match = _VALUE.match(self._text, self._at)
        assert match is not None  # it matches nothing too
        self._at = match.end()
        return match[0]

    def _unescaped(self, raw: str, start: int) -> bytes:
        if "\\" not in raw:
            return self._encoded(raw, start)

        def octet(match: re.Match[bytes]) -> bytes:
            if match[1] is None:
                self._at = start
                raise self._error("a backslash needs two hexadecimal digits behind it")
            return bytes.fromhex(match[1].decode())

        return _ESCAPED.sub(octet, self._encoded(raw, start))

    def _encoded(self, raw: str, start: int) -> bytes:
        try:
            return raw.encode()
        except UnicodeEncodeError as error:
            self._at = start
            raise self._error("a character that UTF-8 does not have") from error

    def _count(self) -> None:
        self._items += 1
        if self._items > MAX_ITEMS:
            raise self._error(f"more than {MAX_ITEMS} items")

    def _expect(self, sign: str) -> None:
        if not self._text.startswith(sign, self._at):
            raise self._error(f"{sign!r} is expected")
        self._at += 1

    def _skip_blanks(self) -> None:
        while self._text.startswith((" ", "\t", "\r", "\n"), self._at):
            self._at += 1

    def _error(self, text: str) -> InvalidFilter:
        return InvalidFilter(f"not a search filter: at character {self._at + 1}, {text}")


def filter_text(filter_: Filter) -> str:
    """As text, every octet of it in ASCII. Its depth is the caller's affair: what we read is bounded."""
    if isinstance(filter_, (And, Or)):
        sign = "&" if isinstance(filter_, And) else "|"
        return f"({sign}{''.join(filter_text(item) for item in filter_.filters)})"
    if isinstance(filter_, Not):
        return f"(!{filter_text(filter_.filter)})"
    if isinstance(filter_, Present):
        return f"({filter_.attribute}=*)"
    if isinstance(filter_, Substrings):
        parts = (filter_.initial, *filter_.any, filter_.final)
        return f"({filter_.attribute}={'*'.join(escape_value(part) for part in parts)})"
    if isinstance(filter_, Extensible):
        dn = ":dn" if filter_.dn_attributes else ""
        rule = f":{filter_.rule}" if filter_.rule else ""
        return f"({filter_.attribute}{dn}{rule}:={escape_value(filter_.value)})"
    return f"({filter_.attribute}{_OPERATORS[type(filter_)]}{escape_value(filter_.value)})"


def escape_value(value: bytes | str) -> str:
    """An assertion value as it stands in a filter's text: whatever could mean more than itself is escaped (§3)."""
    octets = value.encode() if isinstance(value, str) else value
    return _TO_ESCAPE.sub(_escaped, octets).decode("ascii")


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"".join(b"\\%02x" % octet for octet in match[0])
