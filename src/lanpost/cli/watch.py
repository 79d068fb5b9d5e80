"""`lanpost watch`: bindings as they are made."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import datetime

import click

from lanpost.app.charts import open_chart
from lanpost.app.settings import Settings
from lanpost.cli.options import with_json, with_settings
from lanpost.content.chart_json import json_of
from lanpost.content.chart_record import time_text


@click.command()
@with_settings
@with_json
def watch(settings: Settings, as_json: bool) -> None:
    """Print each address that is bound, or renewed, as it happens, until interrupted."""
    click.echo(f"Watching {settings.chart.url}; Ctrl-C ends it.", err=True)
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(settings, as_json))


async def _watch(settings: Settings, as_json: bool) -> None:
    chart = open_chart(settings)
    try:
        async for address in chart.watch():
            entry = await chart.look_up(address)
            if entry is None or entry.binding is None:
                continue  # gone again already
            now = datetime.now().astimezone()
            if as_json:
                click.echo(json.dumps({"time": time_text(now), **json_of(entry)}, ensure_ascii=False))
            else:
                binding = entry.binding
                until = f"until {binding.expires.astimezone():%Y-%m-%d %H:%M:%S}" if binding.expires else "for good"
                click.echo(
                    f"{now:%H:%M:%S}.{now.microsecond // 1000:03}"
                    f"  {entry.address}  {binding.endpoint}  {until}  ({binding.source})"
                )
    finally:
        await chart.close()
