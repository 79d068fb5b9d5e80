"""The responses of LDAP from BER: each function takes the contents of one operation (RFC 4511 §4.1.9 to §4.13)."""

from __future__ import annotations

from lanpost.wire import ldap_tags as tags
from lanpost.wire.ber import (
    ENUMERATED,
    SEQUENCE,
    SET,
    read_expected,
    read_header,
    read_integer,
    read_text,
    text_of,
)
from lanpost.wire.ldap_decode_requests import read_values
from lanpost.wire.ldap_messages import (
    AddResponse,
    Attribute,
    BindResponse,
    CompareResponse,
    DeleteResponse,
    ExtendedResponse,
    IntermediateResponse,
    ModifyDnResponse,
    ModifyResponse,
    Result,
    ResultCode,
    SearchDone,
    SearchEntry,
    SearchReference,
    Values,
)

_SUCCESS = Result()
_PLAIN_SUCCESS = b"\x0a\x01\x00\x04\x00\x04\x00"  # how nearly every result looks
_CODES = {int(code): code for code in ResultCode}


def _result(data: bytes, at: int, end: int) -> tuple[Result, int]:
    """An LDAPResult, and where what a response adds to it begins."""
    if end - at == len(_PLAIN_SUCCESS) and data[at:end] == _PLAIN_SUCCESS:
        return _SUCCESS, end
    code, at = read_integer(data, at, end, ENUMERATED)
    matched_name, at = read_text(data, at, end)
    text, at = read_text(data, at, end)
    referrals: tuple[str, ...] = ()
    if at < end and data[at] == tags.REFERRAL:
        start, at = read_expected(data, at, end, tags.REFERRAL)
        referrals = _texts(data, start, at)
    return Result(_CODES.get(code, code), text, matched_name, referrals), at


def _texts(data: bytes, at: int, end: int) -> tuple[str, ...]:
    texts = []
    while at < end:
        text, at = read_text(data, at, end)
        texts.append(text)
    return tuple(texts)


def bind(data: bytes, at: int, end: int) -> BindResponse:
    result, at = _result(data, at, end)
    credentials = None
    while at < end:
        tag, start, at = read_header(data, at, end)
        if tag == tags.SERVER_CREDENTIALS:
            credentials = data[start:at]
    return BindResponse(result, credentials)


def search_entry(data: bytes, at: int, end: int) -> SearchEntry:
    name, at = read_text(data, at, end)
    at, end = read_expected(data, at, end, SEQUENCE)
    attributes: list[Attribute] = []
    while at < end:
        start, at = read_expected(data, at, end, SEQUENCE)
        attributes.append(_attribute(data, start, at))
    return SearchEntry(name, tuple(attributes))


def _attribute(data: bytes, at: int, end: int) -> Attribute:
    """A PartialAttribute's contents; one with a single short value in one go."""
    start = at + 2
    if end - at > 5 and data[at] == 0x04:
        stop = start + data[at + 1]  # 0x80 and more leads beyond the end, or is no SET there: the long way
        value_at = stop + 4
        if (
            data[at + 1] < 0x80
            and value_at <= end
            and data[stop] == SET
            and data[stop + 2] == 0x04
            and end - value_at < 0x7E
            and value_at + data[stop + 3] == end
            and stop + 2 + data[stop + 1] == end
        ):
            return text_of(data[start:stop]), (data[value_at:end],)
    description, at = read_text(data, at, end)
    at, end = read_expected(data, at, end, SET)
    values: Values = read_values(data, at, end)
    return description, values


def search_reference(data: bytes, at: int, end: int) -> SearchReference:
    return SearchReference(_texts(data, at, end))


def search_done(data: bytes, at: int, end: int) -> SearchDone:
    return SearchDone(_result(data, at, end)[0])


def modify(data: bytes, at: int, end: int) -> ModifyResponse:
    return ModifyResponse(_result(data, at, end)[0])


def add(data: bytes, at: int, end: int) -> AddResponse:
    return AddResponse(_result(data, at, end)[0])


def delete(data: bytes, at: int, end: int) -> DeleteResponse:
    return DeleteResponse(_result(data, at, end)[0])


def modify_dn(data: bytes, at: int, end: int) -> ModifyDnResponse:
    return ModifyDnResponse(_result(data, at, end)[0])


def compare(data: bytes, at: int, end: int) -> CompareResponse:
    return CompareResponse(_result(data, at, end)[0])


def extended(data: bytes, at: int, end: int) -> ExtendedResponse:
    result, at = _result(data, at, end)
    oid, value = "", None
    while at < end:
        tag, start, at = read_header(data, at, end)
        if tag == tags.RESPONSE_OID:
            oid = text_of(data[start:at])
        elif tag == tags.RESPONSE_VALUE:
            value = data[start:at]
    return ExtendedResponse(result, oid, value)


def intermediate(data: bytes, at: int, end: int) -> IntermediateResponse:
    oid, value = "", None
    while at < end:
        tag, start, at = read_header(data, at, end)
        if tag == tags.CONTEXT_0:
            oid = text_of(data[start:at])
        elif tag == tags.CONTEXT_0 + 1:
            value = data[start:at]
    return IntermediateResponse(oid, value)
