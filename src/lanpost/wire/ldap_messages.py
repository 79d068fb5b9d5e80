"""The messages of LDAP as values (RFC 4511 §4): requests, responses, controls. Encoding is elsewhere.

Distinguished names and attribute descriptions are `str` as they came; attribute values are octets.
"""

from __future__ import annotations

from dataclasses import field
from enum import IntEnum

from lanpost.wire.cheap_value import value
from lanpost.wire.ldap_filter import Filter

Values = tuple[bytes, ...]
Attribute = tuple[str, Values]  # description and values


class ResultCode(IntEnum):
    """RFC 4511 §4.1.9 and appendix A; RFC 3909 §3; RFC 4533 §5."""

    SUCCESS = 0
    OPERATIONS_ERROR = 1
    PROTOCOL_ERROR = 2
    TIME_LIMIT_EXCEEDED = 3
    SIZE_LIMIT_EXCEEDED = 4
    COMPARE_FALSE = 5
    COMPARE_TRUE = 6
    AUTH_METHOD_NOT_SUPPORTED = 7
    STRONGER_AUTH_REQUIRED = 8
    REFERRAL = 10
    ADMIN_LIMIT_EXCEEDED = 11
    UNAVAILABLE_CRITICAL_EXTENSION = 12
    CONFIDENTIALITY_REQUIRED = 13
    SASL_BIND_IN_PROGRESS = 14
    NO_SUCH_ATTRIBUTE = 16
    UNDEFINED_ATTRIBUTE_TYPE = 17
    INAPPROPRIATE_MATCHING = 18
    CONSTRAINT_VIOLATION = 19
    ATTRIBUTE_OR_VALUE_EXISTS = 20
    INVALID_ATTRIBUTE_SYNTAX = 21
    NO_SUCH_OBJECT = 32
    ALIAS_PROBLEM = 33
    INVALID_DN_SYNTAX = 34
    ALIAS_DEREFERENCING_PROBLEM = 36
    INAPPROPRIATE_AUTHENTICATION = 48
    INVALID_CREDENTIALS = 49
    INSUFFICIENT_ACCESS_RIGHTS = 50
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING_TO_PERFORM = 53
    LOOP_DETECT = 54
    NAMING_VIOLATION = 64
    OBJECT_CLASS_VIOLATION = 65
    NOT_ALLOWED_ON_NON_LEAF = 66
    NOT_ALLOWED_ON_RDN = 67
    ENTRY_ALREADY_EXISTS = 68
    OBJECT_CLASS_MODS_PROHIBITED = 69
    AFFECTS_MULTIPLE_DSAS = 71
    OTHER = 80
    CANCELED = 118
    NO_SUCH_OPERATION = 119
    TOO_LATE = 120
    CANNOT_CANCEL = 121
    SYNC_REFRESH_REQUIRED = 4096


class Scope(IntEnum):
    BASE = 0
    ONE = 1
    SUBTREE = 2


class ModificationKind(IntEnum):
    ADD = 0
    DELETE = 1
    REPLACE = 2
    INCREMENT = 3  # RFC 4525


@value
class Control:
    oid: str
    critical: bool = False
    value: bytes | None = None


@value
class Modification:
    kind: ModificationKind
    attribute: str
    values: Values = ()


# Requests


@value
class BindRequest:
    """`mechanism` "" is a simple bind, with the password in `credentials`."""

    name: str
    credentials: bytes | None = field(default=None, repr=False)
    mechanism: str = ""
    version: int = 3


@value
class UnbindRequest:
    pass


@value
class SearchRequest:
    base: str
    scope: Scope
    filter: Filter
    attributes: tuple[str, ...] = ()
    size_limit: int = 0
    time_limit: int = 0  # seconds
    types_only: bool = False
    dereference: int = 0


@value
class ModifyRequest:
    name: str
    modifications: tuple[Modification, ...]


@value
class AddRequest:
    name: str
    attributes: tuple[Attribute, ...]


@value
class DeleteRequest:
    name: str


@value
class ModifyDnRequest:
    name: str
    new_rdn: str
    delete_old_rdn: bool
    new_superior: str | None = None


@value
class CompareRequest:
    name: str
    attribute: str
    value: bytes


@value
class AbandonRequest:
    abandoned: int  # message id


@value
class ExtendedRequest:
    oid: str
    value: bytes | None = None


Request = (
    BindRequest
    | UnbindRequest
    | SearchRequest
    | ModifyRequest
    | AddRequest
    | DeleteRequest
    | ModifyDnRequest
    | CompareRequest
    | AbandonRequest
    | ExtendedRequest
)


# Responses


@value
class Result:
    """The LDAPResult that every operation ends with. `code` may be one that ResultCode does not know."""

    code: int = ResultCode.SUCCESS
    text: str = ""
    matched_name: str = ""
    referrals: tuple[str, ...] = ()


@value
class BindResponse:
    result: Result
    credentials: bytes | None = None


@value
class SearchEntry:
    name: str
    attributes: tuple[Attribute, ...]


@value
class SearchReference:
    uris: tuple[str, ...]


@value
class SearchDone:
    result: Result


@value
class ModifyResponse:
    result: Result


@value
class AddResponse:
    result: Result


@value
class DeleteResponse:
    result: Result


@value
class ModifyDnResponse:
    result: Result


@value
class CompareResponse:
    result: Result


@value
class ExtendedResponse:
    result: Result
    oid: str = ""
    value: bytes | None = None


@value
class IntermediateResponse:
    oid: str = ""
    value: bytes | None = None


Response = (
    BindResponse
    | SearchEntry
    | SearchReference
    | SearchDone
    | ModifyResponse
    | AddResponse
    | DeleteResponse
    | ModifyDnResponse
    | CompareResponse
    | ExtendedResponse
    | IntermediateResponse
)


@value
class Message:
    """One LDAPMessage."""

    id: int
    operation: Request | Response
    controls: tuple[Control, ...] = ()
