"""Another process that uses a chart: run by the tests, it obeys lines on stdin and answers each with a line.

bind ADDRESS ENDPOINT      ok
hammer PREFIX COUNT        ok, after COUNT bindings of addresses of its own and as many of one shared address
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from lanpost.app.charts import open_chart
from lanpost.app.config import load
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import Chart


async def obey(chart: Chart, line: str) -> None:
    verb, first, second = line.split()
    if verb == "bind":
        await chart.bind(Binding(MailAddress.parse(first), Endpoint.parse(second), datetime.now(UTC)))
    elif verb == "hammer":
        for number in range(int(second)):
            endpoint = Endpoint.parse(f"10.0.{number // 250}.{number % 250 + 1}")
            for name in (f"{first}{number}", "shared"):
                await chart.bind(Binding(MailAddress.parse(f"{name}@office.lan"), endpoint, datetime.now(UTC)))
    else:
        raise ValueError(line)


async def main() -> None:
    chart = open_chart(load(sys.argv[1]))
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await obey(chart, line)
        print("ok", flush=True)
    await chart.close()


asyncio.run(main())
