"""Values of the controls that lanpost knows, in BER, both ways.

Each kind has `read`, which takes a control's or response's value and raises InvalidLdapValue where it is none, and
`encode`. Paged results (RFC 2696), sorting by the server (RFC 2891), content synchronisation (RFC 4533).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from lanpost.errors import InvalidLdapValue, LdapProtocolError
from lanpost.wire.ber import (
    ENUMERATED,
    OCTETS,
    SEQUENCE,
    boolean,
    element,
    integer,
    octets,
    read_boolean,
    read_expected,
    read_header,
    read_integer,
    read_octets,
    read_text,
    text,
    text_of,
)

PAGED_RESULTS_OID: Final = "1.2.840.113556.1.4.319"
SORT_REQUEST_OID: Final = "1.2.840.113556.1.4.473"
SORT_RESPONSE_OID: Final = "1.2.840.113556.1.4.474"
MANAGE_DSA_IT_OID: Final = "2.16.840.1.113730.3.4.2"
SYNC_REQUEST_OID: Final = "1.3.6.1.4.1.4203.1.9.1.1"
SYNC_STATE_OID: Final = "1.3.6.1.4.1.4203.1.9.1.2"
SYNC_DONE_OID: Final = "1.3.6.1.4.1.4203.1.9.1.3"
SYNC_INFO_OID: Final = "1.3.6.1.4.1.4203.1.9.1.4"  # of an IntermediateResponse

MAX_SORT_KEYS: Final = 10  # a person sorts by two
UUID_OCTETS: Final = 16

T = TypeVar("T")


def read_value(value: bytes | None, read: Callable[[bytes, int, int], T]) -> T:
    """Whatever is wrong inside a value, the message that bears it is sound: InvalidLdapValue."""
    if value is None:
        raise InvalidLdapValue("a control without its value")
    try:
        return read(value, 0, len(value))
    except InvalidLdapValue:
        raise
    except LdapProtocolError as error:
        raise InvalidLdapValue(str(error)) from error


@dataclass(frozen=True, slots=True)
class PagedResults:
    """RFC 2696 §2. Asked: entries in a page, and no cookie for the first one. Answered: about how many there are in
    all (0: who knows), and no cookie behind the last page."""

    size: int = 0
    cookie: bytes = b""

    @classmethod
    def read(cls, value: bytes | None) -> PagedResults:
        return read_value(value, cls._read)

    @classmethod
    def _read(cls, data: bytes, at: int, end: int) -> PagedResults:
        at, end = read_expected(data, at, end, SEQUENCE)
        size, at = read_integer(data, at, end)
        if size < 0:
            raise InvalidLdapValue("a page of less than nothing")
        return cls(size, read_octets(data, at, end)[0])

    def encode(self) -> bytes:
        return element(SEQUENCE, integer(self.size) + octets(self.cookie))


@dataclass(frozen=True, slots=True)
class SortKey:
    attribute: str
    rule: str = ""  # "": the attribute's own ordering
    descending: bool = False


_ORDERING_RULE: Final = 0x80
_REVERSE_ORDER: Final = 0x81
_ATTRIBUTE_TYPE: Final = 0x80


def read_sort_keys(value: bytes | None) -> tuple[SortKey, ...]:
    """RFC 2891 §1.1."""
    return read_value(value, _read_sort_keys)


def _read_sort_keys(data: bytes, at: int, end: int) -> tuple[SortKey, ...]:
    at, end = read_expected(data, at, end, SEQUENCE)
    keys: list[SortKey] = []
    while at < end:
        if len(keys) == MAX_SORT_KEYS:
            raise InvalidLdapValue(f"more than {MAX_SORT_KEYS} sort keys")
        start, at = read_expected(data, at, end, SEQUENCE)
        keys.append(_read_sort_key(data, start, at))
    if not keys:
        raise InvalidLdapValue("no sort key")
    return tuple(keys)


def _read_sort_key(data: bytes, at: int, end: int) -> SortKey:
    attribute, at = read_text(data, at, end)
    rule, descending = "", False
    while at < end:
        tag, start, stop = read_header(data, at, end)
        if tag == _ORDERING_RULE:
            rule = text_of(data[start:stop])
        elif tag == _REVERSE_ORDER:
            descending = read_boolean(data, at, end, _REVERSE_ORDER)[0]
        at = stop
    return SortKey(attribute, rule, descending)


def encode_sort_keys(keys: Sequence[SortKey]) -> bytes:
    parts = []
    for key in keys:
        rule = element(_ORDERING_RULE, key.rule.encode()) if key.rule else b""
        reverse = boolean(True, _REVERSE_ORDER) if key.descending else b""
        parts.append(element(SEQUENCE, text(key.attribute) + rule + reverse))
    return element(SEQUENCE, b"".join(parts))


@dataclass(frozen=True, slots=True)
class SortResult:
    """RFC 2891 §1.2: a result code, and the attribute that is to blame."""

    code: int = 0
    attribute: str = ""

    @classmethod
    def read(cls, value: bytes | None) -> SortResult:
        return read_value(value, cls._read)

    @classmethod
    def _read(cls, data: bytes, at: int, end: int) -> SortResult:
        at, end = read_expected(data, at, end, SEQUENCE)
        code, at = read_integer(data, at, end, ENUMERATED)
        attribute = ""
        if at < end and data[at] == _ATTRIBUTE_TYPE:
            attribute, at = read_text(data, at, end, _ATTRIBUTE_TYPE)
        return cls(code, attribute)

    def encode(self) -> bytes:
        attribute = element(_ATTRIBUTE_TYPE, self.attribute.encode()) if self.attribute else b""
        return element(SEQUENCE, integer(self.code, ENUMERATED) + attribute)


class SyncMode(IntEnum):
    """RFC 4533 §2.2."""

    REFRESH_ONLY = 1
    REFRESH_AND_PERSIST = 3


class SyncStateKind(IntEnum):
    """RFC 4533 §2.3."""

    PRESENT = 0
    ADD = 1
    MODIFY = 2
    DELETE = 3


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """RFC 4533 §2.2. The cookie is the server's own affair; None: from the beginning."""

    mode: SyncMode
    cookie: bytes | None = None
    reload_hint: bool = False

    @classmethod
    def read(cls, value: bytes | None) -> SyncRequest:
        return read_value(value, cls._read)

    @classmethod
    def _read(cls, data: bytes, at: int, end: int) -> SyncRequest:
        at, end = read_expected(data, at, end, SEQUENCE)
        mode, at = read_integer(data, at, end, ENUMERATED)
        if mode not in tuple(SyncMode):
            raise InvalidLdapValue(f"an unknown mode of synchronisation, {mode}")
        cookie, at = read_cookie(data, at, end)
        return cls(SyncMode(mode), cookie, read_flag(data, at, end, default=False))

    def encode(self) -> bytes:
        hint = boolean(True) if self.reload_hint else b""
        return element(SEQUENCE, integer(self.mode, ENUMERATED) + encode_cookie(self.cookie) + hint)


