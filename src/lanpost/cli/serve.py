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
def serve(settings: Settings) -> None:
    """Run the mail server, with registrar and chart inside. SIGTERM or Ctrl-C ends it, SIGHUP reloads."""
    configure(settings.log)

    async def run() -> None:
        await Server(settings).run()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run())
