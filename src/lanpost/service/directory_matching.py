"""Whether an entry of the directory matches a filter: three-valued logic (RFC 4511 §4.5.1.7), rules of the schema.

A filter is compiled once for a search. What is neither true nor false is undefined (None), and only True matches.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lanpost.content.directory_schema import AttributeType, attribute_type, class_name
from lanpost.content.generalized_time import time_of
from lanpost.errors import InvalidValue
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.wire import ldap_filter as f


class Readable(Protocol):
    """An entry, as far as matching goes."""

    def values(self, name: str) -> Sequence[bytes]:
        """The values of that type, by its canonical name; none: the entry lacks it."""


Truth = bool | None
Predicate = Callable[[Readable], Truth]
Normal = Callable[[bytes], Any]  # raises InvalidValue for what is no value of that syntax


def compiled(searched: f.Filter, name_parts: Callable[[Readable], Sequence[tuple[str, str]]]) -> Predicate:
    """The filter as a function. `name_parts`: attributes and values of an entry's own name, for `dn` in filters."""
    match searched:
        case f.And(filters):
            return _all([compiled(each, name_parts) for each in filters])
        case f.Or(filters):
            return _any([compiled(each, name_parts) for each in filters])
        case f.Not(inner):
            return _negated(compiled(inner, name_parts))
        case f.Present(attribute):
            return _present(attribute)
        case f.Equals(attribute, value) | f.Approximately(attribute, value):
            return _equals(attribute, value)
        case f.Substrings():
            return _substrings(searched)
        case f.GreaterOrEqual(attribute, value):
            return _ordered(attribute, value, lambda held, asked: bool(held >= asked))
        case f.LessOrEqual(attribute, value):
            return _ordered(attribute, value, lambda held, asked: bool(held <= asked))
        case f.Extensible():
            return _extensible(searched, name_parts)


def same_value(kind: AttributeType, left: bytes, right: bytes) -> bool | None:
    """By the type's equality rule; None: `right` is no value of it."""
    normal = NORMAL[kind.rule.equality]
    try:
        asked = normal(right)
    except InvalidValue:
        return None
    return bool(_normal_or_none(normal, left) == asked)


def _all(predicates: Sequence[Predicate]) -> Predicate:
    def test(entry: Readable) -> Truth:
        result: Truth = True
        for predicate in predicates:
            truth = predicate(entry)
            if truth is False:
                return False
            if truth is None:
                result = None
        return result

    return test


def _any(predicates: Sequence[Predicate]) -> Predicate:
    def test(entry: Readable) -> Truth:
        result: Truth = False
        for predicate in predicates:
            truth = predicate(entry)
            if truth is True:
                return True
            if truth is None:
                result = None
        return result

    return test


def _negated(predicate: Predicate) -> Predicate:
    def test(entry: Readable) -> Truth:
        truth = predicate(entry)
        return None if truth is None else not truth

    return test


def _undefined(_entry: Readable) -> Truth:
    return None


def _present(attribute: str) -> Predicate:
    kind = attribute_type(attribute)
    if kind is None:
        return _undefined
    name = kind.name
    if name == "objectClass":
        return lambda _entry: True
    return lambda entry: bool(entry.values(name))


def _equals(attribute: str, value: bytes) -> Predicate:
    kind = attribute_type(attribute)
    if kind is None:
        return _undefined
    return _with_rule(kind.name, NORMAL[kind.rule.equality], value, lambda held, asked: bool(held == asked))


def _ordered(attribute: str, value: bytes, holds: Callable[[Any, Any], bool]) -> Predicate:
    kind = attribute_type(attribute)
    if kind is None or not kind.rule.ordering:
        return _undefined
    return _with_rule(kind.name, NORMAL[kind.rule.equality], value, holds)


def _with_rule(name: str, normal: Normal, value: bytes, holds: Callable[[Any, Any], bool]) -> Predicate:
    try:
        asked = normal(value)
    except InvalidValue:
        return _undefined

    def test(entry: Readable) -> Truth:
        for each in entry.values(name):
            held = _normal_or_none(normal, each)
            if held is not None and holds(held, asked):
                return True
        return False

    return test


def _substrings(searched: f.Substrings) -> Predicate:
    kind = attribute_type(searched.attribute)
    if kind is None or not kind.rule.substrings:
        return _undefined
    normal = NORMAL[kind.rule.equality]
    try:
        initial, final = _part(normal, searched.initial), _part(normal, searched.final)
        between = [_part(normal, each) for each in searched.any]
    except InvalidValue:
        return _undefined
    name = kind.name

    def test(entry: Readable) -> Truth:
        return any(
            _has_parts(held, initial, between, final)
            for value in entry.values(name)
            if (held := _normal_or_none(normal, value)) is not None
        )

    return test


def _part(normal: Normal, value: bytes) -> str:
    """A piece of a value: a space at its edge counts, one at most."""
    text = str(normal(value)) if value else ""
    return (" " if value[:1] == b" " and text else "") + text + (" " if value[-1:] == b" " and text else "")


