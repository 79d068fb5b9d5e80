"""`lanpost serve`: the mail server."""

from __future__ import annotations

import asyncio
import gc

import click

from lanpost.app.event_loop import new_event_loop
from lanpost.app.logs import configure
from lanpost.app.server import Server
from lanpost.app.settings import Settings
from lanpost.app.succession import Succession
from lanpost.cli.options import with_settings

# Objects made before the young ones are looked through; a mail's objects are freed without that.
GARBAGE_THRESHOLD = 20_000


@click.command()
@with_settings
@click.option("--worker", type=click.IntRange(1, 255), hidden=True, help="Be this further process of a server.")
def serve(settings: Settings, worker: int | None) -> None:
    """Run the mail server, with registrar and chart inside. SIGTERM or Ctrl-C ends it, SIGHUP reloads.

    SIGUSR2 starts it anew in the same process, as for an upgrade: who connects meanwhile waits, and is not refused.
    """
    configure(settings.log)

    # What was loaded up to here lives as long as the server: it need not be looked through again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)

    async def run() -> Succession:
        server = Server(settings, worker or 0)
        await server.run()
        return server.succession

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        succession = runner.run(run())
    if succession.starts_again:
        succession.start_again()
