"""A chart copied into another, of whatever kind the two are.

Both tell their entries in the order of their keys, so the copy walks through them side by side and holds a batch.
What is in the target already, as it should be, is left alone: doing it again writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from lanpost.app.charts import url_problem
from lanpost.app.settings import ChartSettings, Settings
from lanpost.errors import ConfigurationError, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import NO_DETAILS
from lanpost.service.ports import Chart

BATCH = 5_000  # entries written at a time
SIDE_BY_SIDE = 500  # small writes under way at once
MAX_NAMED = 100  # entries whose trouble is told; the rest is counted

Given = TypeVar("Given")


@dataclass(slots=True)
class Copied:
    """What became of it."""

    entries: int = 0  # of the source
    written: int = 0  # of them new or different in the target
    only_in_target: int = 0
    removed: int = 0  # of those
    lost: int = 0  # of the source's, those that the target does not hold as they are
    losses: list[tuple[MailAddress, str]] = field(default_factory=list)  # the first MAX_NAMED, each with why

    def lose(self, address: MailAddress, why: str) -> None:
        self.lost += 1
        if len(self.losses) < MAX_NAMED:
            self.losses.append((address, why))


async def copy(source: Chart, target: Chart, progress: Callable[[int], object], *, prune: bool = False) -> Copied:
    """Put all entries of `source` into `target`; `progress` is told how many are done.

    `prune` removes those that only the target has. Raises ChartUnavailable where one of the two cannot be asked:
    what fails half way is made good by doing it again.
    """
    copied = Copied()
    refused: dict[str, str] = {}
    batch: list[tuple[Entry, Entry | None]] = []
    superfluous: list[MailAddress] = []
    async for entry, existing in _side_by_side(source.entries(), target.entries()):
        if entry is None:
            assert existing
            copied.only_in_target += 1
            if prune:
                superfluous.append(existing.address)
            continue
        copied.entries += 1
        if existing is None or not _is_same(entry, existing):
            batch.append((entry, existing))
            if len(batch) >= BATCH:
                copied.written += await _write(target, batch, refused)
                batch.clear()
        if not copied.entries % SIDE_BY_SIDE:
            progress(copied.entries)
    copied.written += await _write(target, batch, refused)
    progress(copied.entries)
    for address in superfluous:
        # Asked once more: what the order of keys says is not enough to forget an address.
        if await source.look_up(address) is None and await target.remove(address):
            copied.removed += 1
    await _verify(source, target, copied, refused)
    return copied


def settings_for(settings: Settings, url: str, credentials: Mapping[str, str]) -> Settings:
    """For the chart at `url`: what `[chart]` says if it is that one, with what is said of its credentials here.

    Raises ConfigurationError for a URL that cannot be used.
    """
    if problem := url_problem(url):
        raise ConfigurationError(problem.removeprefix("chart.url = "))
    chart = settings.chart if url == settings.chart.url else ChartSettings(timeout=settings.chart.timeout)
    password_file = credentials.get("password_file", "")
    named = replace(
        chart,
        url=url,
        replica=False,
        user=credentials.get("user") or chart.user,
        bind_dn=credentials.get("bind_dn") or chart.bind_dn,
        password_file=str(Path(password_file).absolute()) if password_file else chart.password_file,
    )
    return replace(settings, chart=named)


async def _write(target: Chart, batch: Sequence[tuple[Entry, Entry | None]], refused: dict[str, str]) -> int:
    """Returns how many were not refused."""
    bindings = [
        entry.binding
        for entry, existing in batch
        if entry.binding and not (existing and entry.binding == existing.binding and _is_spelt(entry, existing))
    ]
    refusals = len(refused)
    if bindings:
        try:
            await target.bind_many(bindings)
        except InvalidValue:
            await _each(_refusing(target.bind, refused, lambda binding: binding.address), bindings)
    unbound = [entry.address for entry, _ in batch if not entry.binding]
    fresh = [entry.address for entry, existing in batch if not entry.binding and not existing]
    described = [
        entry for entry, existing in batch if entry.details != (existing.details if existing else NO_DETAILS)
    ]
    await _each(_refusing(target.add, refused, lambda address: address), fresh)
    await _each(_refusing(target.unbind, refused, lambda address: address), unbound)
    await _each(
        _refusing(
            lambda entry: target.describe(entry.address, entry.details), refused, lambda entry: entry.address
        ),
        [entry for entry in described if entry.address.key not in refused],
    )
    return len(batch) - (len(refused) - refusals)


def _refusing(
    write: Callable[[Given], Awaitable[object]], refused: dict[str, str], address: Callable[[Given], MailAddress]
) -> Callable[[Given], Awaitable[None]]:
    """The same write, which puts down a refusal with its reason."""

    async def perform(given: Given) -> None:
        try:
            await write(given)
        except InvalidValue as error:
            refused[address(given).key] = str(error)

    return perform


async def _each(perform: Callable[[Given], Awaitable[None]], given: Sequence[Given]) -> None:
    for begin in range(0, len(given), SIDE_BY_SIDE):
        await asyncio.gather(*map(perform, given[begin : begin + SIDE_BY_SIDE]))


async def _verify(source: Chart, target: Chart, copied: Copied, refused: dict[str, str]) -> None:
    """Name what the target does not hold as the source has it, whatever it said when it was written."""
    async for entry, existing in _side_by_side(source.entries(), target.entries()):
        if entry is None or (existing and _is_same(entry, existing)):
            continue
        if (why := refused.get(entry.address.key)) is None:
            now, there = await source.look_up(entry.address), await target.look_up(entry.address)
            if now is None or (there and _is_same(now, there)):
                continue  # changed meanwhile
            why = _difference(now, there)
        copied.lose(entry.address, why)


async def _side_by_side(
    source: AsyncIterator[Entry], target: AsyncIterator[Entry]
) -> AsyncIterator[tuple[Entry | None, Entry | None]]:
    """What both have of each address, in the order of keys."""
    one, other = await anext(source, None), await anext(target, None)
    while one or other:
        if other is None or (one and one.address.key < other.address.key):
            yield one, None
            one = await anext(source, None)
        elif one is None or other.address.key < one.address.key:
            yield None, other
            other = await anext(target, None)
        else:
            yield one, other
            one, other = await anext(source, None), await anext(target, None)


def _is_same(one: Entry, other: Entry) -> bool:
    return one == other and _is_spelt(one, other)


def _is_spelt(one: Entry, other: Entry) -> bool:
    """Addresses are equal in any spelling; of a binding the spelling goes along, a known one keeps its own."""
    return one.binding is None or str(one.address) == str(other.address)


def _difference(wanted: Entry, found: Entry | None) -> str:
    if found is None:
        return "it is not there"
    if (wanted.binding is None) != (found.binding is None):
        return "it has no endpoint there" if wanted.binding else "it has an endpoint there"
    names = ["details"] if wanted.details != found.details else []
    if wanted.binding and found.binding:
        names += [name for name in _FIELDS if getattr(wanted.binding, name) != getattr(found.binding, name)]
    return f"it has other {', '.join(names)} there" if names else "its address is spelt in another way there"


_FIELDS = tuple(name for name in Binding.__dataclass_fields__ if name != "address")
