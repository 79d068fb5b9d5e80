"""Content synchronisation as provider (RFC 4533): a copy of the chart elsewhere, kept up to date.

A cookie names the last change that the consumer has seen. Where the chart remembers what changed since, only that
is told; else everything, and the consumer drops what was not named (§3.3.1, refreshPresent).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from lanpost.net.ldap_searches import Answers
from lanpost.net.ldap_sync_cookies import Cookies, Seen, seen_by
from lanpost.service.directory_changes import refused
from lanpost.service.directory_search import Search
from lanpost.service.directory_selection import Selection
from lanpost.service.directory_tree import ChartNode, Node, Tree, uuid_of
from lanpost.service.ports import Change, ChangeFeed, Clock
from lanpost.wire.ldap_controls import (
    SYNC_DONE_OID,
    SYNC_INFO_OID,
    SYNC_STATE_OID,
    SyncDone,
    SyncMode,
    SyncRequest,
    SyncState,
    SyncStateKind,
)
from lanpost.wire.ldap_encode import encode_operation
from lanpost.wire.ldap_messages import Control, IntermediateResponse, Result, ResultCode, SearchDone, SearchEntry
from lanpost.wire.ldap_sync_info import RefreshDelete, RefreshPresent, encode_sync_info

BATCH = 64  # entries that leave together
LAPSES_INTERVAL = timedelta(seconds=1)  # how late a copy is told that a binding has expired
MAX_CONSUMERS = 100  # searches that go on with every change; each looks for some many times a second


class SyncProvider:
    """All synchronising searches of one directory."""

    def __init__(self, tree: Tree, feed: ChangeFeed, clock: Clock) -> None:
        self._tree = tree
        self._feed = feed
        self._clock = clock
        self._persisting = 0

    async def serve(self, answers: Answers, search: Search, selection: Selection, asked: SyncRequest) -> None:
        """Refresh, and where that is wished go on until the client abandons it."""
        generation, now = self._feed.generation, self._clock()
        seen = seen_by(asked.cookie, generation, now)
        # Cookies of one second differ by microseconds that are no time.
        cookies = Cookies(generation, asked.cookie, seen.lapses - LAPSES_INTERVAL if seen else now)
        consumer = _Consumer(self._tree, answers, search, selection, cookies, self._clock)
        if asked.mode is SyncMode.REFRESH_ONLY:
            number, is_change = await self._refresh(consumer, cookies, seen, now)
            done = SyncDone(cookies.next(number), refresh_deletes=is_change)
            answers.tell(SearchDone(Result()), [Control(SYNC_DONE_OID, value=done.encode())])
            return
        if self._persisting >= MAX_CONSUMERS:
            raise refused(f"{MAX_CONSUMERS} keep a copy already; refresh now and then", ResultCode.BUSY)
        with answers.persisting():
            self._persisting += 1
            try:
                number, is_change = await self._refresh(consumer, cookies, seen, now)
                cookie = cookies.next(number)
                # §3.3.1: with deletes told he keeps the rest; with what is present told he drops the rest.
                phase = RefreshDelete(cookie) if is_change else RefreshPresent(cookie)
                answers.tell(IntermediateResponse(SYNC_INFO_OID, encode_sync_info(phase)))
                while True:
                    number = await self._follow(consumer, number)
                    await self._tell_lapses(consumer, cookies, number)
            finally:
                self._persisting -= 1

    async def _refresh(
        self, consumer: _Consumer, cookies: Cookies, seen: Seen | None, now: datetime
    ) -> tuple[int, bool]:
        """Up to which change the consumer has been told, and whether of what changed: else of everything."""
        # Taken before anything is read: what changes meanwhile is told once more.
        number = await self._feed.position()
        changes = await self._feed.changes_after(seen.number) if seen else None
        if seen is None or changes is None:
            cookies.lapses = now
            await consumer.all()
            return number, False
        number = await self._catch_up(consumer, seen.number, changes)
        await self._tell_lapses(consumer, cookies, number)
        return number, True

    async def _follow(self, consumer: _Consumer, number: int) -> int:
        """Tell what changes next, if anything does before it is time to look for lapses."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAPSES_INTERVAL.total_seconds()):
                await self._feed.wait_after(number)
        newest = await self._feed.position()
        changes = await self._feed.changes_after(number)
        if changes is None:
            raise refused("too much has changed at once; refresh anew", ResultCode.SYNC_REFRESH_REQUIRED)
        # A number that nothing bears is not waited for again and again.
        return await self._catch_up(consumer, number, changes) if changes else newest

    async def _catch_up(self, consumer: _Consumer, number: int, changes: Iterable[Change]) -> int:
        while changes:
            for change in changes:
                await consumer.changed(change)
                number = change.number
            await consumer.flush()
            more = await self._feed.changes_after(number)
            if more is None:
                raise refused("too much has changed at once; refresh anew", ResultCode.SYNC_REFRESH_REQUIRED)
            changes = more
        return number

    async def _tell_lapses(self, consumer: _Consumer, cookies: Cookies, number: int) -> None:
        """Of bindings that have expired since it was done last, which leads nobody there any more."""
        until, after, key = self._clock(), cookies.lapses, ""
        if until - after < LAPSES_INTERVAL:
            return
        while entries := await self._feed.lapsed(after, until, key):
            for entry in entries:
                await consumer.changed(Change(number, entry.address, entry))
            await consumer.flush()
            assert entry.binding is not None
            assert entry.binding.expires is not None
            after, key = entry.binding.expires, entry.address.key
        cookies.lapses = until


