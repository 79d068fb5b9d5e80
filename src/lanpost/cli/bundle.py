"""`lanpost bundle`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lanpost.app.bundling import Bundling
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
    bundling = Bundling(settings, folder, file, key)
    octets = bundling.prepare()
    # Without a terminal it is silent until the end.
    with click.progressbar(
        length=octets, label=str(folder), file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        done = bundling.write(bar.update)
    kept = f", {done.kept} were there already" if done.kept else ""
    click.echo(f"{folder}: lanpost {done.version}, {done.wrote} files written and read back{kept}")
    if done.signed:
        click.echo(f"signed by {done.signed}; READ-ME.txt says how that is checked")
    else:
        click.echo("not signed: say --sign KEY, or at a server say it with sudo", err=True)