@dataclass(frozen=True, slots=True)
class SyncState:
    """RFC 4533 §2.3, with each entry: what has become of it."""

    kind: SyncStateKind
    uuid: bytes  # 16 octets: entryUUID
    cookie: bytes | None = None

    @classmethod
    def read(cls, value: bytes | None) -> SyncState:
        return read_value(value, cls._read)

    @classmethod
    def _read(cls, data: bytes, at: int, end: int) -> SyncState:
        at, end = read_expected(data, at, end, SEQUENCE)
        kind, at = read_integer(data, at, end, ENUMERATED)
        if kind not in tuple(SyncStateKind):
            raise InvalidLdapValue(f"an unknown state of synchronisation, {kind}")
        uuid, at = read_uuid(data, at, end)
        return cls(SyncStateKind(kind), uuid, read_cookie(data, at, end)[0])

    def encode(self) -> bytes:
        return element(SEQUENCE, integer(self.kind, ENUMERATED) + octets(self.uuid) + encode_cookie(self.cookie))


@dataclass(frozen=True, slots=True)
class SyncDone:
    """RFC 4533 §2.4, with the search's end. `refresh_deletes`: the deleted have been listed, not what is left."""

    cookie: bytes | None = None
    refresh_deletes: bool = False

    @classmethod
    def read(cls, value: bytes | None) -> SyncDone:
        return read_value(value, cls._read)

    @classmethod
    def _read(cls, data: bytes, at: int, end: int) -> SyncDone:
        at, end = read_expected(data, at, end, SEQUENCE)
        cookie, at = read_cookie(data, at, end)
        return cls(cookie, read_flag(data, at, end, default=False))

    def encode(self) -> bytes:
        flag = boolean(True) if self.refresh_deletes else b""
        return element(SEQUENCE, encode_cookie(self.cookie) + flag)


def read_cookie(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    if at < end and data[at] == OCTETS:
        return read_octets(data, at, end)
    return None, at


def encode_cookie(cookie: bytes | None) -> bytes:
    return b"" if cookie is None else octets(cookie)


def read_flag(data: bytes, at: int, end: int, *, default: bool) -> bool:
    """A BOOLEAN that may be missing."""
    if at < end and data[at] == 0x01:
        return read_boolean(data, at, end)[0]
    return default


def read_uuid(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    uuid, at = read_octets(data, at, end)
    if len(uuid) != UUID_OCTETS:
        raise InvalidLdapValue(f"an entryUUID of {len(uuid)} octets")
    return uuid, at
