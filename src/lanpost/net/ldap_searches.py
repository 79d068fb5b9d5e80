"""Searches: limits, pages (RFC 2696), sorting (RFC 2891). Results leave in batches, as the client reads them.

A search for one address, by far the commonest, is answered without waiting where the chart is on this machine.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

from lanpost.errors import DirectoryRefused, StoreError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.model.distinguished_name import MAX_REMEMBERED_TEXT
from lanpost.net.ldap_asked import Asked, asked_by
from lanpost.service.directory_changes import refused
from lanpost.service.directory_login import Identity
from lanpost.service.directory_search import Search
from lanpost.service.directory_selection import Selection, is_ordinary, selection_of
from lanpost.service.directory_tree import ChartNode, Node, Tree
from lanpost.service.ports import Chart, Clock
from lanpost.wire.ldap_controls import PAGED_RESULTS_OID, PagedResults, SyncRequest
from lanpost.wire.ldap_encode import encode_search_done, encode_search_entry
from lanpost.wire.ldap_messages import (
    Control,
    Message,
    Response,
    Result,
    ResultCode,
    Scope,
    SearchDone,
    SearchRequest,
)

MAX_ANSWERS = 16_384  # kept ready, of some 600 octets each, until the chart changes
MAX_ANSWER = 4096  # octets of an answer that is kept
MAX_SORTED = 10_000  # entries of one search; sorting holds them all in memory
MAX_HELD = 50_000  # entries that all clients together have sorted at a time
LOOKED_AT = 128  # entries, about a millisecond, until another client has its turn
LOOK_SECONDS = 0.002  # the same for filters that take long
BATCH = 16 * 1024  # octets of entries that leave together
UNSORTED = b"u"  # begins the cookie of pages whose order was too much
_TOO_MUCH_TO_SORT = (ResultCode.ADMIN_LIMIT_EXCEEDED, ResultCode.BUSY)
_OPEN_TO_ALL = ("", "cn=subschema")  # what anybody may read whoever may read the rest (RFC 4512 §5.1)


@dataclass(frozen=True, slots=True)
class SearchRules:
    """The administrator's choices."""

    anonymous: bool = True  # anybody may read
    entries: int = 100_000  # of one search; the administrator's have no limit
    seconds: float = 60.0  # of one search


class Answers(Protocol):
    """Where the answers to one search go."""

    @property
    def message(self) -> Message: ...
    @property
    def turn(self) -> AbstractAsyncContextManager[None]:
        """This client's searches through many entries, one at a time."""

    @property
    def is_read(self) -> bool:
        """The client takes more just now."""

    def persisting(self) -> AbstractContextManager[None]:
        """For a search that goes on until the client ends it. DirectoryRefused: he has enough of those."""

    async def send(self, octets: bytes) -> None:
        """Messages encoded already, once the client takes more. ConnectionError when he is gone."""

    def tell(self, response: Response, controls: Sequence[Control] = ()) -> None: ...


class Synchronisation(Protocol):
    """Searches that go on with every change (RFC 4533)."""

    async def serve(self, answers: Answers, search: Search, selection: Selection, asked: SyncRequest) -> None: ...


class LocalChart(Protocol):
    """A chart that is asked without waiting. Raises StoreError."""

    def look_up_now(self, address: MailAddress) -> Entry | None: ...
    def version_now(self) -> int:
        """Another number whenever anybody may have changed anything."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """To a search for one address: its entry's name and encoded attributes; no name: nobody has that address."""

    name: str = ""
    attributes: bytes = b""
    until: float = math.inf  # seconds since 1970: then its binding expires


