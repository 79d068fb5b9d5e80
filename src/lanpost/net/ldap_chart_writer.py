"""Writing the chart into an LDAP directory: an entry for each address, its location changed by Modify.

A renewal is a Modify too, never a Refresh alone: a copy elsewhere sees only what changes an entry, and the lease is
armed anew all the same. Where the directory has leases (RFC 2589, the `dds` overlay) a binding that expires is a
dynamic entry `cn=lease` below the terminal's: it vanishes alone, the terminal stays known. Raises ChartUnavailable,
and InvalidValue for what that directory cannot hold.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from lanpost.content.directory_entry import (
    BOUND_CLASS,
    CLASSES,
    OURS,
    AttributeNames,
    address_attributes,
    attributes_of,
    detail_attributes,
    host_of,
    location_of,
    name_of,
)
from lanpost.errors import ChartUnavailable, DirectoryRefused, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import DETAIL_NAMES, Details
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.net.ldap_connection import LdapConnection
from lanpost.net.ldap_servers import LdapServers
from lanpost.service.directory_modifications import (
    LEASE,
    has_class,
    has_leases,
    is_lease,
    lease_attributes,
    lease_name,
    located,
    taken_away,
)
from lanpost.wire.ldap_extensions import REFRESH_OID, Refresh
from lanpost.wire.ldap_filter import Present
from lanpost.wire.ldap_messages import (
    AddRequest,
    Modification,
    ModificationKind,
    ModifyRequest,
    ResultCode,
    Scope,
    SearchEntry,
    SearchRequest,
)

LOGIN_CLASS = "simpleSecurityObject"  # it demands userPassword
MAX_LEASES = 10_000  # whose time to live we remember having set
TRIES = 4  # where others change the same entry at the same time
_CLASSES = {name.lower(): name for name in (*CLASSES, BOUND_CLASS)}
# Of this entry alone, whatever else the directory takes.
_CANNOT_HOLD = (
    ResultCode.CONSTRAINT_VIOLATION,
    ResultCode.ATTRIBUTE_OR_VALUE_EXISTS,
    ResultCode.INVALID_ATTRIBUTE_SYNTAX,
    ResultCode.INVALID_DN_SYNTAX,
    ResultCode.NAMING_VIOLATION,
)
_EXPIRED = "lanpostexpiredendpoint"

T = TypeVar("T")
Found = Callable[[MailAddress], Awaitable[Sequence[SearchEntry]]]


class LdapChartWriter:
    """Changes of one chart. `find` gives the directory's entries that may be of an address."""

    def __init__(
        self, servers: LdapServers, base: str, domain: str, find: Found, *, names: AttributeNames = OURS
    ) -> None:
        self._servers = servers
        self._base = DistinguishedName.parse(base)
        self._domain = domain
        self._find = find
        self._names = names
        self._has_leases: bool | None = None
        self._lives: OrderedDict[str, int] = OrderedDict()  # by name of the lease: seconds

    async def bind(self, binding: Binding) -> None:
        """Put a binding in force: one Modify where the entry is as it was left, a few operations elsewhere."""
        if self._names != OURS:
            await self._move_foreign(binding)
            return
        if _is_confusable(binding.address):
            await self._expect_its(self._name(binding.address), binding.address)
        now = datetime.now(UTC)
        if binding.expires is not None and binding.expires > now and await self._leases():
            await self._lease(binding, math.ceil((binding.expires - now).total_seconds()))
            return
        name = await self._put(binding.address, binding)
        if await self._leases():
            await self._delete(lease_name(name))

    async def unbind(self, address: MailAddress) -> bool:
        """Take the location away wherever it stands; the terminal stays known."""
        if self._names != OURS:
            return await self._empty_foreign(address)
        was_bound = False
        for entry in await self._own(address):
            attributes = lowered(entry)
            if is_lease(attributes):
                was_bound |= await self._delete(entry.name)
            elif "iphostnumber" in attributes or "mailhost" in attributes or _EXPIRED in attributes:
                await self._changed(entry.name, taken_away(attributes))
                was_bound = True
        return was_bound

    async def add(self, address: MailAddress) -> bool:
        """Make an address known. False: it was."""
        self._expect_ours("adds")
        if await self._own(address):
            return False
        name = self._name(address)
        if await self._add(name, attributes_of(Entry(address), self._domain)):
            return True
        await self._expect_its(name, address)
        return False

    async def describe(self, address: MailAddress, details: Details) -> bool:
        self._expect_ours("describes")
        values = detail_attributes(details)
        changes = [Modification(ModificationKind.REPLACE, name, values.get(name, ())) for name in DETAIL_NAMES]
        for entry in await self._own(address):
            if not is_lease(lowered(entry)):
                await self._changed(entry.name, changes)
                return True
        return False

    async def remove(self, address: MailAddress) -> bool:
        """Forget an address: its lease, then its entry."""
        self._expect_ours("removes")
        known = False
        entries = await self._own(address)
        for entry in entries:
            if not has_class(lowered(entry), "lanpostTerminal"):
                raise ChartUnavailable(
                    f"{entry.name} is others' entry, not one that lanpost made: take {address} out of it "
                    "with the directory's own tools"
                )
        for entry in sorted(entries, key=lambda entry: -len(entry.name)):
            if not is_lease(lowered(entry)):
                await self._delete(lease_name(entry.name))  # an expired one may be there until it is swept
            known |= await self._delete(entry.name)
        return known

    async def set_password(self, address: MailAddress, password: bytes) -> str:
        """What the terminal's own entry logs in with, as `userPassword` takes it; empty: it logs in no more.

        Returns the entry's name. Raises ChartUnavailable where it has none, too.
        """
        for entry in await self._own(address):
            attributes = lowered(entry)
            has_login = has_class(attributes, LOGIN_CLASS)
            if is_lease(attributes):
                continue
            if password or has_login:
                changes = [Modification(ModificationKind.REPLACE, "userPassword", (password,) if password else ())]
                if bool(password) != has_login:
                    kind = ModificationKind.ADD if password else ModificationKind.DELETE
                    changes.append(Modification(kind, "objectClass", (LOGIN_CLASS.encode(),)))
                await self._changed(entry.name, changes)
            return entry.name
        raise ChartUnavailable(f"{address} has no entry below {self._base}")

    # A binding for good, or where there are no leases: in the entry itself.

    async def _put(self, address: MailAddress, binding: Binding) -> str:
        """The entry is there, with this location. Returns its name."""
        name = self._name(address)
        location = location_of(binding)
        changes = [*_spelt(address), *located(location)]
        for _ in range(TRIES):
            try:
                await self._modify(name, changes)
            except DirectoryRefused as error:
                if error.code == ResultCode.OBJECT_CLASS_VIOLATION:
                    await self._mend_classes(name, changes)
                elif error.code == ResultCode.NO_SUCH_ATTRIBUTE:
                    await self._expect_its(name, address)
                    changes = [*_spelt(address, keyed=False), *located(location)]
                    continue
                elif error.code == ResultCode.NO_SUCH_OBJECT:
                    elsewhere = [entry for entry in await self._own(address) if not is_lease(lowered(entry))]
                    if elsewhere and elsewhere[0].name != name:
                        name = elsewhere[0].name  # an administrator gave it another name
                        continue
                    if not await self._add(name, attributes_of(Entry(address, binding), self._domain)):
                        continue  # somebody was quicker
                else:
                    raise self._refusal(error, name) from None
            return name
        raise ChartUnavailable(f"{name} changes faster than it can be written; try again")

    async def _mend_classes(self, name: str, changes: Sequence[Modification]) -> None:
        """Again, with the object classes that the entry lacks for it."""
        request = SearchRequest(name, Scope.BASE, Present("objectClass"), ("objectClass",))

        async def read(connection: LdapConnection, seconds: float) -> Sequence[SearchEntry]:
            return (await connection.search(request, seconds)).entries

        entries = await self._servers.ask(read)
        held = {value.decode("ascii", "replace").lower() for value in lowered(entries[0]).get("objectclass", ())}
        lacking = tuple(each.encode() for key, each in _CLASSES.items() if key not in held)
        if not lacking:
            raise ChartUnavailable(f"{name}: the directory's schema does not allow it a location")
        added = Modification(ModificationKind.ADD, "objectClass", lacking)
        await self._changed(name, [added, *changes])

    # A lease: a dynamic entry below the terminal's.

    async def _leases(self) -> bool:
        """Whether the directory lets entries expire below our base (RFC 2589 §7: dynamicSubtrees)."""
        if self._has_leases is None:
            request = SearchRequest("", Scope.BASE, Present("objectClass"), ("dynamicSubtrees",))

            async def read(connection: LdapConnection, seconds: float) -> Sequence[SearchEntry]:
                return (await connection.search(request, seconds)).entries

            try:
                entries = await self._servers.ask(read)
            except DirectoryRefused as error:
                if error.code not in (ResultCode.NO_SUCH_OBJECT, ResultCode.INSUFFICIENT_ACCESS_RIGHTS):
                    raise self._unavailable(error) from None  # not said for ever: it could not be asked now
                entries = ()
            subtrees = [value for entry in entries for value in lowered(entry).get("dynamicsubtrees", ())]
            self._has_leases = has_leases(self._base, subtrees)
        return self._has_leases

    async def _known(self, address: MailAddress) -> str:
        """The terminal's own entry is there, without a location. Returns its name."""
        for entry in await self._own(address):
            attributes = lowered(entry)
            if not is_lease(attributes):
                if "iphostnumber" in attributes or "mailhost" in attributes:
                    await self._changed(entry.name, taken_away(attributes))
                return entry.name
        name = self._name(address)
        if not await self._add(name, attributes_of(Entry(address), self._domain)):
            await self._expect_its(name, address)
        return name

    async def _lease(self, binding: Binding, seconds: int) -> None:
        address = binding.address
        location = location_of(binding)
        name = lease_name(self._name(address))
        changes = [*_spelt(address), *located(location)]
        changes = [each for each in changes if each.attribute != "mail"]  # the terminal's own entry has that
        for _ in range(TRIES):
            try:
                await self._modify(name, changes)
            except DirectoryRefused as error:
                if error.code == ResultCode.NO_SUCH_ATTRIBUTE:
                    await self._expect_its(name, address)
                if error.code != ResultCode.NO_SUCH_OBJECT:
                    raise self._refusal(error, name) from None
                name = lease_name(await self._known(address))
                if not await self._add(name, dict(lease_attributes(address_attributes(address), location))):
                    continue
                self._lives.pop(name, None)
            await self._let_live(name, seconds)
            return
        raise ChartUnavailable(f"{name} changes faster than it can be written; try again")

    async def _let_live(self, name: str, seconds: int) -> None:
        """Set how long the lease lives, where that is not what a Modify arms it with already."""
        known = self._lives.get(name)
        if known is not None and abs(known - seconds) <= 1:
            return
        value = Refresh(name, seconds).encode()

        async def refresh(connection: LdapConnection, limit: float) -> None:
            await connection.extended(REFRESH_OID, value, limit)

        try:
            await self._servers.ask(refresh)
        except DirectoryRefused:
            return  # longer than it allows, or not ours to say: it has the directory's own time to live
        self._lives[name] = seconds
        self._lives.move_to_end(name)
        if len(self._lives) > MAX_LEASES:
            self._lives.popitem(last=False)

    # A directory that was there before: only where the terminal is.

    async def _move_foreign(self, binding: Binding) -> None:
        entry = await self._foreign(binding.address)
        if entry is None:
            raise ChartUnavailable(
                f"{binding.address} is not in the directory, whose entries are others' to add: add it there first"
            )
        port = (b"%d" % binding.endpoint.port,)
        await self._changed(entry.name, self._foreign_location((host_of(binding.endpoint, self._names),), port))

    async def _empty_foreign(self, address: MailAddress) -> bool:
        entry = await self._foreign(address)
        if entry is None or not lowered(entry).get(self._names.host.lower()):
            return False
        await self._changed(entry.name, self._foreign_location((), ()))
        return True

    def _foreign_location(self, host: tuple[bytes, ...], port: tuple[bytes, ...]) -> Sequence[Modification]:
        changes = [Modification(ModificationKind.REPLACE, self._names.host, host)]
        if self._names.port != OURS.port:
            changes.append(Modification(ModificationKind.REPLACE, self._names.port, port))
        return changes

    async def _foreign(self, address: MailAddress) -> SearchEntry | None:
        """The one entry of that address. Of several nobody says which is meant."""
        entries = await self._find(address)
        if len(entries) > 1:
            named = " and ".join(entry.name for entry in entries[:2])
            raise ChartUnavailable(
                f"{address} is in several entries, {named}: mend that with the directory's own tools"
            )
        return entries[0] if entries else None

    # Operations.

    async def _own(self, address: MailAddress) -> Sequence[SearchEntry]:
        """The entries of this very address."""
        found = []
        for entry in await self._find(address):
            attributes = lowered(entry)
            keys = attributes.get("lanpostkey") or tuple(
                value.lower() for value in attributes.get("maillocaladdress", ())
            )
            if address.key.encode() in keys or str(address).lower().encode() in keys:
                found.append(entry)
        return found

    async def _modify(self, name: str, changes: Sequence[Modification]) -> None:
        """Raises DirectoryRefused."""
        request = ModifyRequest(name, tuple(changes))

        async def modify(connection: LdapConnection, seconds: float) -> None:
            await connection.modify(request, seconds)

        await self._servers.ask(modify)

    async def _changed(self, name: str, changes: Sequence[Modification]) -> None:
        """The same; every refusal is the directory's or the configuration's fault."""
        try:
            await self._modify(name, changes)
        except DirectoryRefused as error:
            raise self._refusal(error, name) from None

    async def _add(self, name: str, attributes: Mapping[str, tuple[bytes, ...]]) -> bool:
        """False: it is there already."""
        request = AddRequest(name, tuple(attributes.items()))

        async def add(connection: LdapConnection, seconds: float) -> None:
            await connection.add(request, seconds)

        try:
            await self._servers.ask(add)
        except DirectoryRefused as error:
            if error.code == ResultCode.ENTRY_ALREADY_EXISTS:
                return False
            raise self._refusal(error, name) from None
        return True

    async def _delete(self, name: str) -> bool:
        """False: it is not there."""

        async def delete(connection: LdapConnection, seconds: float) -> None:
            await connection.delete(name, seconds)

        try:
            await self._servers.ask(delete)
        except DirectoryRefused as error:
            if error.code in (ResultCode.NO_SUCH_OBJECT, ResultCode.UNWILLING_TO_PERFORM) and name.startswith(
                f"cn={LEASE},"
            ):
                return False
            if error.code == ResultCode.NO_SUCH_OBJECT:
                return False
            raise self._unavailable(error) from None
        return True

    def _name(self, address: MailAddress) -> str:
        return str(self._base.child("cn", name_of(address, self._domain)))

    def _expect_ours(self, what: str) -> None:
        if self._names != OURS:
            raise ChartUnavailable(
                f"chart.address_attribute and its like name its own attributes: lanpost {what} no entries "
                "there; do it with the directory's own tools"
            )

    async def _expect_its(self, name: str, address: MailAddress) -> None:
        """The entry of that name is not another address's. Raises InvalidValue.

        A directory takes some names for one that we tell apart, as `"a b"` and `"a  b"`; and people name entries.
        """
        request = SearchRequest(name, Scope.BASE, Present("objectClass"), ("lanpostKey", "mailLocalAddress"))

        async def read(connection: LdapConnection, seconds: float) -> Sequence[SearchEntry]:
            return (await connection.search(request, seconds)).entries

        try:
            entries = await self._servers.ask(read)
        except DirectoryRefused as error:
            if error.code == ResultCode.NO_SUCH_OBJECT:
                return
            raise self._refusal(error, name) from None
        borne = [value for entry in entries for values in lowered(entry).values() for value in values]
        if borne and not {address.key.encode(), str(address).lower().encode()}.intersection(
            map(bytes.lower, borne)
        ):
            other = borne[0].decode("utf-8", "replace")
            raise InvalidValue(f"{address}: {name} is there for {other} already; give one of the two another name")

    def _refusal(self, error: DirectoryRefused, name: str) -> ChartUnavailable | InvalidValue:
        lacks_class = error.code == ResultCode.INVALID_ATTRIBUTE_SYNTAX and "objectclass" in str(error).lower()
        if error.code in _CANNOT_HOLD and not lacks_class:
            return InvalidValue(f"{name}: {error}")
        return self._unavailable(error)

    def _unavailable(self, error: DirectoryRefused) -> ChartUnavailable:
        if error.code in (ResultCode.UNDEFINED_ATTRIBUTE_TYPE, ResultCode.INVALID_ATTRIBUTE_SYNTAX) or (
            error.code == ResultCode.OBJECT_CLASS_VIOLATION and "lanpost" in str(error).lower()
        ):
            return ChartUnavailable(
                f"{error} (load deploy/openldap/lanpost-schema.ldif: the directory must know lanpostTerminal)"
            )
        if error.code == ResultCode.INSUFFICIENT_ACCESS_RIGHTS:
            key = "chart.certificate_file" if self._servers.access.login.external else "chart.bind_dn"
            return ChartUnavailable(f"{error} ({key} must be an account that may write below {self._base})")
        if error.code == ResultCode.STRONGER_AUTH_REQUIRED:
            return ChartUnavailable(f"{error}: name an account in chart.bind_dn, or do it at the directory itself")
        if error.code == ResultCode.REFERRAL:
            return ChartUnavailable(f"{error} (it takes no changes: name the server that does in chart.url)")
        return ChartUnavailable(str(error))


def _is_confusable(address: MailAddress) -> bool:
    """A directory's matching rules may take its key for another's, too (RFC 4518 §2.6.1: spaces)."""
    return " " in address.key or not address.key.isascii()


def _spelt(address: MailAddress, *, keyed: bool = True) -> Sequence[Modification]:
    """The address as it is written now. `keyed`: only in an entry that has its key; else NO_SUCH_ATTRIBUTE."""
    changes = []
    for name, values in address_attributes(address).items():
        if keyed and name == "lanpostKey":
            changes += [
                Modification(kind, name, values) for kind in (ModificationKind.DELETE, ModificationKind.ADD)
            ]
        else:
            changes.append(Modification(ModificationKind.REPLACE, name, values))
    return changes


def lowered(entry: SearchEntry) -> Mapping[str, tuple[bytes, ...]]:
    """Its attributes by their names in lower case, without options."""
    return {name.partition(";")[0].lower(): values for name, values in entry.attributes}
