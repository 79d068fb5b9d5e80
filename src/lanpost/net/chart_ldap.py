"""The chart in an LDAP directory: OpenLDAP, our own, or one that was there before. Satisfies the port `Chart`.

Every inquiry is a search by the mail address; what is found is read by `content/directory_entry.py`. Only a search
that succeeds and finds nothing is ever read as "no such address".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from lanpost.content.directory_entry import OURS, AttributeNames, entries_of, entry_for, host_of, merged
from lanpost.errors import ChartUnavailable, DirectoryRefused
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import DETAIL_NAMES, Details
from lanpost.model.endpoint import Endpoint
from lanpost.net.ldap_chart_writer import LdapChartWriter, lowered
from lanpost.net.ldap_connection import LdapConnection
from lanpost.net.ldap_follower import Follower
from lanpost.net.ldap_servers import LdapServers
from lanpost.wire.ldap_controls import PAGED_RESULTS_OID, PagedResults
from lanpost.wire.ldap_filter import And, Equals, Filter, Or, Present
from lanpost.wire.ldap_filter_text import escape_value, parse_filter
from lanpost.wire.ldap_messages import Control, ResultCode, Scope, SearchEntry, SearchRequest

PAGE = 500  # entries; what OpenLDAP gives anybody at a time
AT_ONCE = 64  # bindings of an import that are written at a time
FEW = 50  # entries that one address may have
# What a mail's way needs of an entry of ours: less to find, to send and to read.
LOCATING = (
    "lanpostAddress",
    "mailLocalAddress",
    "ipHostNumber",
    "mailHost",
    "lanpostPort",
    "lanpostUpdated",
    "lanpostExpires",
    "lanpostSource",
    "lanpostOwner",
    "lanpostProof",
    "lanpostExpiredEndpoint",
    "modifyTimestamp",
)
ATTRIBUTES = ("objectClass", "lanpostKey", *LOCATING, *DETAIL_NAMES)
_REMEDIES: Mapping[int, str] = {
    ResultCode.NO_SUCH_OBJECT: "the base in chart.url is not there",
    ResultCode.INSUFFICIENT_ACCESS_RIGHTS: "chart.bind_dn may not do that",
    ResultCode.INVALID_CREDENTIALS: "chart.bind_dn or the password in chart.password_file is wrong",
    ResultCode.REFERRAL: "name the server that it refers to in chart.url",
    ResultCode.CONFIDENTIALITY_REQUIRED: "use ldaps://, or chart.start_tls = true",
}
_NOT_PROVED = (
    ResultCode.INVALID_CREDENTIALS,
    ResultCode.INAPPROPRIATE_AUTHENTICATION,
    ResultCode.AUTH_METHOD_NOT_SUPPORTED,
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in the directory the chart is, and how it is found there."""

    base: str
    domain: str  # completes bare names
    names: AttributeNames = OURS
    filter: str = ""  # with %s for the address (RFC 4515); "": by the address attribute

    @property
    def is_ours(self) -> bool:
        """It has our schema: entries may be added and taken away."""
        return self.names == OURS

    @property
    def attributes(self) -> tuple[str, ...]:
        """All that an entry is read from."""
        return tuple(dict.fromkeys((*ATTRIBUTES, self.names.address, self.names.host, self.names.port)))

    @property
    def locating(self) -> tuple[str, ...]:
        """All that a mail's way is read from."""
        return tuple(dict.fromkeys((*LOCATING, self.names.address, self.names.host, self.names.port)))

    def finding(self, address: MailAddress) -> Filter:
        """What its entries match, and perhaps others: who asks compares keys."""
        if self.filter:
            return parse_filter(self.filter.replace("%s", escape_value(str(address))))
        value = str(address).lower()
        by_address = Equals(self.names.address, value.encode())
        if not self.is_ours or (value == address.key and value.isascii()):
            return by_address
        # Written in more than one way, or beyond what mailLocalAddress can hold.
        return Or((Equals("lanpostKey", address.key.encode()), by_address))

    @property
    def probe(self) -> SearchRequest:
        """An inquiry like any other, for an address that every domain has (RFC 5321 §4.5.1)."""
        searched = self.finding(MailAddress.parse("postmaster", self.domain))
        return SearchRequest(self.base, Scope.SUBTREE, searched, ("1.1",), size_limit=FEW)

    def all(self) -> Filter:
        """What all of the chart's entries match."""
        if self.is_ours:
            return Or((Present("lanpostKey"), Present("mailLocalAddress")))
        return Present(self.names.address)

    def read(self, entry: SearchEntry) -> Sequence[Entry]:
        """What one entry of the directory says."""
        return entries_of(lowered(entry), self.domain, self.names)

    def read_for(self, address: MailAddress, entries: Sequence[SearchEntry]) -> Entry | None:
        """What those say of the address which were found by it.

        A filter of the directory's own may find it by attributes that we do not read: what it finds is meant.
        """
        found = merged(each for entry in entries for each in self.read(entry)).get(address)
        if found is None and self.filter:
            found = merged(entry_for(address, lowered(entry), self.names) for entry in entries).get(address)
        return found