class Searches:
    """All searches of one directory. `local` is the chart where it can be asked without waiting."""

    def __init__(
        self,
        tree: Tree,
        chart: Chart,
        rules: SearchRules,
        clock: Clock,
        *,
        local: LocalChart | None = None,
        synchronisation: Synchronisation | None = None,
    ) -> None:
        self._tree = tree
        self._chart = chart
        self._rules = rules
        self._clock = clock
        self._local = local
        self._version: int | None = None  # of the chart, in this turn
        self._answers_version = 0
        self._answers: dict[SearchRequest, _Answer] = {}  # of that version, to searches for one address
        self._synchronisation = synchronisation
        self._held = 0  # entries, to be sorted
        self._looking = asyncio.Lock()

    def refuse_strangers(self, identity: Identity) -> None:
        """DirectoryRefused where only those who bind may read."""
        if identity.is_anybody and not self._rules.anonymous:
            raise refused('bind first: [ldap] anonymous is "none" here', ResultCode.INSUFFICIENT_ACCESS_RIGHTS)

    def new_turn(self) -> None:
        """Time passes: the chart may be another from here on."""
        self._version = None

    def quick(self, identity: Identity, message_id: int, request: SearchRequest) -> bytes | None:
        """All answers to a search for one address, encoded; None: it is not so simple."""
        if self._local is None or (identity.is_anybody and not self._rules.anonymous):
            return None
        try:
            if self._version is None:
                self._look_at_version(self._local)
            answer = self._answers.get(request)
            if answer is None or time.time() >= answer.until:
                answer = self._quick_answer(self._local, request)
        except (DirectoryRefused, StoreError):
            return None  # whatever it is, it is told by the long way
        if answer is None:
            return None
        done = encode_search_done(message_id)
        return encode_search_entry(message_id, answer.name, answer.attributes) + done if answer.name else done

    def _look_at_version(self, chart: LocalChart) -> None:
        self._version = chart.version_now()
        if self._version != self._answers_version or len(self._answers) > MAX_ANSWERS:
            self._answers.clear()
            self._answers_version = self._version

    def _quick_answer(self, chart: LocalChart, request: SearchRequest) -> _Answer | None:
        search = self._search(request)
        address = search.single
        if address is None:
            return None
        entry = chart.look_up_now(address)
        if entry is None:
            answer = _Answer()
        else:
            node = ChartNode(self._tree, entry, self._clock())
            selection = selection_of(request.attributes)
            binding = entry.binding
            until = math.inf
            if binding is not None and binding.expires is not None:
                until = binding.expires.timestamp() if node.is_live else math.inf
                if selection.tells_time:
                    until = 0
            answer = _Answer(node.name, selection.octets(node, types_only=request.types_only), until)
        is_ordinary_name = len(request.base) <= MAX_REMEMBERED_TEXT
        if is_ordinary_name and is_ordinary(request.attributes) and len(answer.attributes) <= MAX_ANSWER:
            self._answers[request] = answer
        return answer

    async def search(self, identity: Identity, answers: Answers, request: SearchRequest) -> None:
        """Answer any search."""
        if request.scope is not Scope.BASE or request.base.lower() not in _OPEN_TO_ALL:
            self.refuse_strangers(identity)
        asked = asked_by(answers.message.controls)
        search = self._search(request)
        selection = selection_of(request.attributes)
        if asked.sync is not None:
            if self._synchronisation is None:
                raise refused("this chart does not tell what changes", ResultCode.UNAVAILABLE_CRITICAL_EXTENSION)
            await self._synchronisation.serve(answers, search, selection, asked.sync)
        elif search.is_small:
            await self._answer(answers, search, selection, asked, self._limits(identity, request))
        else:
            async with answers.turn:
                await self._answer(answers, search, selection, asked, self._limits(identity, request))

    async def _answer(
        self, answers: Answers, search: Search, selection: Selection, asked: Asked, limits: _Limits
    ) -> None:
        if asked.page is not None and asked.page.size == 0:  # RFC 2696 §3: he wants no more
            _end(answers, asked, b"")
            return
        if asked.order and asked.page is not None and asked.page.cookie.startswith(UNSORTED):
            asked = asked.unsorted(ResultCode.ADMIN_LIMIT_EXCEEDED)  # as the pages before
        if asked.order:
            try:
                await self._sorted(answers, search, selection, asked, limits)
            except DirectoryRefused as error:
                if asked.needs_order or error.code not in _TOO_MUCH_TO_SORT:
                    raise
                asked = asked.unsorted(error.code)
            else:
                return
        await self._in_order(answers, search, selection, asked, limits)

    def _search(self, request: SearchRequest) -> Search:
        return Search(self._tree, self._chart, request.base, request.scope, request.filter, self._clock())

    def _limits(self, identity: Identity, request: SearchRequest) -> _Limits:
        ours = 0 if identity.is_administrator else self._rules.entries
        entries = min(filter(None, (ours, request.size_limit)), default=0)
        seconds = min(self._rules.seconds, request.time_limit or self._rules.seconds)
        return _Limits(entries, time.monotonic() + seconds, request.types_only)

    async def _passing(
        self, nodes: AsyncGenerator[Node | None, None], search: Search, limits: _Limits
    ) -> AsyncGenerator[Node, None]:
        """Those that match. However many clients search all entries, one of them looks at a few at a time."""
        async with aclosing(nodes):
            is_done = False
            while not is_done:
                async with nullcontext() if search.is_small else self._looking:
                    found, is_done = await _matching(nodes, search)
                if time.monotonic() > limits.until:
                    raise refused("this search takes too long; narrow the filter", ResultCode.TIME_LIMIT_EXCEEDED)
                found.reverse()
                while found:  # until it is emptied: many may wait for their turn
                    yield found.pop()
                if not is_done:
                    await asyncio.sleep(0)  # a lock that nobody waits for is no pause

    async def _in_order(
        self, answers: Answers, search: Search, selection: Selection, asked: Asked, limits: _Limits
    ) -> None:
        """By key, as the chart has them. Nothing is held but a batch while the client does not read."""
        mark = _Mark() if asked.page is None else _Mark.read(asked.page.cookie.removeprefix(UNSORTED))
        batch = _Batch(answers, selection, limits)
        is_done = False
        while not is_done:
            async with aclosing(self._passing(search.looked_at(mark.key, mark.fixed), search, limits)) as nodes:
                async for node in nodes:
                    if asked.page is not None and batch.count >= asked.page.size:
                        await batch.flush()
                        _end(answers, asked, mark.text())
                        return
                    await batch.put(node)
                    mark = mark.after(node, search)
                    if batch.is_full:
                        if not answers.is_read:
                            break
                        await batch.flush()
                else:
                    is_done = True
            await batch.flush()
        _end(answers, asked, b"")

    async def _sorted(
        self, answers: Answers, search: Search, selection: Selection, asked: Asked, limits: _Limits
    ) -> None:
        """All that match are held, sorted, and told, with turns for others; a further page sorts them anew."""
        rows: list[tuple[Any, ...]] = []  # an entry's keys and the entry
        try:
            async for node in self._passing(search.looked_at(), search, limits):
                rows.append((*(key(node) for key, _ in asked.order), node))
                self._held += 1
                if len(rows) > MAX_SORTED:
                    raise refused(
                        f"more than {MAX_SORTED} entries are not sorted; narrow the filter",
                        ResultCode.ADMIN_LIMIT_EXCEEDED,
                    )
                if self._held > MAX_HELD:
                    raise refused("others have too much sorted just now; try again", ResultCode.BUSY)
            for number in reversed(range(len(asked.order))):
                rows.sort(key=itemgetter(number), reverse=asked.order[number][1])
                await asyncio.sleep(0)
            first = _Mark.read(asked.page.cookie).fixed if asked.page is not None else 0
            last = first + asked.page.size if asked.page is not None else len(rows)
            batch = _Batch(answers, selection, limits)
            for row in rows[first:last]:
                await batch.put(row[-1])
                if batch.is_full:
                    await batch.flush()
                    await asyncio.sleep(0)
            await batch.flush()
        finally:
            self._held -= len(rows)
        _end(answers, asked, _Mark(last).text() if last < len(rows) else b"")


