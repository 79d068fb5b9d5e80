"""`lanpost serve`: the mail server."""

from __future__ import annotations

import asyncio

import click

from lanpost.app.event_loop import new_event_loop
from lanpost.app.logs import configure
from lanpost.app.server import Server
from lanpost.app.settings import Settings
from lanpost.cli.options import with_settings


@click.command()
@with_settings
@click.option("--worker", type=click.IntRange(1, 255), hidden=True, help="Be this further process of a server.")
def serve(settings: Settings, worker: int | None) -> None:
    """Run the mail server, with registrar and chart inside. SIGTERM or Ctrl-C ends it, SIGHUP reloads."""
    configure(settings.log)

    async def run() -> None:
        await Server(settings, worker or 0).run()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run())
