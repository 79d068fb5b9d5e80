"""Follows a directory's changes: by content synchronisation (RFC 4533) where it is offered, else by asking again.

Tells watchers of bindings, and keeps a copy of all entries where that is wished. The cookie stays opaque, and in
memory: after a loss everything is told anew, built aside and put in force as a whole, since a provider that was
restarted lists what is there and not what has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta

import structlog

from lanpost.content.directory_entry import merged
from lanpost.content.generalized_time import time_of, time_text
from lanpost.errors import ChartUnavailable, DirectoryError, DirectoryRefused, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.net.ldap_connection import LdapConnection
from lanpost.net.ldap_servers import LdapServers
from lanpost.wire.ldap_controls import (
    SYNC_REQUEST_OID,
    SYNC_STATE_OID,
    SyncMode,
    SyncRequest,
    SyncState,
    SyncStateKind,
)
from lanpost.wire.ldap_filter import And, Filter, GreaterOrEqual
from lanpost.wire.ldap_messages import (
    Control,
    IntermediateResponse,
    Message,
    ResultCode,
    Scope,
    SearchDone,
    SearchEntry,
    SearchRequest,
)
from lanpost.wire.ldap_sync_info import RefreshDelete, RefreshPresent, SyncIdSet, read_sync_info

POLL_SECONDS = 1.0  # where the directory does not tell of changes
POLL_OVERLAP = timedelta(seconds=3)  # its clock may differ from ours by so much
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds between tries to follow it, for the copy
NOT_OFFERED = (
    ResultCode.UNAVAILABLE_CRITICAL_EXTENSION,
    ResultCode.PROTOCOL_ERROR,
    ResultCode.UNWILLING_TO_PERFORM,
    ResultCode.INSUFFICIENT_ACCESS_RIGHTS,
)
_CONTROL = Control(SYNC_REQUEST_OID, True, SyncRequest(SyncMode.REFRESH_AND_PERSIST).encode())

Uuid = bytes
log = structlog.get_logger()


class _Copy:
    """All entries, by the identities that the directory gives them and by address."""

    def __init__(self) -> None:
        self._by_uuid: dict[Uuid, Sequence[Entry]] = {}
        self._by_address: dict[MailAddress, dict[Uuid, Entry]] = {}

    def __len__(self) -> int:
        return len(self._by_address)

    def put(self, uuid: Uuid, entries: Sequence[Entry]) -> None:
        self.remove(uuid)
        if entries:
            self._by_uuid[uuid] = entries
            for entry in entries:
                self._by_address.setdefault(entry.address, {})[uuid] = entry

    def remove(self, uuid: Uuid) -> None:
        for entry in self._by_uuid.pop(uuid, ()):
            of_address = self._by_address[entry.address]
            of_address.pop(uuid, None)
            if not of_address:
                del self._by_address[entry.address]

    def get(self, address: MailAddress) -> Entry | None:
        found = self._by_address.get(address)
        if not found:
            return None
        if len(found) == 1:
            return next(iter(found.values()))
        return merged(found.values()).get(address)


class _Watcher:
    """Addresses that one watcher has not been told yet; no more than the chart has."""

    def __init__(self) -> None:
        self.waiting: dict[MailAddress, None] = {}
        self.arrived = asyncio.Event()
        self.ended: ChartUnavailable | None = None


class Follower:
    """For one event loop. Follows from the first `start` or `watch` on; `keep`: with a copy, for ever."""

    def __init__(
        self,
        servers: LdapServers,
        base: str,
        searched: Filter,
        attributes: Sequence[str],
        read: Callable[[SearchEntry], Sequence[Entry]],
        *,
        keep: bool,
    ) -> None:
        self._servers = servers
        self._base = base
        self._searched = searched
        self._attributes = (*attributes, "entryCSN")
        self._read = read
        self._keep = keep
        self._watchers: set[_Watcher] = set()
        self._copy: _Copy | None = None
        self._current = False
        self._task: asyncio.Task[None] | None = None
        self._since = datetime.now(UTC)
        self._closed = False

    @property
    def is_current(self) -> bool:
        """The copy is complete, and told of every change."""
        return self._current

    def get(self, address: MailAddress) -> Entry | None:
        """What the copy says, current or not; None too where there is none."""
        return self._copy.get(address) if self._copy is not None else None

    def start(self) -> None:
        """Follow from now on. Idempotent."""
        if not self._closed and (self._task is None or self._task.done()):
            self._since = datetime.now(UTC)
            self._task = asyncio.ensure_future(self._follow())

    def tell(self, address: MailAddress) -> None:
        """A binding was made by ourselves."""
        for watcher in self._watchers:
            watcher.waiting[address] = None
            watcher.arrived.set()

    def missed(self) -> None:
        """Inquiries failed for a while, though we may have heard of changes all along: who watches shall look."""
        self._end_watches("it could not be asked for a while")

    async def watch(self) -> AsyncIterator[MailAddress]:
        """Addresses bound from now on; ends when closed. ChartUnavailable when the directory is lost."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        self.start()
        try:
            while not self._closed:
                while watcher.waiting:
                    address = next(iter(watcher.waiting))
                    del watcher.waiting[address]
                    yield address
                if watcher.ended is not None:
                    raise watcher.ended
                watcher.arrived.clear()
                await watcher.arrived.wait()
        finally:
            self._watchers.discard(watcher)

    async def close(self) -> None:
        """Follow no more. Idempotent."""
        self._closed = True
        self._current = False
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for watcher in self._watchers:
            watcher.arrived.set()

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                await self._once()
                why = "the directory ended the search"
            except (ChartUnavailable, DirectoryError) as error:
                why = str(error)
            except Exception as error:
                log.exception("directory cannot be followed")
                why = str(error)
            failures = 0 if self._current else failures + 1
            if self._current:
                self._current = False
                if self._keep:
                    log.warning("chart copy no longer told of changes", entries=len(self._copy or ()), reason=why)
            self._end_watches(why)
            if not self._keep:
                return
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])

    def _end_watches(self, why: str) -> None:
        for watcher in self._watchers:
            watcher.ended = ChartUnavailable(f"the directory no longer tells of changes: {why}")
            watcher.arrived.set()

    async def _once(self) -> None:
        """Until the connection is lost, or the server has enough of it."""
        connection = await self._servers.connect()
        try:
            try:
                await self._synchronise(connection)
            except DirectoryRefused as error:
                if error.code not in NOT_OFFERED or self._current:
                    raise
                if self._keep:
                    log.warning("the directory offers no synchronisation, so no copy is kept", reason=str(error))
                await self._poll(connection)
        finally:
            await connection.left()

    async def _synchronise(self, connection: LdapConnection) -> None:
        request = SearchRequest(self._base, Scope.SUBTREE, self._searched, self._attributes)
        building: _Copy | None = _Copy() if self._keep else None
        async with aclosing(connection.follow(request, [_CONTROL])) as messages:
            async for message in messages:
                operation = message.operation
                if isinstance(operation, SearchEntry):
                    self._take(message, operation, building)
                elif isinstance(operation, IntermediateResponse):
                    info = read_sync_info(operation.value)
                    if isinstance(info, RefreshDelete | RefreshPresent) and info.done:
                        self._refreshed(building)
                    elif isinstance(info, SyncIdSet) and info.refresh_deletes and self._copy is not None:
                        for uuid in info.uuids:
                            self._copy.remove(uuid)
                elif isinstance(operation, SearchDone):
                    raise DirectoryRefused(
                        operation.result.text or f"result {operation.result.code}", code=operation.result.code
                    )

    def _refreshed(self, building: _Copy | None) -> None:
        if not self._current:
            self._current = True
            if building is not None:
                self._copy = building
                log.info("chart copy complete", entries=len(building))

    def _take(self, message: Message, entry: SearchEntry, building: _Copy | None) -> None:
        state = next((SyncState.read(each.value) for each in message.controls if each.oid == SYNC_STATE_OID), None)
        if state is None:
            return
        copy = self._copy if self._current else building
        if state.kind is SyncStateKind.DELETE:
            if copy is not None:
                copy.remove(state.uuid)
            return
        entries = self._read(entry)
        if copy is not None:
            copy.put(state.uuid, entries)
        # What is told while the refresh lasts is news only if it was written after we began.
        if self._current or _written(entry) > self._since:
            self._tell_bound(entries)

    def _tell_bound(self, entries: Sequence[Entry]) -> None:
        for each in entries:
            if each.binding is not None:
                self.tell(each.address)

    async def _poll(self, connection: LdapConnection) -> None:
        """Ask for what was modified lately, each second; what was told once is not told again."""
        seconds = self._servers.access.seconds
        told: dict[str, str] | None = None  # by name: the entryCSN, or time, that was told last
        since = self._since
        while True:
            lately = GreaterOrEqual("modifyTimestamp", time_text(since.replace(microsecond=0)).encode())
            request = SearchRequest(self._base, Scope.SUBTREE, And((self._searched, lately)), self._attributes)
            begun = datetime.now(UTC)
            found = await connection.search(request, seconds)
            fresh: dict[str, str] = {}
            for entry in found.entries:
                mark = fresh[entry.name] = _mark(entry)
                is_news = _written(entry) > self._since if told is None else told.get(entry.name) != mark
                if is_news:
                    self._tell_bound(self._read(entry))
            told = fresh
            since = max(since, begun - POLL_OVERLAP)
            await asyncio.sleep(POLL_SECONDS)


def _value(entry: SearchEntry, name: str) -> str:
    for attribute, values in entry.attributes:
        if attribute.lower() == name and values:
            return values[0].decode("utf-8", "replace")
    return ""


def _mark(entry: SearchEntry) -> str:
    return _value(entry, "entrycsn") or _value(entry, "lanpostupdated") or _value(entry, "modifytimestamp")


def _written(entry: SearchEntry) -> datetime:
    """When, to the microsecond where the directory tells (entryCSN); long ago where it does not say."""
    try:
        return time_of(_value(entry, "entrycsn").partition("#")[0] or "19700101000000Z")
    except InvalidValue:
        return datetime(1970, 1, 1, tzinfo=UTC)
