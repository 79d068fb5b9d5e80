"""LDAP messages to BER (RFC 4511 §4). What the values hold is written as it is: their makers keep it in bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from lanpost.wire import ldap_tags as tags
from lanpost.wire.ber import ENUMERATED, SEQUENCE, SET, boolean, element, header, integer, octets, text
from lanpost.wire.ldap_filter_codec import encode_filter
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    AddRequest,
    AddResponse,
    Attribute,
    BindRequest,
    BindResponse,
    CompareRequest,
    CompareResponse,
    Control,
    DeleteRequest,
    DeleteResponse,
    ExtendedRequest,
    ExtendedResponse,
    IntermediateResponse,
    Message,
    ModifyDnRequest,
    ModifyDnResponse,
    ModifyRequest,
    ModifyResponse,
    Request,
    Response,
    Result,
    SearchDone,
    SearchEntry,
    SearchReference,
    SearchRequest,
    UnbindRequest,
)


def encode_message(message: Message) -> bytes:
    return encode_operation(message.id, message.operation, message.controls)


def encode_operation(message_id: int, operation: Request | Response, controls: Sequence[Control] = ()) -> bytes:
    """A whole message, from its parts."""
    contents = integer(message_id) + _ENCODERS[type(operation)](operation)
    if controls:
        contents += element(tags.CONTROLS, b"".join([_control(control) for control in controls]))
    return element(SEQUENCE, contents)


def encode_attribute(name: str, values: Iterable[bytes]) -> bytes:
    """A PartialAttribute (RFC 4511 §4.1.7), for whoever keeps it to send it often."""
    return element(SEQUENCE, text(name) + element(SET, b"".join([octets(value) for value in values])))


def encode_search_entry(message_id: int, name: str, attributes: bytes) -> bytes:
    """A SearchEntry without controls, of attributes that are encoded and joined already."""
    encoded = name.encode()
    if len(encoded) + len(attributes) < _SHORT:  # every length takes one octet
        name_length, length = len(encoded), len(attributes)
        operation_length = name_length + length + 4
        number = message_id.to_bytes(message_id.bit_length() // 8 + 1, "big")
        return b"%c%c\x02%c%b\x64%c\x04%c%b\x30%c%b" % (
            SEQUENCE,
            operation_length + len(number) + 4,
            len(number),
            number,
            operation_length,
            name_length,
            encoded,
            length,
            attributes,
        )
    contents = octets(encoded) + header(SEQUENCE, len(attributes)) + attributes
    identifier = integer(message_id) + header(tags.SEARCH_ENTRY, len(contents))
    return header(SEQUENCE, len(identifier) + len(contents)) + identifier + contents


_SHORT: Final = 0x80 - 4 - 8  # less what stands around name and attributes, a message id of four octets included
_DONE: Final = b"\x65\x07\x0a\x01\x00\x04\x00\x04\x00"


def encode_search_done(message_id: int) -> bytes:
    """A SearchDone that says success, without controls."""
    number = integer(message_id)
    return bytes((SEQUENCE, len(number) + len(_DONE))) + number + _DONE


def _control(control: Control) -> bytes:
    critical = boolean(True) if control.critical else b""
    value = b"" if control.value is None else octets(control.value)
    return element(SEQUENCE, text(control.oid) + critical + value)


def _optional(tag: int, value: bytes | None) -> bytes:
    return b"" if value is None else element(tag, value)


def _attributes(attributes: Iterable[Attribute]) -> bytes:
    return element(SEQUENCE, b"".join([encode_attribute(name, values) for name, values in attributes]))


# Requests


def _bind_request(request: BindRequest) -> bytes:
    if request.mechanism:
        credentials = b"" if request.credentials is None else octets(request.credentials)
        choice = element(tags.SASL, text(request.mechanism) + credentials)
    else:
        choice = element(tags.CONTEXT_0, request.credentials or b"")
    return element(tags.BIND_REQUEST, integer(request.version) + text(request.name) + choice)


def _unbind_request(_request: UnbindRequest) -> bytes:
    return header(tags.UNBIND_REQUEST, 0)


def _search_request(request: SearchRequest) -> bytes:
    contents = b"".join(
        (
            text(request.base),
            integer(request.scope, ENUMERATED),
            integer(request.dereference, ENUMERATED),
            integer(request.size_limit),
            integer(request.time_limit),
            boolean(request.types_only),
            encode_filter(request.filter),
            _selection(request.attributes),
        )
    )
    return element(tags.SEARCH_REQUEST, contents)


def _selection(attributes: Iterable[str]) -> bytes:
    return element(SEQUENCE, b"".join([text(name) for name in attributes]))


def _modify_request(request: ModifyRequest) -> bytes:
    parts = [
        element(SEQUENCE, integer(item.kind, ENUMERATED) + encode_attribute(item.attribute, item.values))
        for item in request.modifications
    ]
    return element(tags.MODIFY_REQUEST, text(request.name) + element(SEQUENCE, b"".join(parts)))


def _add_request(request: AddRequest) -> bytes:
    return element(tags.ADD_REQUEST, text(request.name) + _attributes(request.attributes))


def _delete_request(request: DeleteRequest) -> bytes:
    return element(tags.DELETE_REQUEST, request.name.encode())


def _modify_dn_request(request: ModifyDnRequest) -> bytes:
    superior = b"" if request.new_superior is None else element(tags.CONTEXT_0, request.new_superior.encode())
    contents = text(request.name) + text(request.new_rdn) + boolean(request.delete_old_rdn) + superior
    return element(tags.MODIFY_DN_REQUEST, contents)


def _compare_request(request: CompareRequest) -> bytes:
    assertion = element(SEQUENCE, text(request.attribute) + octets(request.value))
    return element(tags.COMPARE_REQUEST, text(request.name) + assertion)


def _abandon_request(request: AbandonRequest) -> bytes:
    return integer(request.abandoned, tags.ABANDON_REQUEST)


def _extended_request(request: ExtendedRequest) -> bytes:
    oid = element(tags.CONTEXT_0, request.oid.encode())
    return element(tags.EXTENDED_REQUEST, oid + _optional(tags.CONTEXT_0 + 1, request.value))


# Responses


def _result(result: Result) -> bytes:
    referrals = b"".join([text(uri) for uri in result.referrals])
    return (
        integer(result.code, ENUMERATED)
        + text(result.matched_name)
        + text(result.text)
        + (element(tags.REFERRAL, referrals) if referrals else b"")
    )


def _bind_response(response: BindResponse) -> bytes:
    credentials = _optional(tags.SERVER_CREDENTIALS, response.credentials)
    return element(tags.BIND_RESPONSE, _result(response.result) + credentials)


def _search_entry(response: SearchEntry) -> bytes:
    return element(tags.SEARCH_ENTRY, text(response.name) + _attributes(response.attributes))


def _search_reference(response: SearchReference) -> bytes:
    return element(tags.SEARCH_REFERENCE, b"".join([text(uri) for uri in response.uris]))


def _extended_response(response: ExtendedResponse) -> bytes:
    oid = element(tags.RESPONSE_OID, response.oid.encode()) if response.oid else b""
    contents = _result(response.result) + oid + _optional(tags.RESPONSE_VALUE, response.value)
    return element(tags.EXTENDED_RESPONSE, contents)


def _intermediate_response(response: IntermediateResponse) -> bytes:
    oid = element(tags.CONTEXT_0, response.oid.encode()) if response.oid else b""
    return element(tags.INTERMEDIATE_RESPONSE, oid + _optional(tags.CONTEXT_0 + 1, response.value))


def _result_alone(tag: int) -> Callable[[Any], bytes]:
    return lambda response: element(tag, _result(response.result))


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    BindRequest: _bind_request,
    UnbindRequest: _unbind_request,
    SearchRequest: _search_request,
    ModifyRequest: _modify_request,
    AddRequest: _add_request,
    DeleteRequest: _delete_request,
    ModifyDnRequest: _modify_dn_request,
    CompareRequest: _compare_request,
    AbandonRequest: _abandon_request,
    ExtendedRequest: _extended_request,
    BindResponse: _bind_response,
    SearchEntry: _search_entry,
    SearchReference: _search_reference,
    SearchDone: _result_alone(tags.SEARCH_DONE),
    ModifyResponse: _result_alone(tags.MODIFY_RESPONSE),
    AddResponse: _result_alone(tags.ADD_RESPONSE),
    DeleteResponse: _result_alone(tags.DELETE_RESPONSE),
    ModifyDnResponse: _result_alone(tags.MODIFY_DN_RESPONSE),
    CompareResponse: _result_alone(tags.COMPARE_RESPONSE),
    ExtendedResponse: _extended_response,
    IntermediateResponse: _intermediate_response,
}
