"""`lanpost check`."""

from __future__ import annotations

import click

from lanpost.app.checks import problems
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, with_json, with_settings


@click.command()
@with_settings
@with_json
def check(settings: Settings, as_json: bool) -> None:
    """Read the configuration and say what is wrong with it; status 1 if anything is."""
    found = list(problems(settings))
    if as_json:
        print_json({"file": str(settings.file) if settings.file else None, "problems": found})
    elif found:
        for problem in found:
            click.echo(f"{settings.file or 'defaults'}: {problem}", err=True)
    else:
        click.echo(f"{settings.file or 'no configuration file: all defaults'}: in order")
    if found:
        raise SystemExit(1)
