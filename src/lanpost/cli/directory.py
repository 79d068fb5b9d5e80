"""`lanpost directory`: registrar and chart alone, served over LDAP."""

from __future__ import annotations

import asyncio

import click

from lanpost.app.directory import DirectoryServer
from lanpost.app.event_loop import new_event_loop
from lanpost.app.logs import configure
from lanpost.app.settings import Settings
from lanpost.app.succession import Succession
from lanpost.cli.options import with_settings


@click.command()
@with_settings
def directory(settings: Settings) -> None:
    """Run registrar and chart alone, for mail servers and others to ask over LDAP. SIGTERM or Ctrl-C ends it.

    SIGHUP reloads; SIGUSR2 starts it anew in the same process: who connects meanwhile waits, and is not refused.
    """
    configure(settings.log)

    async def run() -> Succession:
        server = DirectoryServer(settings)
        await server.run()
        return server.succession

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        succession = runner.run(run())
    if succession.starts_again:
        succession.start_again()
