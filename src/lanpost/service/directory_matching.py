"""Whether an entry of the directory matches a filter: three-valued logic (RFC 4511 §4.5.1.7), rules of the schema.

A filter is compiled once for a search. What is neither true nor false is undefined (None), and only True matches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lanpost.content.directory_schema import ATTRIBUTE_TYPES, AttributeType, attribute_type
from lanpost.content.directory_values import NORMAL, RULES, SUBSTRINGS, Normal, normal_or_none
from lanpost.errors import InvalidValue
from lanpost.wire import ldap_filter as f


class Readable(Protocol):
    """An entry, as far as matching goes."""

    def values(self, name: str) -> Sequence[bytes]:
        """The values of that type, by its canonical name; none: the entry lacks it."""


Truth = bool | None
Predicate = Callable[[Readable], Truth]


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
            held = normal_or_none(normal, each)
            if held is not None and holds(held, asked):
                return True
        return False

    return test


def _substrings(searched: f.Substrings) -> Predicate:
    kind = attribute_type(searched.attribute)
    if kind is None or not kind.rule.substrings:
        return _undefined
    rule = SUBSTRINGS[kind.rule.substrings]
    try:
        initial, final = rule.piece(searched.initial, first=True), rule.piece(searched.final, last=True)
        between = [rule.piece(each) for each in searched.any]
    except InvalidValue:
        return _undefined
    name = kind.name

    def test(entry: Readable) -> Truth:
        return any(
            _has_parts(held, initial, between, final)
            for value in entry.values(name)
            if (held := normal_or_none(rule.value, value)) is not None
        )

    return test


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
        kinds = [kind for kind in ATTRIBUTE_TYPES if kind.rule.equality == rule]
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
        asked = normal_or_none(normal, value)
        if asked is None:
            return None
        return any(
            attribute_type(attribute) is kind and normal_or_none(normal, held.encode()) == asked
            for attribute, held in name_parts(entry)
        )

    return test
