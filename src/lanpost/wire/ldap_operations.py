"""Which response ends which request of LDAP, for both sessions, and what both sides agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lanpost.wire import ldap_tags as tags
from lanpost.wire.ldap_messages import (
    AddRequest,
    AddResponse,
    BindRequest,
    BindResponse,
    CompareRequest,
    CompareResponse,
    DeleteRequest,
    DeleteResponse,
    ExtendedRequest,
    ExtendedResponse,
    IntermediateResponse,
    ModifyDnRequest,
    ModifyDnResponse,
    ModifyRequest,
    ModifyResponse,
    Response,
    Result,
    SearchDone,
    SearchEntry,
    SearchReference,
    SearchRequest,
)

FinalResponse = (
    BindResponse
    | SearchDone
    | ModifyResponse
    | AddResponse
    | DeleteResponse
    | ModifyDnResponse
    | CompareResponse
    | ExtendedResponse
)
FINAL_RESPONSES: Final[Mapping[type, type[FinalResponse]]] = {  # of each request that has one
    BindRequest: BindResponse,
    SearchRequest: SearchDone,
    ModifyRequest: ModifyResponse,
    AddRequest: AddResponse,
    DeleteRequest: DeleteResponse,
    ModifyDnRequest: ModifyDnResponse,
    CompareRequest: CompareResponse,
    ExtendedRequest: ExtendedResponse,
}
TAGS: Final[Mapping[int, type]] = {  # of those requests
    tags.BIND_REQUEST: BindRequest,
    tags.SEARCH_REQUEST: SearchRequest,
    tags.MODIFY_REQUEST: ModifyRequest,
    tags.ADD_REQUEST: AddRequest,
    tags.DELETE_REQUEST: DeleteRequest,
    tags.MODIFY_DN_REQUEST: ModifyDnRequest,
    tags.COMPARE_REQUEST: CompareRequest,
    tags.EXTENDED_REQUEST: ExtendedRequest,
}
RESPONSES: Final = (*FINAL_RESPONSES.values(), SearchEntry, SearchReference, IntermediateResponse)
START_TLS_OID: Final = "1.3.6.1.4.1.1466.20037"  # RFC 4511 §4.14.1
NOTICE_OF_DISCONNECTION_OID: Final = "1.3.6.1.4.1.1466.20036"  # RFC 4511 §4.4.1


def is_start_tls(operation: object) -> bool:
    return isinstance(operation, ExtendedRequest) and operation.oid == START_TLS_OID


def answers(request: type, response: Response) -> bool:
    """Whether a request of this kind may get such a response, the last one or not (RFC 4511 §4.5.2, §4.13)."""
    kind = type(response)
    if kind is IntermediateResponse or kind is FINAL_RESPONSES[request]:
        return True
    return request is SearchRequest and kind in (SearchEntry, SearchReference)


def final_response(request: type, result: Result) -> Response:
    """The response that ends a request of this kind with this result and nothing else."""
    return FINAL_RESPONSES[request](result)
