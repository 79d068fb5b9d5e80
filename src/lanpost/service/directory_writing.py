"""What may be written into the directory, by whom, and what it means for the chart.

The administrator writes everything; a terminal the location in its own entry, by the registrar's rules, as if it
had registered over HTTPS. Every refusal is a DirectoryRefused; ChartUnavailable and StoreError pass through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lanpost.content.directory_entry import name_of
from lanpost.content.directory_schema import class_name
from lanpost.errors import DirectoryRefused, InvalidName, RegistrationRefused
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.distinguished_name import DistinguishedName
from lanpost.model.endpoint import Endpoint
from lanpost.service.directory_changes import (
    ADDRESS_KEYS,
    DETAIL_KEYS,
    LOCATION_KEYS,
    Held,
    Location,
    address_told,
    binding_of,
    change,
    check_classes,
    check_names,
    details_told,
    held,
    later,
    location,
    proof_after,
    refused,
)
from lanpost.service.directory_search import nothing_at, place_of
from lanpost.service.directory_tree import ChartNode, Tree
from lanpost.service.ports import Accounts, Chart, Durably, Mailboxes
from lanpost.service.registrar import Registrar, Request
from lanpost.wire.ldap_messages import Attribute, Modification, ResultCode

MAX_TIME_TO_LIVE = 31_557_600  # seconds (RFC 2589 §4.1): a year and six hours
_CODES = {  # of the registrar's refusals, by their HTTP status
    401: ResultCode.INSUFFICIENT_ACCESS_RIGHTS,
    403: ResultCode.INSUFFICIENT_ACCESS_RIGHTS,
    404: ResultCode.NO_SUCH_OBJECT,
    429: ResultCode.BUSY,
}


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the administrator (no terminal), or a terminal. `peer` is where he connects from."""

    terminal: Terminal | None
    peer: Endpoint


