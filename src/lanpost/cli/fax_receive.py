"""`lanpost fax receive`: the fax machine that takes faxes by SMTP, and tells the server where it is."""

from __future__ import annotations

import asyncio
from functools import partial

import click

from lanpost.app import logs
from lanpost.app.agent import run_agent
from lanpost.app.fax_extra import require_fax_extra
from lanpost.app.fax_receiver import start_fax_receiver
from lanpost.cli.agent import load_named, with_config


@click.command()
@click.option("--name", metavar="NAME", default="", help="Find a server and claim NAME there, if not enrolled.")
@with_config
def receive(name: str, config: str | None) -> None:
    """Be a fax machine: register as this terminal, take faxes by mail, make a folder of each.

    Runs in the place of `lanpost agent`, and needs its enrolment (`lanpost agent enrol TOKEN`). SIGTERM or Ctrl-C
    ends it, SIGHUP reads the configuration again.
    """
    read_settings = partial(load_named, config, name)
    settings = read_settings()
    require_fax_extra()
    logs.configure(settings.log)
    asyncio.run(run_agent(settings, read_settings, start_fax_receiver))
