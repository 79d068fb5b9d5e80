"""Registers a terminal with a directory over LDAP: it writes where it is into its own entry, or a lease below it.

The terminal logs in as its entry, with the token's secret, over TLS that the pinned authority vouches for (in the
clear on loopback only). Where the directory has leases (RFC 2589) its own clock tells how long one lasts; elsewhere
time stamps do, put right by the directory's clock. Standard library only; no name is ever resolved.

Raises RegistrarUnreachable, RegistrarUntrusted, RegistrationRefused.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lanpost.content.directory_entry import (
    BOUND_CLASS,
    LOCATION,
    Attributes,
    entries_of,
    location_of,
)
from lanpost.content.generalized_time import time_of
from lanpost.errors import (
    DeliveryError,
    DirectoryRefused,
    DirectoryUnreachable,
    DirectoryUntrusted,
    InvalidValue,
    RegistrarUnreachable,
    RegistrarUntrusted,
    RegistrationRefused,
)
from lanpost.model.binding import Binding, Source
from lanpost.model.directory_url import DirectoryUrl
from lanpost.model.endpoint import Endpoint
from lanpost.model.registration import Registration
from lanpost.model.token import REGISTRAR_NAME, EnrolmentToken
from lanpost.net.ldap_connection import LdapConnection, Trust
from lanpost.net.registrar_access import CONNECT_SECONDS, connect_from, is_want_of_way, verifying
from lanpost.service.directory_modifications import (
    LEASE_ADDRESS,
    add_lease_request,
    bind_request,
    has_class,
    has_leases,
    is_located,
    lease_name,
    move_lease_request,
    unbind_request,
)
from lanpost.wire.ldap_filter import Present
from lanpost.wire.ldap_messages import ModifyRequest, ResultCode, Scope, SearchRequest

# From the handshake to the last answer; directories answer a wrong password late, ours after 15 s at most.
EXCHANGE_SECONDS = 20.0
LIFETIME = timedelta(hours=24)  # asked for where the directory gives none by itself
CLOCK_TOLERANCE = timedelta(seconds=5)  # between the directory's clock and ours; its own stamps are cut to seconds

_READ = ("objectClass", *LEASE_ADDRESS, *LOCATION, "modifyTimestamp", "entryTtl")
_BUSY = (
    ResultCode.TIME_LIMIT_EXCEEDED,
    ResultCode.ADMIN_LIMIT_EXCEEDED,
    ResultCode.REFERRAL,  # a copy that is only read: the token may name the one that is written
    ResultCode.BUSY,
    ResultCode.UNAVAILABLE,
    ResultCode.OTHER,
)
_ENROL_ANEW = "have a new token made with `lanpost terminal rotate --ldap` at the server, and enrol with it"
_REMEDIES = {  # the HTTP status that says the same, and what to do
    ResultCode.INVALID_CREDENTIALS: (401, _ENROL_ANEW),
    ResultCode.INAPPROPRIATE_AUTHENTICATION: (401, _ENROL_ANEW),
    ResultCode.CONFIDENTIALITY_REQUIRED: (403, "the directory must offer TLS: give it a certificate"),
    ResultCode.INSUFFICIENT_ACCESS_RIGHTS: (
        403,
        "the directory must let a terminal write its own entry (deploy/openldap/config.ldif has rules that do)",
    ),
    ResultCode.NO_SUCH_OBJECT: (404, "have the terminal added with `lanpost terminal add --ldap` at the server"),
    ResultCode.UNDEFINED_ATTRIBUTE_TYPE: (422, "load deploy/openldap/lanpost-schema.ldif into the directory"),
    ResultCode.OBJECT_CLASS_VIOLATION: (422, "load deploy/openldap/lanpost-schema.ldif into the directory"),
}


@dataclass(frozen=True, slots=True)
class _Session:
    """A connection on which the terminal has logged in, and the own address that it is made from."""

    connection: LdapConnection
    host: str


class LdapRegistration:
    """One terminal at one directory: `url` names its entry. `authority` is PEM, `source` an own address or ""."""

    def __init__(self, url: str, token: EnrolmentToken, authority: str, source: str) -> None:
        self._url = DirectoryUrl.parse(url)
        self._shown = str(self._url.of(""))
        self._name = self._url.entry
        self._token = token
        self._authority = authority
        self._source = source
        self._clock_lag = timedelta()  # of ours behind the directory's

    async def log_in(self) -> None:
        """Make sure that it is the token's directory, and takes the token's secret."""
        async with self._logged_in():
            pass

    async def register(self, port: int) -> Registration:
        """Write that mail is taken at the own address of this very connection, and `port`."""
        async with self._logged_in() as session:
            endpoint = Endpoint.of(session.host, port)
            entry, leases = await self._own_entry(session)
            if leases:
                found = await self._write_lease(session, entry, endpoint)
            else:
                found = await self._write_entry(session, entry, endpoint)
        return self._confirmed(found, endpoint)

    async def unregister(self) -> None:
        """Take the location back. That there was none is no error."""
        async with self._logged_in() as session:
            entry, leases = await self._own_entry(session)
            if leases:
                try:
                    await session.connection.delete(lease_name(self._name), EXCHANGE_SECONDS)
                except DirectoryRefused as error:
                    if error.code != ResultCode.NO_SUCH_OBJECT:
                        raise
            if is_located(entry):
                await self._clear_entry(session, entry)

    @asynccontextmanager
    async def _logged_in(self) -> AsyncIterator[_Session]:
        """A session; what goes wrong in it comes out as the registrar's errors."""
        dialling = _Dialling(self._source)
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                connection = await LdapConnection.connect(
                    self._url.server,
                    EXCHANGE_SECONDS,
                    self._trusts(),
                    start_tls=self._url.starts_tls,
                    dialled=dialling.dial,
                )
                try:
                    await connection.bind(self._name, self._token.secret.encode(), EXCHANGE_SECONDS)
                    yield _Session(connection, dialling.host)
                finally:
                    connection.close()
        except TimeoutError:
            raise RegistrarUnreachable(f"{self._shown} does not answer") from None
        except DirectoryUntrusted as error:
            raise RegistrarUntrusted(
                f"{error}; give the directory a certificate of the token's authority (`lanpost ca issue-server`), "
                "or enrol again with a new token, unless somebody has put himself in its place"
            ) from None
        except DirectoryUnreachable as error:
            raise RegistrarUnreachable(str(error), no_way=dialling.no_way) from None
        except DirectoryRefused as error:
            raise self._refusal(error) from None

    def _trusts(self) -> Sequence[Trust]:
        """Any certificate of the pinned authority that is the directory's: for its IP address, or a registrar's."""
        if not self._url.is_secure and not self._url.starts_tls:
            return ()
        context = verifying(self._authority)
        return Trust(context), Trust(context, REGISTRAR_NAME)

    async def _own_entry(self, session: _Session) -> tuple[Attributes, bool]:
        """The terminal's entry, and whether leases may stand below it. It must be that of the token's address."""
        entry = await self._read(session, self._name)
        if entry is None:
            raise DirectoryRefused(f"{self._name} is not there", code=ResultCode.NO_SUCH_OBJECT)
        address = self._token.address
        borne = [each.address for each in entries_of(entry, str(address).rpartition("@")[2])]
        if borne and address not in borne:
            raise RegistrationRefused(
                f"{self._shown}: {self._name} is the entry of {borne[0]}, not of {address}; {_ENROL_ANEW}",
                http_status=403,
            )
        root = SearchRequest("", Scope.BASE, Present("objectClass"), ("dynamicSubtrees",))
        found = await session.connection.search(root, EXCHANGE_SECONDS)
        subtrees = [value for each in found.entries for _, values in each.attributes for value in values]
        return entry, has_leases(self._name, subtrees)

    async def _read(self, session: _Session, name: str) -> Attributes | None:
        """What of an entry matters here, by attributes in lower case; None: it is not there."""
        request = SearchRequest(name, Scope.BASE, Present("objectClass"), _READ)
        try:
            found = await session.connection.search(request, EXCHANGE_SECONDS)
        except DirectoryRefused as error:
            if error.code == ResultCode.NO_SUCH_OBJECT:
                return None
            raise
        for entry in found.entries:
            return {name.partition(";")[0].lower(): values for name, values in entry.attributes}
        return None

    async def _write_lease(self, session: _Session, entry: Attributes, endpoint: Endpoint) -> Attributes:
        """The lease says where; it is given its time by the directory, from this write on."""
        # No time stamps: the directory has the right ones, whatever this terminal's clock says.
        where = location_of(self._binding(endpoint, datetime.now(UTC)))
        where = {name: values for name, values in where.items() if name not in ("lanpostUpdated", "lanpostExpires")}
        connection, name = session.connection, lease_name(self._name)
        move, add = move_lease_request(self._name, where), add_lease_request(self._name, entry, where)
        try:
            await connection.modify(move, EXCHANGE_SECONDS)
        except DirectoryRefused as error:
            if error.code != ResultCode.NO_SUCH_OBJECT:
                raise
            await connection.add(add, EXCHANGE_SECONDS)
        if is_located(entry):  # from before there were leases, or by an administrator: it leads mail elsewhere
            await self._clear_entry(session, entry)
        return await self._read(session, name) or {}

    async def _write_entry(self, session: _Session, entry: Attributes, endpoint: Endpoint) -> Attributes:
        """The entry itself says where and until when; one of our directories sets the times by its own rules."""
        for _ in range(2):
            binding = self._binding(endpoint, datetime.now(UTC) + self._clock_lag)
            where, is_bound = location_of(binding), has_class(entry, BOUND_CLASS)
            await self._change(
                session,
                bind_request(self._name, where, with_class=not is_bound),
                bind_request(self._name, where, with_class=is_bound),
            )
            entry = await self._read(session, self._name) or {}
            stamp = _time(entry, "modifytimestamp")
            if stamp is None or _time(entry, "lanpostupdated") != binding.updated:
                break
            if abs(stamp - binding.updated) <= CLOCK_TOLERANCE:
                break
            self._clock_lag += stamp - binding.updated
        return entry

    async def _clear_entry(self, session: _Session, entry: Attributes) -> None:
        is_bound = has_class(entry, BOUND_CLASS)
        await self._change(
            session,
            unbind_request(self._name, with_class=is_bound),
            unbind_request(self._name, with_class=not is_bound),
        )

    async def _change(self, session: _Session, request: ModifyRequest, otherwise: ModifyRequest) -> None:
        """Modify; where the entry has or lacks its class against what was read, as it is now."""
        mistaken = (
            ResultCode.ATTRIBUTE_OR_VALUE_EXISTS,
            ResultCode.NO_SUCH_ATTRIBUTE,
            ResultCode.OBJECT_CLASS_VIOLATION,
        )
        try:
            await session.connection.modify(request, EXCHANGE_SECONDS)
        except DirectoryRefused as error:
            if error.code not in mistaken:
                raise
            try:
                await session.connection.modify(otherwise, EXCHANGE_SECONDS)
            except DirectoryRefused:
                raise error from None

    def _binding(self, endpoint: Endpoint, now: datetime) -> Binding:
        address = self._token.address
        return Binding(address, endpoint, now, now + LIFETIME, Source.AGENT, address.key)

    def _confirmed(self, entry: Attributes, endpoint: Endpoint) -> Registration:
        """What the directory holds now. It may let nobody read the times: then those that were asked for."""
        updated = _time(entry, "lanpostupdated") or _time(entry, "modifytimestamp") or datetime.now(UTC)
        expires = _time(entry, "lanpostexpires")
        seconds = entry.get("entryttl", (b"",))[0]
        if expires is None and seconds.isdigit():
            expires = updated + timedelta(seconds=int(seconds[:9]))
        lifetime = (expires - updated).total_seconds() if expires else None
        return Registration(
            str(self._token.address),
            str(endpoint),
            updated.isoformat(),
            expires.isoformat() if expires else "",
            lifetime,
            str(self._url),
        )

    def _refusal(self, error: DirectoryRefused) -> RegistrarUnreachable | RegistrationRefused:
        if error.code in _BUSY:
            return RegistrarUnreachable(f"{self._shown} cannot do it now: {error}")
        known = next((remedy for code, remedy in _REMEDIES.items() if code == error.code), None)
        status, remedy = known or (422, "")
        text = f"{self._shown} refuses: {error}"
        return RegistrationRefused(f"{text}; {remedy}" if remedy else text, http_status=status)


class _Dialling:
    """Connects from a certain own address. `host`: the own address that it came to; `no_way`: none leads there."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.host = ""
        self.no_way = False

    async def dial(self, endpoint: Endpoint, _seconds: float) -> socket.socket:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                sock = await connect_from(self._source, endpoint.host, endpoint.port)
        except TimeoutError:
            raise _failure(f"{endpoint} does not answer") from None
        except OSError as error:
            self.no_way = is_want_of_way(error)
            raise _failure(f"{endpoint}: {error.strerror or error}") from None
        self.host = sock.getsockname()[0].partition("%")[0]
        if ipaddress.ip_address(self.host).is_link_local and ":" in self.host:
            sock.close()
            self.no_way = True
            raise _failure(f"{endpoint} is reached from a link-local address only, which holds on this link alone")
        return sock


def _failure(text: str) -> DeliveryError:
    return DeliveryError(text, permanent=False, status="4.4.1")


def _time(entry: Attributes, key: str) -> datetime | None:
    values = entry.get(key)
    try:
        return time_of(values[0].decode("ascii", "replace")) if values else None
    except InvalidValue:
        return None
