"""The messages in the midst of a synchronisation (RFC 4533 §2.5): values of an IntermediateResponse, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lanpost.errors import InvalidLdapValue
from lanpost.wire.ber import SET, boolean, element, octets, read_expected, read_header
from lanpost.wire.ldap_controls import encode_cookie, read_cookie, read_flag, read_uuid, read_value

_NEW_COOKIE: Final = 0x80
_REFRESH_DELETE: Final = 0xA1
_REFRESH_PRESENT: Final = 0xA2
_ID_SET: Final = 0xA3


@dataclass(frozen=True, slots=True)
class NewCookie:
    cookie: bytes


@dataclass(frozen=True, slots=True)
class RefreshDelete:
    """A phase that listed what was deleted is over; `done`: the refresh is."""

    cookie: bytes | None = None
    done: bool = True


@dataclass(frozen=True, slots=True)
class RefreshPresent:
    """A phase that listed what is left is over: what was not named is gone."""

    cookie: bytes | None = None
    done: bool = True


@dataclass(frozen=True, slots=True)
class SyncIdSet:
    """Entries that are all deleted, or all still there."""

    uuids: tuple[bytes, ...]
    refresh_deletes: bool = False
    cookie: bytes | None = None


SyncInfo = NewCookie | RefreshDelete | RefreshPresent | SyncIdSet


def read_sync_info(value: bytes | None) -> SyncInfo:
    """Raises InvalidLdapValue. The number of entries is bounded by the message's size."""
    return read_value(value, _read_sync_info)


def _read_sync_info(data: bytes, at: int, end: int) -> SyncInfo:
    tag, start, stop = read_header(data, at, end)
    if tag == _NEW_COOKIE:
        return NewCookie(data[start:stop])
    if tag not in (_REFRESH_DELETE, _REFRESH_PRESENT, _ID_SET):
        raise InvalidLdapValue(f"an unknown message of synchronisation, {tag:#04x}")
    cookie, at = read_cookie(data, start, stop)
    if tag == _ID_SET:
        return _read_id_set(data, at, stop, cookie)
    done = read_flag(data, at, stop, default=True)
    return RefreshDelete(cookie, done) if tag == _REFRESH_DELETE else RefreshPresent(cookie, done)


def _read_id_set(data: bytes, at: int, end: int, cookie: bytes | None) -> SyncIdSet:
    refresh_deletes = read_flag(data, at, end, default=False)
    if at < end and data[at] == 0x01:
        at = read_header(data, at, end)[2]
    at, end = read_expected(data, at, end, SET)
    uuids = []
    while at < end:
        uuid, at = read_uuid(data, at, end)
        uuids.append(uuid)
    return SyncIdSet(tuple(uuids), refresh_deletes, cookie)


def encode_sync_info(info: SyncInfo) -> bytes:
    if isinstance(info, NewCookie):
        return element(_NEW_COOKIE, info.cookie)
    if isinstance(info, SyncIdSet):
        flag = boolean(True) if info.refresh_deletes else b""
        uuids = element(SET, b"".join([octets(uuid) for uuid in info.uuids]))
        return element(_ID_SET, encode_cookie(info.cookie) + flag + uuids)
    tag = _REFRESH_DELETE if isinstance(info, RefreshDelete) else _REFRESH_PRESENT
    return element(tag, encode_cookie(info.cookie) + (b"" if info.done else boolean(False)))
