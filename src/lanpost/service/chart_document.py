"""A chart that is one document: its entries in memory, what was changed in it, and its text as XML.

What charts in a file and on a document server share; they say when it is read and written. For one thread at a
time.
"""

from __future__ import annotations

import secrets
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from operator import itemgetter

from lanpost.content.chart_xml import MAX_DOCUMENT, read_changed
from lanpost.content.chart_xml_text import HEAD, TAIL, line_of
from lanpost.errors import StoreFull
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import Change

PAGE = 256  # entries told at a time
REMOVED_KEPT = 10_000  # removals remembered for those who keep a copy; who comes later begins anew
FEW_KEYS = 16  # new ones that are sorted in one by one


class Draft:
    """Changes to a document that are not in it yet. Means the same as ChartStore, whose names it uses.

    Raises InvalidValue for what XML cannot hold.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self.changed: dict[str, Entry | None] = {}  # None: removed
        self.lines: dict[str, str] = {}  # of the changed ones that are not removed
        self.bound: dict[str, MailAddress] = {}  # in the order of binding
        self.removed: dict[str, MailAddress] = {}

    def bind(self, binding: Binding) -> None:
        former = self._entry(binding.address)
        entry = Entry(binding.address, binding, former.details) if former else Entry(binding.address, binding)
        self._put(entry)
        self.bound.pop(binding.address.key, None)
        self.bound[binding.address.key] = binding.address

    def bind_many(self, bindings: Iterable[Binding]) -> int:
        count = 0
        for binding in bindings:
            self.bind(binding)
            count += 1
        return count

    def unbind(self, address: MailAddress, at: Endpoint | None = None) -> bool:
        entry = self._entry(address)
        if entry is None or entry.binding is None or at not in (None, entry.binding.endpoint):
            return False
        self._put(replace(entry, binding=None))
        self.bound.pop(address.key, None)
        return True

    def add(self, address: MailAddress) -> bool:
        if self._entry(address):
            return False
        self._put(Entry(address))
        return True

    def describe(self, address: MailAddress, details: Details) -> bool:
        entry = self._entry(address)
        if entry is None:
            return False
        self._put(replace(entry, details=details))
        return True

    def remove(self, address: MailAddress) -> bool:
        entry = self._entry(address)
        if entry is None:
            return False
        self.changed[address.key] = None
        self.removed[address.key] = entry.address
        self.bound.pop(address.key, None)
        self.lines.pop(address.key, None)
        return True

    def _entry(self, address: MailAddress) -> Entry | None:
        key = address.key
        return self.changed[key] if key in self.changed else self._entries.get(key)

    def _put(self, entry: Entry) -> None:
        key = entry.address.key
        self.lines[key] = line_of(entry)
        self.changed[key] = entry
        self.removed.pop(key, None)


class ChartDocument:
    """All entries of one chart. Its change numbers are those of this object, and greater than any before it."""

    def __init__(self) -> None:
        self.generation = secrets.token_hex(8)
        self.last_change = time.time_ns() // 1000
        self._horizon = self.last_change
        self._entries: dict[str, Entry] = {}
        self._lines: dict[str, str] = {}  # by key, as far as they were wanted
        self._keys: list[str] | None = []  # sorted; None: to be sorted when they are wanted
        self._by_endpoint: dict[Endpoint, dict[str, None]] | None = None
        self._changes = _Numbered()
        self._bindings = _Numbered()
        self._removed: dict[str, MailAddress] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def look_up(self, address: MailAddress) -> Entry | None:
        return self._entries.get(address.key)

    def entries(self, after: str = "", limit: int = PAGE) -> Sequence[Entry]:
        keys = self._sorted()
        begin = bisect_right(keys, after)
        return [self._entries[key] for key in keys[begin : begin + limit]]

    def bound_to(self, endpoint: Endpoint) -> Sequence[Binding]:
        if self._by_endpoint is None:
            self._by_endpoint = {}
            for key, entry in self._entries.items():
                if entry.binding:
                    self._by_endpoint.setdefault(entry.binding.endpoint, {})[key] = None
        keys = sorted(self._by_endpoint.get(endpoint, ()))
        return [binding for key in keys if (binding := self._entries[key].binding)]

    def changes_since(self, change: int, limit: int = PAGE) -> Sequence[tuple[int, MailAddress]]:
        """As ChartStore's."""
        found = self._bindings.after(change)
        return [(number, self._entries[key].address) for number, key in islice(found, limit)]

    def feed(self, after: int, limit: int = PAGE) -> Sequence[Change] | None:
        """As `ChangeFeed.changes_after`."""
        if not self._horizon <= after <= self.last_change:
            return None
        changes = []
        for number, key in islice(self._changes.after(after), limit):
            entry = self._entries.get(key)
            changes.append(Change(number, entry.address if entry else self._removed[key], entry))
        return changes

    def lapsed(self, after: datetime, until: datetime, key: str = "", limit: int = PAGE) -> Sequence[Entry]:
        """As `ChangeFeed.lapsed`. Looks at every entry."""
        ends = [
            (entry.binding.expires, each)
            for each, entry in self._entries.items()
            if entry.binding and entry.binding.expires and after <= entry.binding.expires <= until
        ]
        begin = (after, key) if key else (after + timedelta.resolution, "")
        found = sorted(end for end in ends if end > begin)
        return [self._entries[each] for _, each in found[:limit]]

    def draft(self) -> Draft:
        return Draft(self._entries)

    def lines(self, draft: Draft) -> list[str]:
        """The lines of all entries as they will be with that draft, for `text_of`."""
        entries, keys = self._entries, self._sorted()
        if any(entry is None or key not in entries for key, entry in draft.changed.items()):
            gone = {key for key, entry in draft.changed.items() if entry is None}
            fresh = [key for key, entry in draft.changed.items() if entry and key not in entries]
            keys = sorted([*(key for key in keys if key not in gone), *fresh])
        lines, changed = self._all_lines(), draft.lines
        return [changed.get(key) or lines[key] for key in keys]

    def take(self, draft: Draft) -> None:
        """Put a draft in force: numbered, told to those who watch."""
        changes = [(key, entry) for key, entry in draft.changed.items() if key not in draft.bound]
        changes += [(key, draft.changed[key]) for key in draft.bound]
        added = 0
        for key, entry in changes:
            added += key not in self._entries
            self._set(key, entry, is_bound=key in draft.bound, gone=draft.removed.get(key))
        self._lines.update(draft.lines)
        if self._keys is not None and added:
            self._sort_in([key for key, entry in changes if entry], added)
        self._tidy()

    def read(self, document: bytes, default_domain: str, now: datetime) -> None:
        """Take what somebody else has written. Raises InvalidValue, and is as before then."""
        self.adopt(self.reading(document, default_domain, now)())

    def reading(self, document: bytes, default_domain: str, now: datetime) -> Callable[[], dict[str, Entry]]:
        """What reads such a document, in any thread, for `adopt`. Raises InvalidValue when called."""
        known = {line: self._entries[key] for key, line in self._all_lines().items()}
        return partial(read_changed, document, known, default_domain, now, self._entries.get)

    def adopt(self, fresh: Mapping[str, Entry]) -> None:
        """Make these the entries; what differs is numbered and told."""
        former = self._entries
        self._entries = dict(former)  # a draft under way keeps what it began with
        self._keys = None
        for key in former.keys() - fresh.keys():
            self._set(key, None, is_bound=False, gone=former[key].address)
        for key, entry in fresh.items():
            was = former.get(key)
            if entry is was:
                continue
            if was is None or entry != was or str(entry.address) != str(was.address):
                is_bound = entry.binding is not None and (was is None or was.binding != entry.binding)
                self._lines.pop(key, None)
                self._set(key, entry, is_bound=is_bound, gone=None)
        self._tidy()

    def _set(self, key: str, entry: Entry | None, *, is_bound: bool, gone: MailAddress | None) -> None:
        former = self._entries.get(key)
        self.last_change += 1
        if self._by_endpoint is not None:
            if former and former.binding:
                self._by_endpoint[former.binding.endpoint].pop(key, None)
            if entry and entry.binding:
                self._by_endpoint.setdefault(entry.binding.endpoint, {})[key] = None
        if entry is None or entry.binding is None:
            self._bindings.forget(key)
        elif is_bound:
            self._bindings.put(key, self.last_change)
        if entry is None:
            if former is None:
                return  # made and removed in one draft
            self._entries.pop(key)
            self._lines.pop(key, None)
            self._removed.pop(key, None)
            self._removed[key] = gone or former.address
            self._keys = None
        else:
            self._entries[key] = entry
            self._removed.pop(key, None)
        self._changes.put(key, self.last_change)

    def _sorted(self) -> list[str]:
        if self._keys is None:
            self._keys = sorted(self._entries)
        return self._keys

    def _sort_in(self, keys: Iterable[str], added: int) -> None:
        if added > FEW_KEYS or self._keys is None:
            self._keys = None
            return
        fresh = list(self._keys)
        for key in keys:
            at = bisect_right(fresh, key)
            if not (at and fresh[at - 1] == key):
                insort(fresh, key)
        self._keys = fresh

    def _all_lines(self) -> Mapping[str, str]:
        lines = self._lines
        if len(lines) < len(self._entries):
            for key, entry in self._entries.items():
                if key not in lines:
                    lines[key] = line_of(entry)
        return lines

    def _tidy(self) -> None:
        while len(self._removed) > REMOVED_KEPT:
            key = next(iter(self._removed))
            self._removed.pop(key)
            self._horizon = max(self._horizon, self._changes.forget(key))


def text_of(lines: Sequence[str]) -> bytes:
    """A whole document. Raises StoreFull where it is too large."""
    data = "\n".join((HEAD.rstrip("\n"), *lines, TAIL)).encode()
    if len(data) > MAX_DOCUMENT:
        raise StoreFull(
            f"the chart would have more than {MAX_DOCUMENT >> 20} MiB of XML; move it into SQLite with"
            " `lanpost chart copy`"
        )
    return data


class _Numbered:
    """Keys, each with its last number, in the order of these."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._order: list[tuple[int, str]] = []  # those overtaken by another number too, for a while

    def put(self, key: str, number: int) -> None:
        self._last[key] = number
        self._order.append((number, key))
        if len(self._order) > 2 * len(self._last) + 1000:
            self._order = [(number, key) for number, key in self._order if self._last.get(key) == number]

    def forget(self, key: str) -> int:
        """Its number; 0 where it has none."""
        return self._last.pop(key, 0)

    def after(self, number: int) -> Iterator[tuple[int, str]]:
        order = self._order
        for at in range(bisect_right(order, number, key=itemgetter(0)), len(order)):
            if self._last.get(order[at][1]) == order[at][0]:
                yield order[at]
