"""Follows the chart's registrations for ever, through its failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.service.ports import Chart

log = structlog.get_logger()

PAUSES = (0.5, 1.0, 2.0)  # seconds between tries to watch a chart that cannot be asked: mail waits for it
LASTING = 5.0  # seconds after which a watch that ends was none that failed


async def watch_registrations(
    chart: Chart, began: Callable[[], None], registered: Callable[[MailAddress], None]
) -> None:
    """Tell of each registration, until cancelled.

    `began` is called whenever the watch has begun anew: what registered before must be found by looking.
    """
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        loop.call_soon(began)  # runs once the watch below waits for its first address
        try:
            async for address in chart.watch():
                failures = 0
                registered(address)
        except ChartUnavailable as error:
            if loop.time() - begun > LASTING:
                failures = 0
            if not failures:  # said once
                log.warning("chart cannot be watched", why=str(error))
        except Exception:
            log.exception("chart cannot be watched")  # mail still flows, in time though not at once
        await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
        failures += 1
