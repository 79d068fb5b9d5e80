"""How values of the directory compare: in a normal form, which depends on the matching rule (RFC 4517, RFC 4518).

Normal forms of one rule are equal where their values are, and stand in order where the rule has one. What is no
value of that syntax raises InvalidValue.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lanpost.content.directory_schema import AttributeType, attribute_type, class_name, oid_of
from lanpost.content.generalized_time import time_of
from lanpost.errors import InvalidValue
from lanpost.model.distinguished_name import DistinguishedName

Normal = Callable[[bytes], Any]


def same_value(kind: AttributeType, left: bytes, right: bytes) -> bool | None:
    """By the type's equality rule; None: `right` is no value of it."""
    normal = NORMAL[kind.rule.equality]
    try:
        asked = normal(right)
    except InvalidValue:
        return None
    return bool(normal_or_none(normal, left) == asked)


def normal_or_none(normal: Normal, value: bytes) -> Any:
    """None for what is no value of that syntax."""
    try:
        return normal(value)
    except InvalidValue:
        return None


@dataclass(frozen=True, slots=True)
class SubstringRule:
    """How pieces of a value compare. With `blanks` they count as RFC 4518 §2.6.1 has it: one at either end of a
    value, two between its words, and a piece has them where it begins or ends with some."""

    mapped: Callable[[bytes], str]
    blanks: bool = True

    def value(self, value: bytes) -> str:
        text = self.mapped(value)
        return f" {'  '.join(text.split())} " if self.blanks else text

    def piece(self, value: bytes, *, first: bool = False, last: bool = False) -> str:
        """`first`, `last`: a value begins or ends with it."""
        text = self.mapped(value)
        if not value or not self.blanks:
            return text
        words = "  ".join(text.split())
        if not words:
            return " "
        return f"{' ' if first or text[0].isspace() else ''}{words}{' ' if last or text[-1].isspace() else ''}"


def text_of(value: bytes) -> str:
    """Raises InvalidValue."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidValue("no UTF-8") from None


def _any_case(value: bytes) -> str:
    """What is the same for rules that do not mind case (RFC 4518 §2.2, §2.3)."""
    text = text_of(value)
    if text.isascii():
        return text.lower()
    # Folding may undo what was composed.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _this_case(value: bytes) -> str:
    text = text_of(value)
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _ascii_any_case(value: bytes) -> str:
    if not value.isascii():
        raise InvalidValue("ASCII only")
    return value.decode().lower()


def _number(value: bytes) -> str:
    """A telephone number: hyphens and spaces do not count (RFC 4518 §2.6.3), nor do a fax number's parameters."""
    return text_of(value).partition("$")[0].replace(" ", "").replace("-", "").lower()


def _squeezed(text: str) -> str:
    """Blanks at either end do not count, nor how many there are in between."""
    return " ".join(text.split())


def _integer(value: bytes) -> int:
    text = text_of(value)
    if not (text.removeprefix("-").isdecimal() and text.isascii()) or len(text) > 20:
        raise InvalidValue("no integer")
    return int(text)


def _identifier(value: bytes) -> str:
    """RFC 4517 §4.2.26: a word that nobody knows is no identifier, a number always is."""
    text = text_of(value)
    if name := class_name(text):
        return name.lower()
    kind = attribute_type(text)
    if kind is None and not text[:1].isdigit():
        raise InvalidValue("not known here")
    return kind.name.lower() if kind else text


def _first_identifier(value: bytes) -> str:
    """Of a description in the schema its number (RFC 4517 §4.2.27)."""
    text = text_of(value)
    words = text.removeprefix("(").split(maxsplit=1)
    if not words:
        raise InvalidValue("no identifier")
    return oid_of(words[0]) or words[0]


def _boolean(value: bytes) -> bool:
    if value not in (b"TRUE", b"FALSE"):
        raise InvalidValue("neither TRUE nor FALSE")
    return value == b"TRUE"


NORMAL: dict[str, Normal] = {
    "caseIgnoreMatch": lambda value: _squeezed(_any_case(value)),
    "caseIgnoreIA5Match": lambda value: _squeezed(_ascii_any_case(value)),
    "caseExactMatch": lambda value: _squeezed(_this_case(value)),
    "integerMatch": _integer,
    "generalizedTimeMatch": lambda value: time_of(text_of(value)),
    "telephoneNumberMatch": _number,
    "distinguishedNameMatch": lambda value: DistinguishedName.parse(text_of(value)).key,
    "objectIdentifierMatch": _identifier,
    "objectIdentifierFirstComponentMatch": _first_identifier,
    "octetStringMatch": bytes,
    "uuidMatch": lambda value: text_of(value).lower(),
    "booleanMatch": _boolean,
}
SUBSTRINGS = {
    "caseIgnoreSubstringsMatch": SubstringRule(_any_case),
    "caseExactSubstringsMatch": SubstringRule(_this_case),
    "caseIgnoreIA5SubstringsMatch": SubstringRule(_ascii_any_case),
    "telephoneNumberSubstringsMatch": SubstringRule(_number, blanks=False),
}
RULES = {  # of equality, by name in lower case and OID (RFC 4517 §4.2, RFC 4530 §2)
    **{name.lower(): name for name in NORMAL},
    "2.5.13.0": "objectIdentifierMatch",
    "2.5.13.1": "distinguishedNameMatch",
    "2.5.13.2": "caseIgnoreMatch",
    "2.5.13.5": "caseExactMatch",
    "2.5.13.13": "booleanMatch",
    "2.5.13.14": "integerMatch",
    "2.5.13.17": "octetStringMatch",
    "2.5.13.20": "telephoneNumberMatch",
    "2.5.13.27": "generalizedTimeMatch",
    "2.5.13.30": "objectIdentifierFirstComponentMatch",
    "1.3.6.1.1.16.2": "uuidMatch",
    "1.3.6.1.4.1.1466.109.114.2": "caseIgnoreIA5Match",
}
ORDERINGS = {  # which equality rule's normal forms stand in that order, by name in lower case and OID
    "caseignoreorderingmatch": "caseIgnoreMatch",
    "2.5.13.3": "caseIgnoreMatch",
    "caseexactorderingmatch": "caseExactMatch",
    "2.5.13.6": "caseExactMatch",
    "integerorderingmatch": "integerMatch",
    "2.5.13.15": "integerMatch",
    "generalizedtimeorderingmatch": "generalizedTimeMatch",
    "2.5.13.28": "generalizedTimeMatch",
}
