"""`lanpost version`."""

from __future__ import annotations

import platform

import click

from lanpost import __version__
from lanpost.cli.options import print_json, with_json


@click.command()
@with_json
def version(as_json: bool) -> None:
    """Print the version of lanpost and of Python."""
    if as_json:
        print_json({"lanpost": __version__, "python": platform.python_version()})
    else:
        click.echo(f"lanpost {__version__} (Python {platform.python_version()})")
