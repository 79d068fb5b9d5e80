"""A search filter as a tree of values (RFC 4511 §4.5.1.7). Assertion values are octets, as they came."""

from __future__ import annotations

from lanpost.wire.cheap_value import value

MAX_DEPTH = 16  # of nested filters; a person writes three
MAX_ITEMS = 256  # leaves of one filter


@value
class And:
    """All of them; none at all is true (RFC 4526)."""

    filters: tuple[Filter, ...]


@value
class Or:
    """Any of them; none at all is false (RFC 4526)."""

    filters: tuple[Filter, ...]


@value
class Not:
    filter: Filter


@value
class Equals:
    attribute: str  # as written, options included
    value: bytes


@value
class Substrings:
    """`initial*any*any*final`; what is missing is b"" or ()."""

    attribute: str
    initial: bytes
    any: tuple[bytes, ...]
    final: bytes


@value
class GreaterOrEqual:
    attribute: str
    value: bytes


@value
class LessOrEqual:
    attribute: str
    value: bytes


@value
class Present:
    attribute: str


@value
class Approximately:
    attribute: str
    value: bytes


@value
class Extensible:
    """`attribute:dn:rule:=value`; `attribute` or `rule` may be ""."""

    attribute: str
    rule: str
    value: bytes
    dn_attributes: bool


Filter = And | Or | Not | Equals | Substrings | GreaterOrEqual | LessOrEqual | Present | Approximately | Extensible
