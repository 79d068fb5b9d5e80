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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lanpost.content.directory_entry import (
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
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.model.endpoint import Endpoint
from lanpost.model.proof import Proof
from lanpost.model.registration import Registration
from lanpost.model.token import REGISTRAR_NAME, EnrolmentToken
from lanpost.net.ldap_connection import LdapConnection, Trust
from lanpost.net.registrar_access import CONNECT_SECONDS, connect_from, is_want_of_way, verifying
from lanpost.service.directory_modifications import (
    LEASE_ADDRESS,
    has_leases,
    is_located,
    lease_attributes,
    lease_name,
    located,
    taken_away,
    with_bound_class,
)
from lanpost.wire.ldap_filter import Present
from lanpost.wire.ldap_messages import (
    AddRequest,
    Modification,
    ModifyRequest,
    ResultCode,
    Scope,
    SearchRequest,
)

# From the handshake to the last answer; directories answer a wrong password late, ours after 15 s at most.
EXCHANGE_SECONDS = 20.0
LIFETIME = timedelta(hours=24)  # as long as no directory has given another
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
_MISTAKEN = (  # about an entry's classes
    ResultCode.ATTRIBUTE_OR_VALUE_EXISTS,
    ResultCode.NO_SUCH_ATTRIBUTE,
    ResultCode.OBJECT_CLASS_VIOLATION,
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
        self._lifetime = LIFETIME
        self._proof: Proof | None = None

    async def log_in(self) -> None:
        """Make sure that it is the token's directory, and takes the token's secret."""
        async with self._logged_in():
            pass

    async def register(self, port: int, proof: Proof | None = None) -> Registration:
        """Write that mail is taken at the own address of this very connection, and `port`.

        `proof`: what whoever listens there will show.
        """
        self._proof = proof
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
                    connection.leave()
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
        return entry, has_leases(DistinguishedName.parse(self._name), subtrees)

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
        """The lease says where; the directory lets it live for so long from each write on."""
        connection, name = session.connection, lease_name(self._name)
        addresses = {each: entry.get(each.lower(), ()) for each in LEASE_ADDRESS}

        async def write(location: Attributes) -> None:
            try:
                await connection.modify(ModifyRequest(name, tuple(located(location))), EXCHANGE_SECONDS)
            except DirectoryRefused as error:
                if error.code != ResultCode.NO_SUCH_OBJECT:
                    raise
                request = AddRequest(name, tuple(lease_attributes(addresses, location)))
                await connection.add(request, EXCHANGE_SECONDS)

        found = await self._write(session, name, endpoint, write)
        if is_located(entry):  # from before there were leases, or for good: it leads mail elsewhere
            await self._clear_entry(session, entry)
        return found

    async def _write_entry(self, session: _Session, entry: Attributes, endpoint: Endpoint) -> Attributes:
        """The entry itself says where, and until when."""

        async def write(location: Attributes) -> None:
            plain = located(location)
            both = (plain, with_bound_class(plain)) if is_located(entry) else (with_bound_class(plain), plain)
            await self._change(session, *both)

        return await self._write(session, self._name, endpoint, write)

    async def _write(
        self, session: _Session, name: str, endpoint: Endpoint, write: Callable[[Attributes], Awaitable[None]]
    ) -> Attributes:
        """Write the location, again where our time stamps prove wrong. Returns what the directory holds then."""
        address = self._token.address
        for is_last in (False, True):
            now = datetime.now(UTC) + self._clock_lag
            until = now + self._lifetime
            binding = Binding(address, endpoint, now, until, Source.AGENT, address.key, self._proof)
            await write(location_of(binding))
            found = await self._read(session, name) or {}
            if is_last or not self._learn(found, binding):
                break
        return found

    def _learn(self, found: Attributes, binding: Binding) -> bool:
        """Set clock and lifetime by the directory's. True: what was written is wrong by that.

        A directory of ours has put its registrar's times in place of ours: nothing to learn.
        """
        if _time(found, "lanpostupdated") != binding.updated:
            return False
        before = self._clock_lag, self._lifetime
        stamp, life = _time(found, "modifytimestamp"), _time_to_live(found)
        if stamp is not None and abs(stamp - binding.updated) > CLOCK_TOLERANCE:
            self._clock_lag += stamp - binding.updated
        if life is not None and abs(life - self._lifetime) > CLOCK_TOLERANCE:
            self._lifetime = life
        return (self._clock_lag, self._lifetime) != before

    async def _clear_entry(self, session: _Session, entry: Attributes) -> None:
        await self._change(session, taken_away(entry), located({}))

    async def _change(
        self, session: _Session, changes: Sequence[Modification], otherwise: Sequence[Modification]
    ) -> None:
        """Change the own entry; otherwise, where it has or lacks its class against what was read."""
        try:
            await session.connection.modify(ModifyRequest(self._name, tuple(changes)), EXCHANGE_SECONDS)
        except DirectoryRefused as error:
            if error.code not in _MISTAKEN:
                raise
            try:
                await session.connection.modify(ModifyRequest(self._name, tuple(otherwise)), EXCHANGE_SECONDS)
            except DirectoryRefused:
                raise error from None

    def _confirmed(self, entry: Attributes, endpoint: Endpoint) -> Registration:
        """What the directory holds now. It may let nobody read the times: then those that were asked for."""
        updated = _time(entry, "lanpostupdated") or _time(entry, "modifytimestamp") or datetime.now(UTC)
        expires = _time(entry, "lanpostexpires")
        lifetime = (expires - updated).total_seconds() if expires else None
        life = _time_to_live(entry)  # cut to seconds, and by those since the write
        if life is not None and (expires is None or expires - updated > life + CLOCK_TOLERANCE):
            lifetime = life.total_seconds()
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


def _time_to_live(entry: Attributes) -> timedelta | None:
    """Of a lease (RFC 2589 §3.2)."""
    value = entry.get("entryttl", (b"",))[0]
    return timedelta(seconds=int(value)) if value.isdigit() and len(value) < 10 else None
