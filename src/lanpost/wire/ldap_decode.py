"""LDAP messages from BER (RFC 4511 §4). Raises LdapProtocolError, and nothing else, whatever the octets are.

InvalidLdapValue says which message could not be understood, where its frame is sound. What follows the known parts
of a sequence is passed over (§4, extensibility).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lanpost.errors import InvalidLdapValue, LdapProtocolError
from lanpost.wire import ldap_decode_requests as requests
from lanpost.wire import ldap_decode_responses as responses
from lanpost.wire import ldap_tags as tags
from lanpost.wire.ber import (
    INTEGER,
    MAX_ELEMENTS,
    SEQUENCE,
    check_elements,
    integer_of,
    read_boolean,
    read_expected,
    read_header,
    read_octets,
    read_text,
)
from lanpost.wire.ldap_messages import Control, Message, Request, Response

_OPERATIONS: Final[dict[int, Callable[[bytes, int, int], Request | Response]]] = {
    tags.BIND_REQUEST: requests.bind,
    tags.UNBIND_REQUEST: requests.unbind,
    tags.SEARCH_REQUEST: requests.search,
    tags.MODIFY_REQUEST: requests.modify,
    tags.ADD_REQUEST: requests.add,
    tags.DELETE_REQUEST: requests.delete,
    tags.MODIFY_DN_REQUEST: requests.modify_dn,
    tags.COMPARE_REQUEST: requests.compare,
    tags.ABANDON_REQUEST: requests.abandon,
    tags.EXTENDED_REQUEST: requests.extended,
    tags.BIND_RESPONSE: responses.bind,
    tags.SEARCH_ENTRY: responses.search_entry,
    tags.SEARCH_REFERENCE: responses.search_reference,
    tags.SEARCH_DONE: responses.search_done,
    tags.MODIFY_RESPONSE: responses.modify,
    tags.ADD_RESPONSE: responses.add,
    tags.DELETE_RESPONSE: responses.delete,
    tags.MODIFY_DN_RESPONSE: responses.modify_dn,
    tags.COMPARE_RESPONSE: responses.compare,
    tags.EXTENDED_RESPONSE: responses.extended,
    tags.INTERMEDIATE_RESPONSE: responses.intermediate,
}


def decode_message(octets: bytes) -> Message:
    """One message, all of it and nothing behind it."""
    return decode_at(octets, 0, len(octets))


def decode_at(data: bytes, at: int, end: int) -> Message:
    """The message that takes the octets from `at` up to `end`."""
    if end - at > 2 * MAX_ELEMENTS:  # a shorter one cannot hold more of them
        check_elements(data, at, end)
    # Nearly all messages have lengths of one octet here; the long way says what is wrong, where something is.
    length = data[at + 1] if end - at > 7 else 0x80
    if data[at : at + 1] == b"\x30" and length < 0x80 and at + 2 + length == end:
        at += 2
    else:
        at, stop = read_expected(data, at, end, SEQUENCE)
        if stop != end:
            raise LdapProtocolError("something follows the message")
    tag, start, at = read_header(data, at, end)
    if tag != INTEGER:
        raise LdapProtocolError("a message without an id")
    message_id = data[start] if at - start == 1 else integer_of(data, start, at)
    if message_id < 0 or (message_id > 0x7F and at - start == 1):
        raise LdapProtocolError("a negative message id")
    tag, start, at = read_header(data, at, end)
    decode = _OPERATIONS.get(tag)
    if decode is None:
        raise LdapProtocolError(f"an unknown operation, {tag:#04x}")
    try:
        return Message(message_id, decode(data, start, at), _controls(data, at, end) if at != end else ())
    except InvalidLdapValue as error:
        error.message_id, error.tag = message_id, tag
        raise


def _controls(data: bytes, at: int, end: int) -> tuple[Control, ...]:
    tag, at, _ = read_header(data, at, end)
    if tag != tags.CONTROLS:
        return ()
    controls = []
    while at < end:
        start, stop = read_expected(data, at, end, SEQUENCE)
        controls.append(_control(data, start, stop))
        at = stop
    return tuple(controls)


def _control(data: bytes, at: int, end: int) -> Control:
    oid, at = read_text(data, at, end)
    critical, value = False, None
    if at < end and data[at] == 0x01:
        critical, at = read_boolean(data, at, end)
    if at < end and data[at] == 0x04:
        value, at = read_octets(data, at, end)
    return Control(oid, critical, value)
