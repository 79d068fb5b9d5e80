"""What the directory does for a client: bind, compare, writing and the extended operations; searches are elsewhere.

Knows no socket. Raises DirectoryRefused, ChartUnavailable and StoreError, which `refusal` turns into an answer.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import structlog

from lanpost.content.directory_schema import attribute_type
from lanpost.content.directory_values import same_value
from lanpost.errors import (
    ChartUnavailable,
    DirectoryRefused,
    InvalidLdapValue,
    InvalidName,
    LanpostError,
    StoreError,
)
from lanpost.model.account import CERTIFIED_ACCOUNTS
from lanpost.model.address import MailAddress
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.model.endpoint import Endpoint
from lanpost.model.networks import Network, is_within
from lanpost.net.ldap_asked import refuse_unknown
from lanpost.net.ldap_searches import Searches
from lanpost.net.login_delays import LoginDelays
from lanpost.service.directory_changes import refused
from lanpost.service.directory_login import DirectoryLogin, Identity
from lanpost.service.directory_search import node_at, place_of
from lanpost.service.directory_tree import Tree
from lanpost.service.directory_writing import DirectoryWriter, Writer
from lanpost.service.ports import Chart, Clock
from lanpost.wire.ldap_extensions import (
    CANCEL_OID,
    REFRESH_OID,
    WHO_AM_I_OID,
    Refresh,
    encode_refreshed,
    read_cancel,
)
from lanpost.wire.ldap_messages import (
    AddRequest,
    AddResponse,
    BindRequest,
    CompareRequest,
    CompareResponse,
    Control,
    DeleteRequest,
    DeleteResponse,
    ExtendedRequest,
    ExtendedResponse,
    Message,
    ModifyDnRequest,
    ModifyRequest,
    ModifyResponse,
    Request,
    Response,
    Result,
    ResultCode,
)
from lanpost.wire.ldap_operations import final_response

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Client:
    """Whose operation it is, and where he connects from."""

    identity: Identity
    peer: Endpoint | None  # None: gone already
    host: str
    is_secure: bool


class Answers(Protocol):
    """Where the answers to one operation go."""

    @property
    def message(self) -> Message: ...
    async def send(self, octets: bytes) -> None: ...
    def tell(self, response: Response, controls: Sequence[Control] = ()) -> None: ...
    def cancel(self, message_id: int) -> None:
        """Break off another operation of this client (RFC 3909). DirectoryRefused: that cannot be done."""


class Operations:
    """One directory, for all its clients."""

    def __init__(
        self,
        tree: Tree,
        chart: Chart,
        login: DirectoryLogin,
        writer: DirectoryWriter,
        searches: Searches,
        clock: Clock,
        *,
        networks_without_tls: Sequence[Network] = (),
        networks_without_delay: Sequence[Network] = (),
        delays: LoginDelays | None = None,
    ) -> None:
        self.searches = searches
        self._tree = tree
        self._chart = chart
        self._login = login
        self._writer = writer
        self._clock = clock
        self._networks_without_tls = tuple(networks_without_tls)
        self._networks_without_delay = tuple(networks_without_delay)
        self._delays = delays or LoginDelays()
        self._changing: WeakValueDictionary[MailAddress | None, asyncio.Lock] = WeakValueDictionary()

    async def log_in(self, client: Client, request: BindRequest, tls: ssl.SSLObject | None) -> Identity:
        """Who the client is from now on. A wrong password is answered late."""
        if request.version != 3:
            raise refused("this is LDAP 3", ResultCode.PROTOCOL_ERROR)
        try:
            if request.mechanism:
                identity = self._external(request, tls)
            else:
                password = request.credentials or b""
                if password and not client.is_secure and not is_within(client.host, self._networks_without_tls):
                    raise refused(
                        "a password crosses the network under TLS only: StartTLS, or ldaps:// at the same port",
                        ResultCode.CONFIDENTIALITY_REQUIRED,
                    )
                identity = self._login.simple(request.name, password)
        except DirectoryRefused as error:
            if error.code == ResultCode.INVALID_CREDENTIALS:
                # A server that asks for its own clients would keep all of them waiting behind one who guesses.
                asks_for_others = is_within(client.host, self._networks_without_delay)
                delay = 0.0 if asks_for_others else self._delays.failed(client.host, time.monotonic())
                log.info("ldap login refused", client=client.host, name=request.name[:200], delay=delay)
                await asyncio.sleep(delay)
            raise
        if not identity.is_anybody:
            self._delays.succeeded(client.host)
            log.debug("ldap login", client=client.host, name=identity.name, tls=client.is_secure)
        return identity

    def _external(self, request: BindRequest, tls: ssl.SSLObject | None) -> Identity:
        """SASL EXTERNAL (RFC 4422, appendix A): TLS has proved who it is."""
        if request.mechanism.upper() != "EXTERNAL":
            raise refused(
                f"{request.mechanism[:40]} is not offered; EXTERNAL is", ResultCode.AUTH_METHOD_NOT_SUPPORTED
            )
        address = _certified_address(tls)
        if not address:
            raise refused(
                "no client certificate of this directory's authority was shown (`lanpost ca issue` makes one)",
                ResultCode.INAPPROPRIATE_AUTHENTICATION,
            )
        identity = self._login.certificate(address)
        wanted = (request.credentials or b"").decode("utf-8", "replace")
        if wanted and not _names(wanted, identity):
            raise refused("nobody acts for somebody else here", ResultCode.INVALID_CREDENTIALS)
        return identity

    async def perform(self, client: Client, answers: Answers) -> None:
        """Whatever is neither a bind nor a search."""
        message = answers.message
        refuse_critical(message.controls)
        request, now = message.operation, self._clock()
        match request:
            case CompareRequest():
                answers.tell(await self._compare(client, request))
            case AddRequest(name, attributes):
                async with self._turn(name):
                    await self._writer.add(self._as_writer(client), name, attributes, now)
                self._log(client, "added", name)
                answers.tell(AddResponse(Result()))
            case ModifyRequest(name, modifications):
                async with self._turn(name):
                    await self._writer.modify(self._as_writer(client), name, modifications, now)
                answers.tell(ModifyResponse(Result()))
            case DeleteRequest(name):
                async with self._turn(name):
                    await self._writer.delete(self._as_writer(client), name)
                self._log(client, "deleted", name)
                answers.tell(DeleteResponse(Result()))
            case ModifyDnRequest():
                raise refused(
                    "entries are not renamed: an address is its terminal's name; add another entry and delete this",
                    ResultCode.UNWILLING_TO_PERFORM,
                )
            case ExtendedRequest():
                await self._extended(client, answers, request)
            case _:
                raise refused("no such operation", ResultCode.PROTOCOL_ERROR)

    async def _compare(self, client: Client, request: CompareRequest) -> CompareResponse:
        self.searches.refuse_strangers(client.identity)
        node = await node_at(self._tree, self._chart, place_of(self._tree, request.name), self._clock())
        kind = attribute_type(request.attribute)
        if kind is None:
            raise refused(f"{request.attribute[:80]} is no attribute here", ResultCode.UNDEFINED_ATTRIBUTE_TYPE)
        values = node.values(kind.name)
        if not values:
            raise refused(f"there is no {kind.name}", ResultCode.NO_SUCH_ATTRIBUTE)
        found = [same_value(kind, each, request.value) for each in values]
        if None in found:
            raise refused(f"that is no value of {kind.name}", ResultCode.INVALID_ATTRIBUTE_SYNTAX)
        return CompareResponse(Result(ResultCode.COMPARE_TRUE if any(found) else ResultCode.COMPARE_FALSE))

    async def _extended(self, client: Client, answers: Answers, request: ExtendedRequest) -> None:
        match request.oid:
            case _ if request.oid == WHO_AM_I_OID:
                name = client.identity.name
                answers.tell(ExtendedResponse(Result(), value=f"dn:{name}".encode() if name else b""))
            case _ if request.oid == REFRESH_OID:
                asked = _read(Refresh.read, request)
                async with self._turn(asked.name):
                    granted = await self._writer.refresh(
                        self._as_writer(client), asked.name, asked.seconds, self._clock()
                    )
                answers.tell(ExtendedResponse(Result(), REFRESH_OID, encode_refreshed(granted)))
            case _ if request.oid == CANCEL_OID:
                answers.cancel(_read(read_cancel, request))
                answers.tell(ExtendedResponse(Result()))
            case _:
                raise refused(f"{request.oid[:80]} is not known here", ResultCode.PROTOCOL_ERROR)

    def _turn(self, name: str) -> asyncio.Lock:
        """Changes to one entry one after another: each begins with what the one before it has left there."""
        try:
            address = self._tree.place(name).address
        except InvalidName:
            address = None  # it is refused where it is read
        return self._changing.setdefault(address, asyncio.Lock())

    def _as_writer(self, client: Client) -> Writer:
        identity = client.identity
        if identity.is_anybody:
            raise refused("bind first", ResultCode.STRONGER_AUTH_REQUIRED)
        if client.peer is None or not self._login.still(identity):
            raise refused(
                f"{identity.name} has another secret now, or none; bind again",
                ResultCode.INSUFFICIENT_ACCESS_RIGHTS,
            )
        return Writer(identity.terminal, client.peer)

    def _log(self, client: Client, what: str, name: str) -> None:
        log.info("directory changed", what=what, name=name[:200], by=client.identity.name, client=client.host)


def refusal(request: Request | Response, error: LanpostError) -> Response:
    """The answer that ends an operation which could not be done."""
    if isinstance(error, DirectoryRefused):
        result = Result(error.code, str(error), error.matched)
    elif isinstance(error, ChartUnavailable | StoreError):
        result = Result(ResultCode.UNAVAILABLE, str(error))
    else:
        result = Result(ResultCode.OTHER, str(error))
    return final_response(type(request), result)


def _read(read: Callable[[bytes | None], T], request: ExtendedRequest) -> T:
    try:
        return read(request.value)
    except InvalidLdapValue as error:
        raise refused(str(error), ResultCode.PROTOCOL_ERROR) from None


def refuse_critical(controls: Sequence[Control]) -> None:
    """DirectoryRefused (12) for a control that matters to the client: only searches have any (RFC 4511 §4.1.11)."""
    for control in controls:
        refuse_unknown(control)


def _names(wanted: str, identity: Identity) -> bool:
    """An authorisation identity (RFC 4513 §5.2.1.8) is that identity's own."""
    kind, _, name = wanted.partition(":")
    try:
        return kind.lower() == "dn" and DistinguishedName.parse(name) == DistinguishedName.parse(identity.name)
    except InvalidName:
        return False


def _certified_address(tls: ssl.SSLObject | None) -> str:
    """The mail address in the client's certificate; "" where he showed none."""
    shown: Any = tls.getpeercert() if tls is not None else None
    if not shown:
        return ""
    for kind, value in shown.get("subjectAltName", ()):
        if kind == "email":
            return str(value)
    subject = [pair for part in shown.get("subject", ()) for pair in part]
    if ("organizationalUnitName", CERTIFIED_ACCOUNTS) in subject:
        return ""  # an account's of OpenLDAP, which may be called as a terminal is
    return next((str(value) for kind, value in subject if kind == "commonName"), "")