@dataclass(frozen=True, slots=True)
class _Limits:
    entries: int  # 0: none
    until: float  # monotonic seconds
    types_only: bool


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a search has come: so many fixed nodes looked at, and the key of the last entry told."""

    fixed: int = 0
    key: str = ""

    @staticmethod
    def read(cookie: bytes) -> _Mark:
        """Raises DirectoryRefused for what is no cookie of ours."""
        if not cookie:
            return _Mark()
        number, colon, key = cookie.decode("utf-8", "replace").partition(":")
        if not colon or not (number.isascii() and number.isdigit()) or len(number) > 9:
            raise refused("this is no cookie of ours; begin the search anew", ResultCode.UNWILLING_TO_PERFORM)
        return _Mark(int(number), key)

    def after(self, node: Node, search: Search) -> _Mark:
        if isinstance(node, ChartNode):
            return _Mark(self.fixed, node.entry.address.key)
        return _Mark(search.fixed_until(node), self.key)

    def text(self) -> bytes:
        return f"{self.fixed}:{self.key}".encode()


class _Batch:
    """Entries on their way to the client."""

    def __init__(self, answers: Answers, selection: Selection, limits: _Limits) -> None:
        self.count = 0
        self._answers = answers
        self._selection = selection
        self._limits = limits
        self._parts: list[bytes] = []
        self._octets = 0

    async def put(self, node: Node) -> None:
        """Raises DirectoryRefused once there are more than the limit, whose entries have been sent."""
        if self._limits.entries and self.count >= self._limits.entries:
            await self.flush()
            raise refused(f"there are more than {self._limits.entries} entries", ResultCode.SIZE_LIMIT_EXCEEDED)
        self.count += 1
        attributes = self._selection.octets(node, types_only=self._limits.types_only)
        part = encode_search_entry(self._answers.message.id, node.name, attributes)
        self._parts.append(part)
        self._octets += len(part)

    @property
    def is_full(self) -> bool:
        return self._octets >= BATCH

    async def flush(self) -> None:
        if self._parts:
            octets = b"".join(self._parts)
            self._parts, self._octets = [], 0
            await self._answers.send(octets)


async def _matching(nodes: AsyncGenerator[Node | None, None], search: Search) -> tuple[list[Node], bool]:
    """Those of the next few that match, and whether they were the last."""
    found: list[Node] = []
    until = time.monotonic() + LOOK_SECONDS
    for _ in range(LOOKED_AT):
        try:
            node = await anext(nodes)
        except StopAsyncIteration:
            return found, True
        if node is not None and search.matches(node):
            found.append(node)
        if time.monotonic() > until:
            break
    return found, False


def _end(answers: Answers, asked: Asked, cookie: bytes) -> None:
    controls = asked.told
    if asked.page is not None:
        if cookie and asked.is_unsorted:
            cookie = UNSORTED + cookie
        controls = (*controls, Control(PAGED_RESULTS_OID, value=PagedResults(0, cookie).encode()))
    answers.tell(SearchDone(Result()), controls)
