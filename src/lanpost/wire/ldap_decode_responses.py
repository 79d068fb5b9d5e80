"""The responses of LDAP from BER: each function takes the contents of one operation (RFC 4511 §4.1.9 to §4.13)."""

from __future__ import annotations

from lanpost.wire import ldap_tags as tags
from lanpost.wire.ber import (
    ENUMERATED,
    OCTETS,
    SEQUENCE,
    SET,
    read_expected,
    read_header,
    read_integer,
    read_text,
    text_of,
)
from lanpost.wire.ldap_decode_requests import read_attribute
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
)

_LEAST_QUICK = 8  # octets, of an attribute whose description and value are empty
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
    """Attributes with a single value and lengths of one octet, as most are, are read in one go."""
    name, at = read_text(data, at, end)
    at, end = read_expected(data, at, end, SEQUENCE)
    attributes: list[Attribute] = []
    while at < end:
        if end - at >= _LEAST_QUICK:
            # 30 a 04 b description 31 c 04 d value: whatever length is wrong or long, one of the sums is.
            stop = at + 2 + data[at + 1]
            set_at = at + 4 + data[at + 3]
            value_at = set_at + 4
            length = stop - value_at
            if (
                stop <= end
                and length >= 0
                and stop - at < 0x80
                and data[set_at + 3] == length
                and data[set_at + 1] == length + 2
                and data[at] == SEQUENCE
                and data[at + 2] == OCTETS
                and data[set_at + 2] == OCTETS
                and data[set_at] == SET
            ):
                attributes.append((text_of(data[at + 4 : set_at]), (data[value_at:stop],)))
                at = stop
                continue
        start, at = read_expected(data, at, end, SEQUENCE)
        attributes.append(read_attribute(data, start, at))
    return SearchEntry(name, tuple(attributes))


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
