"""What a DHCP server says of an address, turned into the binding of the terminal that it is about.

Its word is hearsay beside the terminal's own: it neither moves a live binding that the terminal made itself, nor
one made by hand. But an address that it has given to another machine, or taken back, is nobody's who had it before,
however he was bound. A word may come late: what was written after it happened stands. ChartUnavailable and
StoreError pass through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lanpost.model.account import Terminal
from lanpost.model.binding import Binding, Source
from lanpost.model.device import UNKNOWN_DEVICE, Device, Lease, LeaseEvent
from lanpost.model.endpoint import Endpoint
from lanpost.service.handover import BY_HAND, Dropped, make_way
from lanpost.service.ports import Accounts, Chart

RENEWED_AFTER = 0.25  # of its lifetime: a binding that is younger is not written anew for having been said again
CLOSE = timedelta(milliseconds=100)  # two moments so near may have changed places on their way here


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of it: the binding that was made or renewed, or why there is none."""

    binding: Binding | None
    why: str = ""


def needs_writing(former: Binding | None, endpoint: Endpoint, now: datetime) -> bool:
    """A binding to that endpoint is news, or `former` is no longer young."""
    if former is None or former.endpoint != endpoint or not former.is_live(now):
        return True
    return former.expires is not None and now >= former.updated + RENEWED_AFTER * (former.expires - former.updated)


class Leases:
    """`ports` are those at which terminals may take mail, `most` the longest lifetime of a binding."""

    def __init__(
        self, chart: Chart, accounts: Accounts, ports: tuple[int, ...], most: timedelta, dropped: Dropped
    ) -> None:
        self._chart = chart
        self._accounts = accounts
        self._ports = ports
        self._most = most
        self._dropped = dropped

    async def hear(self, lease: Lease, owner: str, happened: datetime, now: datetime) -> Heard:
        """A word of the DHCP server whose account is `owner`, about what `happened` then."""
        terminal = self._accounts.terminal_of(lease.device) if lease.device else None
        await self._take_back(lease, terminal, happened, now)
        if lease.event.is_end:
            return Heard(None, "the lease is over")
        if terminal is None:
            return Heard(None, "no terminal is known by these")
        return await self._bind(lease, terminal, owner, happened, now)

    # The address has another machine now, or none.

    async def _take_back(self, lease: Lease, terminal: Terminal | None, happened: datetime, now: datetime) -> None:
        async for binding in self._at(lease.host):
            if binding.source in BY_HAND or not binding.is_live(now) or binding.updated > happened + CLOSE:
                continue
            why = self._lost(binding, lease, terminal)
            if why and await self._chart.unbind(binding.address, binding.endpoint):
                self._dropped(binding, why)

    def _lost(self, binding: Binding, lease: Lease, terminal: Terminal | None) -> str:
        """Why that binding is wrong by this word; "" where it is not."""
        is_its_own = terminal is not None and terminal.address == binding.address
        bound = self._accounts.terminal(binding.address)
        device = bound.device if bound else UNKNOWN_DEVICE
        is_other = device.is_other_than(lease.device)
        if lease.event.is_end:
            lost = is_its_own or (binding.source is Source.DHCP and not is_other)
            return f"the DHCP server says: {lease.event}" if lost else ""
        if is_its_own:
            return ""
        # A renewal that says less than the first word did is not about another machine for that.
        by_hearsay = binding.source is Source.DHCP and (
            lease.event is LeaseEvent.BOUND or _have_common_name(device, lease.device)
        )
        if is_other or terminal is not None or by_hearsay:
            whose = terminal.address if terminal else "another machine"
            return f"the DHCP server says that {whose} has its address"
        return ""

    async def _at(self, host: str) -> AsyncIterator[Binding]:
        for port in self._ports:
            for binding in await self._chart.bound_to(Endpoint(host, port)):
                yield binding

    # The address has a machine that we know.

    async def _bind(self, lease: Lease, terminal: Terminal, owner: str, happened: datetime, now: datetime) -> Heard:
        address = terminal.address
        if terminal.port not in self._ports:
            return Heard(None, f"port {terminal.port} is not in [delivery] endpoint_ports")
        if self._accounts.user(address) is not None:
            return Heard(None, "it is a person's mailbox here")
        expires = happened + self._lifetime(lease)
        if expires <= now:
            return Heard(None, "the lease is over by now")
        endpoint = Endpoint(lease.host, terminal.port)
        entry = await self._chart.look_up(address, whole=False)
        former = entry.binding if entry else None
        if former is not None and former.is_live(now) and (why := _stands(former, endpoint, happened)):
            return Heard(None, why)
        if lease.event is LeaseEvent.RENEWED and not needs_writing(former, endpoint, now):
            return Heard(None, "it is known")
        binding = Binding(address, endpoint, happened, expires, Source.DHCP, owner)
        await make_way(self._chart, binding, now, self._dropped)
        await self._chart.bind(binding)
        return Heard(binding)

    def _lifetime(self, lease: Lease) -> timedelta:
        if lease.lifetime is None or lease.lifetime >= self._most.total_seconds():
            return self._most
        return timedelta(seconds=lease.lifetime)


def _stands(former: Binding, endpoint: Endpoint, happened: datetime) -> str:
    """Why a live binding is not replaced by the DHCP server's word; "" where it is."""
    if former.source in BY_HAND:
        return "it is bound by hand"
    if former.source is Source.AGENT:
        return "the terminal registers by itself"
    if former.updated > happened + CLOSE:
        return "something newer is known"
    if former.endpoint.is_ipv6 != endpoint.is_ipv6:
        return "it is bound by its address of the other IP version"
    return ""


def _have_common_name(one: Device, other: Device) -> bool:
    return bool((one.mac and other.mac) or (one.client_id and other.client_id) or (one.hostname and other.hostname))
