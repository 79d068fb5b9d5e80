"""A device that only sends mail tells by its login where it is: the mail server itself carries the notification.

Only for accounts that say so (`learn`), and only by a session that has proved itself as that very terminal.
ChartUnavailable passes through.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta

from lanpost.model.account import Terminal
from lanpost.model.binding import Binding, Source
from lanpost.model.endpoint import Endpoint
from lanpost.service.handover import BY_HAND, Dropped, make_way
from lanpost.service.leases import needs_writing
from lanpost.service.ports import Chart


async def learn(
    chart: Chart,
    terminal: Terminal,
    host: str,
    local_host: str,
    now: datetime,
    *,
    lifetime: timedelta,
    dropped: Dropped,
) -> Binding | None:
    """The terminal has logged in from `host`, at our own address `local_host`: from now on it is there.

    None: nothing was written, since it is known (a binding is renewed once a quarter of its lifetime is over), or
    since mail sent there would come back to this machine or get nowhere. That a terminal is on this machine must
    have been said otherwise.
    """
    address = ipaddress.ip_address(host)
    if not terminal.learn or address.is_link_local:  # of which a session's end tells no interface
        return None
    endpoint = Endpoint(host, terminal.port)
    entry = await chart.look_up(terminal.address, whole=False)
    former = entry.binding if entry else None
    if former is not None and former.source in BY_HAND and former.endpoint == endpoint:
        return None
    is_here = address.is_loopback or host == local_host
    if is_here and (former is None or former.endpoint.host != host):
        return None
    if not needs_writing(former, endpoint, now):
        return None
    binding = Binding(terminal.address, endpoint, now, now + lifetime, Source.SMTP, terminal.address.key)
    await make_way(chart, binding, now, dropped)
    await chart.bind(binding)
    return binding
