"""The requests of LDAP from BER: each function takes the contents of one operation (RFC 4511 §4.2 to §4.12)."""

from __future__ import annotations

from typing import Final

from lanpost.errors import InvalidLdapValue
from lanpost.wire import ldap_tags as tags
from lanpost.wire.ber import (
    ENUMERATED,
    SEQUENCE,
    SET,
    integer_of,
    read_boolean,
    read_expected,
    read_header,
    read_integer,
    read_octets,
    read_text,
    text_of,
)
from lanpost.wire.ldap_filter import Equals, Filter
from lanpost.wire.ldap_filter_codec import EQUALS, read_filter
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    AddRequest,
    Attribute,
    BindRequest,
    CompareRequest,
    DeleteRequest,
    ExtendedRequest,
    Modification,
    ModificationKind,
    ModifyDnRequest,
    ModifyRequest,
    ResultCode,
    Scope,
    SearchRequest,
    UnbindRequest,
    Values,
)

_SCOPES: Final = tuple(Scope)
_KINDS: Final = tuple(ModificationKind)
_DEREFERENCE_MODES: Final = 4

# Clients ask for the same attributes, with the same limits, again and again: what has been read once is looked up.
# Full tables begin anew.
_MAX_REMEMBERED: Final = 512
_MAX_REMEMBERED_OCTETS: Final = 256
_selections: dict[bytes, tuple[str, ...]] = {}
_limits: dict[bytes, tuple[Scope, int, int, int, bool]] = {}
_LIMITS_OCTETS: Final = 15  # of scope, dereference, size, time and types-only, where the limits take an octet each


def bind(data: bytes, at: int, end: int) -> BindRequest:
    version, at = read_integer(data, at, end)
    name, at = read_text(data, at, end)
    tag, start, stop = read_header(data, at, end)
    if tag == tags.CONTEXT_0:
        return BindRequest(name, data[start:stop], "", version)
    if tag != tags.SASL:
        raise InvalidLdapValue("an unknown kind of bind", code=ResultCode.AUTH_METHOD_NOT_SUPPORTED)
    mechanism, at = read_text(data, start, stop)
    if not mechanism:  # RFC 4511 §4.2.1: how a client gives up a bind of several steps
        raise InvalidLdapValue("a bind without a mechanism", code=ResultCode.AUTH_METHOD_NOT_SUPPORTED)
    credentials = read_octets(data, at, stop)[0] if at < stop else None
    return BindRequest(name, credentials, mechanism, version)


def unbind(_data: bytes, _at: int, _end: int) -> UnbindRequest:
    return UnbindRequest()


def search(data: bytes, at: int, end: int) -> SearchRequest:
    quick = _quick_search(data, at, end)
    if quick is not None:
        return quick
    base, at = read_text(data, at, end)
    limits_at = at
    scope, dereference, size_limit, time_limit, types_only, at = _read_limits(data, at, end)
    if at - limits_at == _LIMITS_OCTETS:
        if len(_limits) >= _MAX_REMEMBERED:
            _limits.clear()
        _limits[data[limits_at:at]] = (scope, dereference, size_limit, time_limit, types_only)
    filter_, at = read_filter(data, at, end)
    attributes = _selection(data, at, end)
    return SearchRequest(base, scope, filter_, attributes, size_limit, time_limit, types_only, dereference)


def _quick_search(data: bytes, at: int, end: int) -> SearchRequest | None:
    """The usual search, read in one go; None leaves it to the long way, with its checks.

    That nothing reaches beyond `end` follows from the last step: what was looked up is known to be a whole element,
    and it lies between the filter and `end`.
    """
    length = data[at + 1] if end - at > _LIMITS_OCTETS else 0x80
    if length >= 0x80 or data[at] != 0x04:
        return None
    at += 2
    base_end = at + length
    filter_at = base_end + _LIMITS_OCTETS
    limits = _limits.get(data[base_end:filter_at])
    if limits is None or filter_at + 1 >= end:
        return None
    length = data[filter_at + 1]
    if length >= 0x80:
        return None
    filter_end = filter_at + 2 + length
    selection = _selections.get(data[filter_end:end])
    if selection is None:
        return None
    filter_: Filter | None = None
    if data[filter_at] == EQUALS and length > 3:
        attribute_end = filter_at + 4 + data[filter_at + 3]
        if attribute_end + 1 < filter_end and data[filter_at + 2] == data[attribute_end] == 0x04:
            value_at = attribute_end + 2
            # A length of more than an octet would be 0x80 at least, more than there is.
            if value_at + data[attribute_end + 1] == filter_end:
                filter_ = Equals(text_of(data[filter_at + 4 : attribute_end]), data[value_at:filter_end])
    if filter_ is None:
        filter_, stop = read_filter(data, filter_at, filter_end)
        if stop != filter_end:
            return None
    scope, dereference, size_limit, time_limit, types_only = limits
    base = text_of(data[at:base_end])
    return SearchRequest(base, scope, filter_, selection, size_limit, time_limit, types_only, dereference)


