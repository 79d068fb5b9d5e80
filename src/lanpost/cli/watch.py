"""`lanpost watch`: the chart as it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime

import click

from lanpost.app.charts import open_chart
from lanpost.app.settings import Settings
from lanpost.app.threaded_chart import ThreadedChart
from lanpost.cli.options import with_json, with_settings
from lanpost.content.chart_json import json_of
from lanpost.content.chart_record import time_text
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.service.ports import Chart


@click.command()
@with_settings
@with_json
def watch(settings: Settings, as_json: bool) -> None:
    """Print each change of the chart as it happens, until interrupted: who is bound, renewed, unbound, forgotten.

    Of a chart on another machine only who is bound or renewed.
    """
    click.echo(f"Watching {settings.chart.url}; Ctrl-C ends it.", err=True)
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(settings, as_json))


async def _watch(settings: Settings, as_json: bool) -> None:
    chart = open_chart(settings)
    try:
        changes = _all_changes(chart) if isinstance(chart, ThreadedChart) else _bound(chart)
        async for address, entry in changes:
            now = datetime.now().astimezone()
            if as_json:
                shown = json_of(entry) if entry else {"address": str(address), "forgotten": True}
                click.echo(json.dumps({"time": time_text(now), **shown}, ensure_ascii=False))
            else:
                click.echo(f"{now:%H:%M:%S}.{now.microsecond // 1000:03}  {address}  {_in_words(entry)}")
    finally:
        await chart.close()


async def _all_changes(chart: ThreadedChart) -> AsyncIterator[tuple[MailAddress, Entry | None]]:
    number = await chart.position()
    while True:
        await chart.wait_after(number)
        newest = await chart.position()
        changes = await chart.changes_after(number)
        for change in changes or ():
            yield change.address, change.entry
        # More than it remembers, or a number that nothing bears: on from what is newest.
        number = changes[-1].number if changes else newest


async def _bound(chart: Chart) -> AsyncIterator[tuple[MailAddress, Entry | None]]:
    async for address in chart.watch():
        entry = await chart.look_up(address)
        if entry is not None and entry.binding is not None:  # else gone again already
            yield entry.address, entry


def _in_words(entry: Entry | None) -> str:
    if entry is None:
        return "is forgotten"
    if (binding := entry.binding) is None:
        return "has no endpoint now"
    until = f"until {binding.expires.astimezone():%Y-%m-%d %H:%M:%S}" if binding.expires else "for good"
    return f"{binding.endpoint}  {until}  ({binding.source})"
