"""One endpoint, one terminal: who binds an endpoint takes it from those who were bound there before.

An address that a terminal has lost is given to the next machine, which must not get the first one's mail. A binding
that was taken away leaves its terminal known, and its mail is held until it says where it is now.

What was bound by hand, or written into the directory by somebody else, was meant so and stays. So does what one
account has bound for several addresses: it speaks for all of them. ChartUnavailable passes through.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Sequence
from datetime import datetime

from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import Chart

BY_HAND = frozenset({Source.ADMINISTRATOR, Source.LDAP})

Dropped = Callable[[Binding, str], None]  # told of a binding that was taken away, and why


def ignore(_binding: Binding, _why: str) -> None:
    """For those who need not know."""


def gives_way(former: Binding, newer: Binding, now: datetime) -> bool:
    """`former` is at the endpoint of `newer`, and must not stay there."""
    return (
        former.address != newer.address
        and former.source not in BY_HAND
        and not (former.owner and former.owner == newer.owner)
        and former.is_live(now)
    )


async def make_way(chart: Chart, binding: Binding, now: datetime, dropped: Dropped) -> None:
    """Take the endpoint from its former terminals: before `binding` is written, so that it never leads to two."""
    for former in await chart.bound_to(binding.endpoint):
        if gives_way(former, binding, now) and await chart.unbind(former.address, binding.endpoint):
            dropped(former, f"{binding.address} has its endpoint")


async def settle(chart: Chart, address: MailAddress, now: datetime, dropped: Dropped) -> None:
    """The same once `address` is bound, whoever did it: those stay that were bound after it."""
    entry = await chart.look_up(address, whole=False)
    binding = entry.binding if entry else None
    if binding is None or not binding.is_live(now):
        return
    for former in await chart.bound_to(binding.endpoint):
        if (
            _order(former) < _order(binding)
            and gives_way(former, binding, now)
            and await chart.unbind(former.address, binding.endpoint)
        ):
            dropped(former, f"{address} has its endpoint")


async def shared_endpoints(entries: AsyncIterable[Entry], now: datetime) -> Sequence[MailAddress]:
    """Addresses to `settle`, of a whole chart: those bound last, where an endpoint has several."""
    newest: dict[Endpoint, tuple[datetime, str, MailAddress]] = {}
    shared: dict[Endpoint, None] = {}
    async for entry in entries:
        binding = entry.binding
        if binding is None or not binding.is_live(now):
            continue
        endpoint = binding.endpoint
        if endpoint in newest:
            shared[endpoint] = None
        if endpoint not in newest or newest[endpoint][:2] < _order(binding):
            newest[endpoint] = (*_order(binding), binding.address)
    return [newest[endpoint][2] for endpoint in shared]


def _order(binding: Binding) -> tuple[datetime, str]:
    """Which of two was bound last; of two in one moment it is the same one, whoever asks."""
    return binding.updated, binding.address.key