class LdapChart:
    """The chart of one directory. For one event loop; connects when it is first asked."""

    def __init__(self, servers: LdapServers, layout: Layout, *, replica: bool = False) -> None:
        """`replica`: keep a copy in memory, which answers while the directory cannot be asked."""
        self._servers = servers
        self._layout = layout
        self._attributes = layout.attributes
        self._locating = layout.locating
        self._replica = replica
        self._closed = False
        self._follower = Follower(servers, layout.base, layout.all(), self._attributes, layout.read, keep=replica)
        servers.recovered = self._follower.missed
        self._writer = LdapChartWriter(servers, layout.base, layout.domain, self._raw, names=layout.names)

    async def look_up(self, address: MailAddress, *, whole: bool = True) -> Entry | None:
        attributes = self._attributes if whole else self._locating
        if not self._replica:
            return await self._look_up(address, attributes)
        self._follower.start()
        # A miss, or an old binding, may be news that has not come yet: the directory itself is asked.
        if self._follower.is_current and (found := self._follower.get(address)) and _leads(found):
            return found
        try:
            return await self._look_up(address, attributes)
        except ChartUnavailable:
            if (known := self._follower.get(address)) is None:
                raise
            return known

    async def _look_up(self, address: MailAddress, attributes: tuple[str, ...]) -> Entry | None:
        return self._layout.read_for(address, await self._raw(address, attributes))

    async def bind(self, binding: Binding) -> None:
        await self._writer.bind(binding)
        self._follower.tell(binding.address)

    async def bind_many(
        self, bindings: Iterable[Binding], progress: Callable[[int], object] = lambda _done: None
    ) -> int:
        """Bind all, some at a time; `bindings` is read in another thread, and what it raises comes out here."""
        source = iter(bindings)
        total = 0
        while batch := await asyncio.to_thread(lambda: list(islice(source, AT_ONCE))):
            # Of an address named twice the last word counts.
            ends = await asyncio.gather(
                *map(self.bind, {each.address: each for each in batch}.values()), return_exceptions=True
            )
            # Once all of them are over: nothing is written behind the back of whoever is told.
            if failures := [end for end in ends if isinstance(end, BaseException)]:
                raise failures[0]
            total += len(batch)
            progress(total)
        self._expect_open()
        return total

    async def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool:
        if at is not None:
            # Two operations: LDAP deletes an entry whatever stands in it. What binds itself in between is gone, and
            # is back when it renews.
            found = await self._look_up(address, self._locating)
            if found is None or found.binding is None or found.binding.endpoint != at:
                return False
        return await self._writer.unbind(address)

    async def add(self, address: MailAddress) -> bool:
        return await self._writer.add(address)

    async def describe(self, address: MailAddress, details: Details) -> bool:
        return await self._writer.describe(address, details)

    async def remove(self, address: MailAddress) -> bool:
        return await self._writer.remove(address)

    async def set_password(self, address: MailAddress, password: bytes) -> str:
        """What the address's entry logs in with, as `userPassword` takes it; empty: no more. Returns its name."""
        return await self._writer.set_password(address, password)

    async def entries(self, after: str = "") -> AsyncIterator[Entry]:
        """All entries: gathered page by page, then put in order."""
        found = merged([entry async for entry in self._all()])
        for entry in sorted(found.values(), key=lambda entry: entry.address.key):
            if entry.address.key > after:
                yield entry

    async def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]:
        searched: Filter = Equals(self._layout.names.host, host_of(endpoint, self._layout.names))
        if self._layout.is_ours:
            expired = Equals("lanpostExpiredEndpoint", str(endpoint).encode())
            searched = Or((searched, Equals("mailHost", endpoint.literal.encode()), expired))
        found = merged([entry async for entry in self._all(And((self._layout.all(), searched)))])
        bindings = [entry.binding for entry in found.values() if entry.binding]
        here = [binding for binding in bindings if binding.endpoint == endpoint]
        return sorted(here, key=lambda binding: binding.address.key)

    async def watch(self) -> AsyncIterator[MailAddress]:
        """Our own changes at once, others' as the directory tells of them; ends when the chart is closed."""
        self._expect_open()
        async for address in self._follower.watch():
            yield address

    async def close(self) -> None:
        self._closed = True
        await self._follower.close()
        await self._servers.close()

    def _expect_open(self) -> None:
        if self._closed:
            raise ChartUnavailable(f"the directory at {self._servers.name}: the chart is closed")

    async def _raw(self, address: MailAddress, attributes: tuple[str, ...] = ()) -> Sequence[SearchEntry]:
        """The entries of the directory that may be of that address."""
        finding = self._layout.finding(address)
        request = SearchRequest(
            self._layout.base, Scope.SUBTREE, finding, attributes or self._attributes, size_limit=FEW
        )

        async def search(connection: LdapConnection, seconds: float) -> Sequence[SearchEntry]:
            return (await connection.search(request, seconds)).entries

        return await self._asked(search)

    async def _all(self, searched: Filter | None = None) -> AsyncIterator[Entry]:
        request = SearchRequest(self._layout.base, Scope.SUBTREE, searched or self._layout.all(), self._attributes)
        cookie = b""
        while True:
            control = Control(PAGED_RESULTS_OID, value=PagedResults(PAGE, cookie).encode())

            async def search(
                connection: LdapConnection, seconds: float, control: Control = control
            ) -> tuple[Sequence[SearchEntry], bytes]:
                found = await connection.search(request, seconds, [control])
                if found.result.code == ResultCode.SIZE_LIMIT_EXCEEDED:
                    raise ChartUnavailable(
                        f"{connection.endpoint} does not tell all of the chart (size limit): raise the limit of "
                        "the account that chart.bind_dn names"
                    )
                pages = [PagedResults.read(each.value) for each in found.controls if each.oid == PAGED_RESULTS_OID]
                return found.entries, pages[0].cookie if pages else b""

            entries, cookie = await self._asked(search)
            for entry in entries:
                for each in self._layout.read(entry):
                    yield each
            if not cookie:
                return

    async def _asked(self, operation: Callable[[LdapConnection, float], Awaitable[T]]) -> T:
        """A refusal of a search is the directory's or the configuration's fault, never "no such address"."""
        try:
            return await self._servers.ask(operation)
        except DirectoryRefused as error:
            remedy = _REMEDIES.get(error.code, "see chart.url and chart.bind_dn")
            if self._servers.access.login.external and error.code in _NOT_PROVED:
                remedy = "chart.certificate_file is not of anybody whom it knows"
            raise ChartUnavailable(f"{error} ({remedy})") from None


def _leads(entry: Entry) -> bool:
    return entry.binding is not None and entry.binding.is_live(datetime.now(UTC))