def _has_parts(held: str, initial: str, between: Sequence[str], final: str) -> bool:
    if not held.startswith(initial):
        return False
    at = len(initial)
    for part in between:
        found = held.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(held) - at >= len(final) and held.endswith(final)


def _extensible(searched: f.Extensible, name_parts: Callable[[Readable], Sequence[tuple[str, str]]]) -> Predicate:
    """By a type, by a rule, or by both. A rule alone is tried on every type that has it."""
    rule = RULES.get(searched.rule.lower(), "")
    if searched.rule and not rule:
        return _undefined
    if searched.attribute:
        kinds = [kind] if (kind := attribute_type(searched.attribute)) else []
    else:
        kinds = [kind for name in TEXT_TYPES if (kind := attribute_type(name)) and kind.rule.equality == rule]
    if not kinds:
        return _undefined
    tests = []
    for kind in kinds:
        normal = NORMAL[rule if searched.rule else kind.rule.equality]
        tests.append(_with_rule(kind.name, normal, searched.value, lambda held, asked: bool(held == asked)))
        if searched.dn_attributes:
            tests.append(_in_name(kind, normal, searched.value, name_parts))
    return _any(tests)


def _in_name(
    kind: AttributeType,
    normal: Normal,
    value: bytes,
    name_parts: Callable[[Readable], Sequence[tuple[str, str]]],
) -> Predicate:
    def test(entry: Readable) -> Truth:
        asked = _normal_or_none(normal, value)
        if asked is None:
            return None
        return any(
            attribute_type(attribute) is kind and _normal_or_none(normal, held.encode()) == asked
            for attribute, held in name_parts(entry)
        )

    return test


def _normal_or_none(normal: Normal, value: bytes) -> Any:
    try:
        return normal(value)
    except InvalidValue:
        return None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidValue("no UTF-8") from None


def _squeezed(text: str) -> str:
    """Insignificant spaces (RFC 4518 §2.6.1)."""
    return " ".join(text.split()) if " " in text else text


def _ignoring_case(value: bytes) -> str:
    text = _text(value)
    return _squeezed(text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold())


def _exact(value: bytes) -> str:
    text = _text(value)
    return _squeezed(text if text.isascii() else unicodedata.normalize("NFKC", text))


def _integer(value: bytes) -> int:
    text = _text(value)
    if not (text.removeprefix("-").isdecimal() and text.isascii()) or len(text) > 20:
        raise InvalidValue("no integer")
    return int(text)


def _telephone(value: bytes) -> str:
    """RFC 4518 §2.6.3: hyphens and spaces do not count. Of a facsimile number, nor do its parameters."""
    return _text(value).partition("$")[0].replace(" ", "").replace("-", "").lower()


def _identifier(value: bytes) -> str:
    text = _text(value)
    if name := class_name(text):
        return name.lower()
    kind = attribute_type(text)
    return kind.name.lower() if kind else text.lower()


def _name(value: bytes) -> object:
    return DistinguishedName.parse(_text(value)).key


def _boolean(value: bytes) -> bool:
    if value not in (b"TRUE", b"FALSE"):
        raise InvalidValue("neither TRUE nor FALSE")
    return value == b"TRUE"


NORMAL: dict[str, Normal] = {
    "caseIgnoreMatch": _ignoring_case,
    "caseIgnoreIA5Match": _ignoring_case,
    "caseExactMatch": _exact,
    "integerMatch": _integer,
    "generalizedTimeMatch": lambda value: time_of(_text(value)),
    "telephoneNumberMatch": _telephone,
    "distinguishedNameMatch": _name,
    "objectIdentifierMatch": _identifier,
    "octetStringMatch": bytes,
    "uuidMatch": lambda value: _text(value).lower(),
    "booleanMatch": _boolean,
}
TEXT_TYPES = ("cn", "mail", "mailLocalAddress", "o", "ou", "l", "description", "displayName", "lanpostKey")
RULES = {  # those that an extensible filter may name, by name and OID (RFC 4517 §4.2)
    "caseignorematch": "caseIgnoreMatch",
    "2.5.13.2": "caseIgnoreMatch",
    "caseexactmatch": "caseExactMatch",
    "2.5.13.5": "caseExactMatch",
    "caseignoreia5match": "caseIgnoreIA5Match",
    "1.3.6.1.4.1.1466.109.114.2": "caseIgnoreIA5Match",
    "integermatch": "integerMatch",
    "2.5.13.14": "integerMatch",
    "generalizedtimematch": "generalizedTimeMatch",
    "2.5.13.27": "generalizedTimeMatch",
    "telephonenumbermatch": "telephoneNumberMatch",
    "2.5.13.20": "telephoneNumberMatch",
    "objectidentifiermatch": "objectIdentifierMatch",
    "2.5.13.0": "objectIdentifierMatch",
    "octetstringmatch": "octetStringMatch",
    "2.5.13.17": "octetStringMatch",
}