class DirectoryWriter:
    """Add, modify, delete and refresh: decided, and done."""

    def __init__(
        self,
        tree: Tree,
        chart: Chart,
        accounts: Accounts,
        mailboxes: Mailboxes,
        registrar: Registrar,
        *,
        durably: Durably,
    ) -> None:
        self._tree = tree
        self._chart = chart
        self._accounts = accounts
        self._mailboxes = mailboxes
        self._registrar = registrar
        self._durably = durably

    async def add(self, writer: Writer, name: str, attributes: Sequence[Attribute], now: datetime) -> None:
        """A terminal becomes known, and bound where its entry says where it is. The administrator's alone."""
        if writer.terminal is not None:
            raise refused(
                "terminals are made known by an administrator (`lanpost terminal add`)",
                ResultCode.INSUFFICIENT_ACCESS_RIGHTS,
            )
        named = self._address_to_add(name)
        given = held(attributes)
        address = address_told(given, named)
        if "objectclass" in given:
            check_classes(given)
        if "cn" in given:
            check_names(given, name_of(address, self._tree.domain))
        self._refuse_mailbox(address)
        if await self._chart.look_up(address) is not None:
            raise refused(f"{name} is there already", ResultCode.ENTRY_ALREADY_EXISTS)
        details = details_told(given)
        place = location(given, given)
        if place is not None and place.endpoint is not None:
            if any(class_name(value.decode()) == "dynamicObject" for value in given.get("objectclass", ())):
                place = self._with_lease(place, now)
            await self._chart.bind(binding_of(address, place, None, now))
        elif not await self._chart.add(address):
            raise refused(f"{name} is there already", ResultCode.ENTRY_ALREADY_EXISTS)
        if details:
            await self._chart.describe(address, details)

    async def modify(self, writer: Writer, name: str, modifications: Sequence[Modification], now: datetime) -> None:
        """Change an entry, in all that is asked or in nothing (RFC 4511 §4.6)."""
        address = self._address(name)
        entry = await self._chart.look_up(address)
        if entry is None:
            if writer.terminal is None or writer.terminal.address != address:
                raise nothing_at(name, str(self._tree.base))
            entry = Entry(address)  # enrolled, and forgotten by the chart: it makes itself known again
        attributes = self._shown(entry, now)
        # Times that nobody touches are not those of the change.
        touched = {change(attributes, modification) for modification in modifications}
        for key in ADDRESS_KEYS:
            if key in touched and key not in attributes:
                raise refused(f"{key} belongs to the entry's name and stays", ResultCode.NOT_ALLOWED_ON_RDN)
        if "objectclass" in touched:
            check_classes(attributes)
        if "cn" in touched:
            check_names(attributes, name_of(entry.address, self._tree.domain))
        # The spelling that the change is about counts.
        spelled = {key: attributes[key] for key in ADDRESS_KEYS if key in touched}
        address_told(attributes, entry.address)
        address = address_told(spelled, entry.address)
        place = location(attributes, touched)
        if writer.terminal is not None:
            if other := touched - LOCATION_KEYS - {"objectclass"}:
                raise refused(
                    f"a terminal changes where it is, not {', '.join(sorted(other))}",
                    ResultCode.INSUFFICIENT_ACCESS_RIGHTS,
                )
            await self._move(writer.terminal, writer.peer, address, place, entry.binding, now)
            return
        await self._write(entry, address, place, details_told(attributes) if touched & DETAIL_KEYS else None, now)

    async def _write(
        self, entry: Entry, address: MailAddress, place: Location | None, details: Details | None, now: datetime
    ) -> None:
        """Everything is decided before anything is written."""
        binding = None
        if place is not None and place.endpoint is not None:
            self._refuse_mailbox(address)
            binding = binding_of(address, place, entry.binding, now)
        elif place is None and str(address) != str(entry.address):
            if entry.binding is None:
                raise refused(
                    "how an address is spelled is told with ipHostNumber", ResultCode.UNWILLING_TO_PERFORM
                )
            binding = replace(entry.binding, address=address)
        if details is not None:
            await self._chart.describe(address, details)
        if binding is not None:
            await self._chart.bind(binding)
        elif place is not None:
            await self._chart.unbind(address)

    def _shown(self, entry: Entry, now: datetime) -> Held:
        """The attributes as whoever changes them has seen them."""
        node = ChartNode(self._tree, entry, now)
        return {name.lower(): tuple(values) for name in node.user_attributes() if (values := node.values(name))}

    async def delete(self, writer: Writer, name: str) -> None:
        """Forget a terminal: its place in the chart, and its account where it has one here."""
        if writer.terminal is not None:
            raise refused("only an administrator removes entries", ResultCode.INSUFFICIENT_ACCESS_RIGHTS)
        address = self._address(name)
        enrolled = self._accounts.terminal(address) is not None
        if enrolled:  # first, or the terminal could bind itself anew in between
            await self._durably(lambda: _forget(self._accounts, address))
        if not await self._chart.remove(address) and not enrolled:
            raise nothing_at(name, str(self._tree.base))

    async def refresh(self, writer: Writer, name: str, seconds: int, now: datetime) -> int:
        """Let a lease live so long from now on (RFC 2589 §4.1). Returns how long it is given, in seconds."""
        address = self._address(name)
        entry = await self._chart.look_up(address)
        if entry is None or entry.binding is None:
            raise nothing_at(name, str(self._tree.base))
        if entry.binding.expires is None:
            raise refused(f"{name} is bound for good: it has no lease", ResultCode.OBJECT_CLASS_VIOLATION)
        if not 1 <= seconds <= MAX_TIME_TO_LIVE:
            raise refused(f"a time to live is 1 to {MAX_TIME_TO_LIVE} seconds", ResultCode.PROTOCOL_ERROR)
        wanted = timedelta(seconds=seconds)
        if writer.terminal is None:
            binding = replace(entry.binding, updated=now, expires=now + wanted)
            await self._chart.bind(binding)
        else:
            request = Request(endpoint=entry.binding.endpoint, lifetime=wanted, proof=entry.binding.proof)
            binding = await self._register(writer.terminal, entry.address, writer.peer, request, now)
        return seconds if binding.expires is None else int((binding.expires - now).total_seconds())

    async def _move(
        self,
        terminal: Terminal,
        peer: Endpoint,
        address: MailAddress,
        place: Location | None,
        former: Binding | None,
        now: datetime,
    ) -> None:
        """What a terminal says of itself goes by the registrar's rules and clock."""
        if place is None or place.endpoint is None:
            try:
                if place is None:
                    self._registrar.expect_its_own(terminal, address)
                else:
                    await self._registrar.unregister_proven(terminal, address)
            except RegistrationRefused as error:
                raise _as_directory(error) from None
            return
        lifetime = place.expires - (place.updated or now) if place.expires else None
        proof = proof_after(place, former)
        request = Request(endpoint=place.endpoint, lifetime=lifetime, proof=proof)
        await self._register(terminal, address, peer, request, now)

    async def _register(
        self, terminal: Terminal, address: MailAddress, peer: Endpoint, request: Request, now: datetime
    ) -> Binding:
        try:
            return await self._registrar.register_proven(terminal, address, peer, request, now)
        except RegistrationRefused as error:
            raise _as_directory(error) from None

    def _address(self, name: str) -> MailAddress:
        place = place_of(self._tree, name)
        if place.address is None:
            raise refused(f"{name or 'the root'} stands as it is", ResultCode.UNWILLING_TO_PERFORM)
        return place.address

    def _address_to_add(self, name: str) -> MailAddress:
        try:
            named = DistinguishedName.parse(name)
            place = self._tree.place(name)
        except InvalidName as error:
            raise refused(str(error), ResultCode.INVALID_DN_SYNTAX) from None
        if place.fixed is not None:
            raise refused(f"{name or 'the root'} is there already", ResultCode.ENTRY_ALREADY_EXISTS)
        if place.address is not None:
            return place.address
        if named.parent == self._tree.base:
            raise refused(
                f"entries below {self._tree.base} are named by cn, a terminal's name or mail address",
                ResultCode.NAMING_VIOLATION,
            )
        raise refused(f"entries are added below {self._tree.base}, nowhere else", ResultCode.UNWILLING_TO_PERFORM)

    def _with_lease(self, place: Location, now: datetime) -> Location:
        """A dynamic entry that names no end has the registrar's lifetime (RFC 2589 §3)."""
        if place.expires is not None:
            return place
        return replace(place, expires=later(place.updated or now, self._registrar.lifetime), says_expires=True)

    def _refuse_mailbox(self, address: MailAddress) -> None:
        if self._mailboxes.has(address) or self._accounts.user(address) is not None:
            raise refused(
                f"{address} is a person's mailbox here and cannot be a terminal's address",
                ResultCode.CONSTRAINT_VIOLATION,
            )


def _forget(accounts: Accounts, address: MailAddress) -> None:
    accounts.remove_terminal(address)


def _as_directory(error: RegistrationRefused) -> DirectoryRefused:
    return refused(str(error), _CODES.get(error.http_status, ResultCode.CONSTRAINT_VIOLATION))
