"""`lanpost bundle`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lanpost.app.bundling import prepare
from lanpost.app.settings import Settings
from lanpost.cli.options import with_settings


@click.command(short_help="Write the program, signed, with documentation, licences and SBOM to a stick.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="Another lanpost.pyz than this one.")
@click.option(
    "--sign",
    "key",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Your SSH key, to sign it with (ssh-keygen).",
)
@with_settings
def bundle(settings: Settings, folder: Path, file: Path | None, key: Path | None) -> None:
    """Write to DIR, as to a stick: lanpost.pyz, its signature and digests, documentation, licences and SBOM.

    What is there and right stays, so a run that broke off is said again. At a server its own key signs.
    """
    planned = prepare(settings, folder, file, key)
    # Without a terminal it is silent until the end.
    shown = sys.stderr.isatty()
    with click.progressbar(length=planned.octets, label=str(folder), file=sys.stderr, hidden=not shown) as bar:
        planned.write(bar.update)
    kept = len(planned.contents) - len(planned.missing)
    there = f", {kept} were there already" if kept else ""
    click.echo(f"{folder}: lanpost {planned.version}, {len(planned.missing)} files written and read back{there}")
    if planned.signed:
        click.echo(f"signed by {planned.signed}; READ-ME.txt says how that is checked")
    else:
        click.echo("not signed: say --sign KEY, or at a server say it with sudo", err=True)
