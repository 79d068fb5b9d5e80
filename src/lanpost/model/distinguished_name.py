"""Distinguished names of a directory (RFC 4514), as `cn=fax1,ou=chart,dc=office,dc=lan`: which are the same.

They compare as directories compare nearly all of what stands in names (RFC 4518): letter case, width and repeated
blanks make no difference, nor does the order within a part of several (`cn=a+sn=b`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from lanpost.errors import InvalidName

MAX_TEXT: Final = 8192  # characters; the longest of our own have about 600
MAX_DEPTH: Final = 64  # relative names in a name
MAX_PAIRS: Final = 16  # attributes in one relative name
MAX_REMEMBERED_TEXT: Final = 512  # longer ones are read anew each time: what is remembered stays small

Value = str | bytes  # bytes: the BER encoding of a value that has no text (RFC 4514 §2.4)
Rdn = tuple[tuple[str, Value], ...]
Key = tuple[tuple[tuple[str, str, bool], ...], ...]

_ATTRIBUTE: Final = r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*"
_HEAD: Final = re.compile(rf" *({_ATTRIBUTE}) *= *")
_WHOLE_ATTRIBUTE: Final = re.compile(_ATTRIBUTE)
_HEX: Final = re.compile(r"#((?:[0-9A-Fa-f]{2})+) *")
_PIECE: Final = re.compile(r"""[^\\"+,;<>\0]|\\[ "#+,;<=>\\]|(?:\\[0-9A-Fa-f]{2})+""")
_TEXT: Final = re.compile(rf"(?:{_PIECE.pattern})*")
_TO_ESCAPE: Final = re.compile(r"""["+,;<>\\]|[\0-\x1f\x7f]|^[ #]|(?<=.) \Z""", re.DOTALL)
_ALIASES: Final = {  # RFC 4514 §3, by number and by the long names of RFC 4519
    "commonname": "cn",
    "2.5.4.3": "cn",
    "surname": "sn",
    "2.5.4.4": "sn",
    "countryname": "c",
    "2.5.4.6": "c",
    "localityname": "l",
    "2.5.4.7": "l",
    "stateorprovincename": "st",
    "2.5.4.8": "st",
    "streetaddress": "street",
    "2.5.4.9": "street",
    "organizationname": "o",
    "2.5.4.10": "o",
    "organizationalunitname": "ou",
    "2.5.4.11": "ou",
    "userid": "uid",
    "0.9.2342.19200300.100.1.1": "uid",
    "domaincomponent": "dc",
    "0.9.2342.19200300.100.1.25": "dc",
}


@dataclass(frozen=True, slots=True, eq=False)
class DistinguishedName:
    """A name, its own part first. `rdns` as written, `key` for comparison; no part at all is the root's.

    Raises InvalidName when it has too many parts, or one that is empty or has no such attribute.
    """

    rdns: tuple[Rdn, ...] = ()
    key: Key = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.rdns) > MAX_DEPTH:
            raise InvalidName(f"a name of {len(self.rdns)} parts, {MAX_DEPTH} are allowed")
        object.__setattr__(self, "key", tuple(_rdn_key(rdn) for rdn in self.rdns))

    @classmethod
    def parse(cls, text: str) -> DistinguishedName:
        """From text (RFC 4514 §3). Blanks around separators and `;` for `,` are taken too, as RFC 2253 has them."""
        return _parse_remembered(text) if len(text) <= MAX_REMEMBERED_TEXT else _parse(text)

    @property
    def rdn(self) -> Rdn:
        """Its own part; the root has an empty one."""
        return self.rdns[0] if self.rdns else ()

    @property
    def parent(self) -> DistinguishedName | None:
        """The name of what it stands in; None above the root."""
        return DistinguishedName(self.rdns[1:]) if self.rdns else None

    def is_within(self, other: DistinguishedName) -> bool:
        """Whether it is that name or stands somewhere beneath it."""
        return len(self.key) >= len(other.key) and self.key[len(self.key) - len(other.key) :] == other.key

    def child(self, attribute: str, value: Value) -> DistinguishedName:
        """The name of an entry right beneath it."""
        return DistinguishedName((((attribute, value),), *self.rdns))

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, DistinguishedName) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return ",".join("+".join(f"{name}={_escape(value)}" for name, value in rdn) for rdn in self.rdns)


@lru_cache(maxsize=8192)  # a server sees the same names again and again
def _parse_remembered(text: str) -> DistinguishedName:
    return _parse(text)


def _parse(text: str) -> DistinguishedName:
    if len(text) > MAX_TEXT:
        raise InvalidName(f"a name of {len(text)} characters, {MAX_TEXT} are allowed")
    if not text.strip(" "):
        return DistinguishedName()
    rdns: list[Rdn] = []
    pairs: list[tuple[str, Value]] = []
    at = 0
    while True:
        head = _HEAD.match(text, at)
        if head is None:
            raise _error(at, "an attribute and = are expected")
        value, at = _value(text, head.end())
        pairs.append((head[1], value))
        separator = text[at : at + 1]
        at += 1
        if separator != "+":
            rdns.append(tuple(pairs))
            pairs = []
        if not separator:
            return DistinguishedName(tuple(rdns))
        if separator not in ",;+":
            raise _error(at - 1, "this must be escaped")


def _value(text: str, at: int) -> tuple[Value, int]:
    """A value, and where what follows it begins."""
    if text.startswith("#", at):
        octets = _HEX.match(text, at)
        if octets is None:
            raise _error(at, "hexadecimal digits are expected")
        return bytes.fromhex(octets[1]), octets.end()
    match = _TEXT.match(text, at)
    assert match is not None  # it matches nothing too
    raw = match[0]
    if "\\" not in raw:
        return raw.rstrip(" "), match.end()
    pieces = _PIECE.findall(raw)
    while pieces and pieces[-1] == " ":  # an escaped one stays
        pieces.pop()
    try:
        return "".join([_unescape(piece) for piece in pieces]), match.end()
    except UnicodeDecodeError as error:
        raise _error(at, "what is escaped is not UTF-8") from error


def _unescape(piece: str) -> str:
    if piece[0] != "\\":
        return piece
    if len(piece) == 2:
        return piece[1]
    return bytes.fromhex(piece.replace("\\", "")).decode("utf-8")


def _error(at: int, text: str) -> InvalidName:
    return InvalidName(f"not a distinguished name: at character {at + 1}, {text}")


def _rdn_key(rdn: Rdn) -> tuple[tuple[str, str, bool], ...]:
    if len(rdn) == 1:
        return (_pair_key(*rdn[0]),)
    if not 1 <= len(rdn) <= MAX_PAIRS:
        raise InvalidName(f"a part of {len(rdn)} attributes, 1 to {MAX_PAIRS} are allowed")
    return tuple(sorted(_pair_key(name, value) for name, value in rdn))


def _pair_key(name: str, value: Value) -> tuple[str, str, bool]:
    if _WHOLE_ATTRIBUTE.fullmatch(name) is None:
        raise InvalidName(f"{name!r} is no attribute")
    name = name.lower()
    name = _ALIASES.get(name, name)
    if isinstance(value, bytes):
        return name, value.hex(), True
    if not value.isascii():
        value = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    return name, " ".join(value.casefold().split()), False


def _escape(value: Value) -> str:
    if isinstance(value, bytes):
        return f"#{value.hex()}"
    return _TO_ESCAPE.sub(_escaped, value)


def _escaped(match: re.Match[str]) -> str:
    return f"\\{ord(match[0]):02x}" if match[0] < " " or match[0] == "\x7f" else f"\\{match[0]}"