def _read_limits(data: bytes, at: int, end: int) -> tuple[Scope, int, int, int, bool, int]:
    scope, at = read_integer(data, at, end, ENUMERATED)
    dereference, at = read_integer(data, at, end, ENUMERATED)
    size_limit, at = read_integer(data, at, end)
    time_limit, at = read_integer(data, at, end)
    types_only, at = read_boolean(data, at, end)
    if not 0 <= scope < len(_SCOPES):
        raise InvalidLdapValue(f"an unknown scope, {scope}")
    if not 0 <= dereference < _DEREFERENCE_MODES:
        raise InvalidLdapValue(f"an unknown way with aliases, {dereference}")
    if size_limit < 0 or time_limit < 0:
        raise InvalidLdapValue("a negative limit")
    return _SCOPES[scope], dereference, size_limit, time_limit, types_only, at


def _selection(data: bytes, at: int, end: int) -> tuple[str, ...]:
    here = at
    at, stop = read_expected(data, at, end, SEQUENCE)
    found = []
    while at < stop:
        name, at = read_text(data, at, stop)
        found.append(name)
    selection = tuple(found)
    if stop == end and end - here <= _MAX_REMEMBERED_OCTETS:
        if len(_selections) >= _MAX_REMEMBERED:
            _selections.clear()
        _selections[data[here:end]] = selection
    return selection


def modify(data: bytes, at: int, end: int) -> ModifyRequest:
    name, at = read_text(data, at, end)
    at, end = read_expected(data, at, end, SEQUENCE)
    modifications = []
    while at < end:
        start, stop = read_expected(data, at, end, SEQUENCE)
        kind, start = read_integer(data, start, stop, ENUMERATED)
        if not 0 <= kind < len(_KINDS):
            raise InvalidLdapValue(f"an unknown kind of modification, {kind}")
        start, inner = read_expected(data, start, stop, SEQUENCE)
        attribute, values = read_attribute(data, start, inner)
        modifications.append(Modification(_KINDS[kind], attribute, values))
        at = stop
    return ModifyRequest(name, tuple(modifications))


def read_attribute(data: bytes, at: int, end: int) -> Attribute:
    """The contents of an Attribute or PartialAttribute (RFC 4511 §4.1.7)."""
    description, at = read_text(data, at, end)
    at, end = read_expected(data, at, end, SET)
    return description, read_values(data, at, end)


def read_values(data: bytes, at: int, end: int) -> Values:
    values = []
    while at < end:
        value, at = read_octets(data, at, end)
        values.append(value)
    return tuple(values)


def add(data: bytes, at: int, end: int) -> AddRequest:
    name, at = read_text(data, at, end)
    at, end = read_expected(data, at, end, SEQUENCE)
    attributes = []
    while at < end:
        start, at = read_expected(data, at, end, SEQUENCE)
        attributes.append(read_attribute(data, start, at))
    return AddRequest(name, tuple(attributes))


def delete(data: bytes, at: int, end: int) -> DeleteRequest:
    return DeleteRequest(text_of(data[at:end]))


def modify_dn(data: bytes, at: int, end: int) -> ModifyDnRequest:
    name, at = read_text(data, at, end)
    new_rdn, at = read_text(data, at, end)
    delete_old_rdn, at = read_boolean(data, at, end)
    new_superior = None
    if at < end and data[at] == tags.CONTEXT_0:
        new_superior, at = read_text(data, at, end, tags.CONTEXT_0)
    return ModifyDnRequest(name, new_rdn, delete_old_rdn, new_superior)


def compare(data: bytes, at: int, end: int) -> CompareRequest:
    name, at = read_text(data, at, end)
    at, end = read_expected(data, at, end, SEQUENCE)
    attribute, at = read_text(data, at, end)
    value, at = read_octets(data, at, end)
    return CompareRequest(name, attribute, value)


def abandon(data: bytes, at: int, end: int) -> AbandonRequest:
    return AbandonRequest(integer_of(data, at, end))


def extended(data: bytes, at: int, end: int) -> ExtendedRequest:
    oid, at = read_text(data, at, end, tags.CONTEXT_0)
    value = None
    if at < end and data[at] == tags.CONTEXT_0 + 1:
        value, at = read_octets(data, at, end, tags.CONTEXT_0 + 1)
    return ExtendedRequest(oid, value)