class _Consumer:
    """One client that keeps a copy."""

    def __init__(
        self,
        tree: Tree,
        answers: Answers,
        search: Search,
        selection: Selection,
        cookies: Cookies,
        clock: Clock,
    ) -> None:
        self._tree = tree
        self._answers = answers
        self._search = search
        self._selection = selection
        self._cookies = cookies
        self._clock = clock
        self._waiting: list[bytes] = []
        self._told: set[str] | None = None  # keys of what it has; None: it came with a copy, of who knows what

    async def all(self) -> None:
        """Everything that matches."""
        self._told = set()
        async with self._answers.turn:
            async for node in self._search.looked_at():
                if node is not None and self._search.matches(node):
                    key = node.entry.address.key if isinstance(node, ChartNode) else node.name.lower()
                    await self._put(node, key)
            await self.flush()

    async def changed(self, change: Change) -> None:
        """One entry as it has become: told, or told to be gone where it no longer matches.

        Nothing is told of what the consumer never had: python-ldap's stumbles over that.
        """
        if not self._search.reaches(change.address):
            return
        key = change.address.key
        cookie = self._cookies.next(change.number)
        if change.entry is not None:
            node = ChartNode(self._tree, change.entry, self._clock())
            if self._search.matches(node):
                await self._put(node, key, cookie)
                return
        if self._told is None or key in self._told:
            gone = SearchEntry(self._tree.entry_name(change.address), ())
            await self._add(gone, SyncStateKind.DELETE, key, cookie)

    async def _put(self, node: Node, key: str, cookie: bytes | None = None) -> None:
        # "add" whether it is new there or not: the consumer replaces what has that UUID.
        entry = SearchEntry(node.name, self._selection.attributes(node))
        await self._add(entry, SyncStateKind.ADD, key, cookie)

    async def _add(self, entry: SearchEntry, kind: SyncStateKind, key: str, cookie: bytes | None) -> None:
        state = SyncState(kind, uuid_of(key).bytes, cookie)
        control = Control(SYNC_STATE_OID, value=state.encode())
        if self._told is not None:
            (self._told.discard if kind is SyncStateKind.DELETE else self._told.add)(key)
        self._waiting.append(encode_operation(self._answers.message.id, entry, [control]))
        if len(self._waiting) >= BATCH:
            await self.flush()

    async def flush(self) -> None:
        if self._waiting:
            octets = b"".join(self._waiting)
            self._waiting.clear()
            await self._answers.send(octets)
