"""`lanpost debian`: what the Debian package's maintainer scripts call."""

from __future__ import annotations

import sys

import click

from lanpost.app import debian_package
from lanpost.errors import InstallationError
from lanpost.store.installation import PACKAGED, Installation
from lanpost.store.program_file import FILE_NAME

PACKAGE = Installation(home=PACKAGED)


@click.group()
def debian() -> None:
    """Called by the Debian package, when dpkg installs, upgrades or configures it."""
    if not (PACKAGE.programs / FILE_NAME).exists():
        raise InstallationError("lanpost is not here as a Debian package: there is nothing to do for it")


@debian.command()
def unpack() -> None:
    """Put the program together for this machine's Python. Services are left alone."""
    debian_package.unpack(PACKAGE, PACKAGE.programs / FILE_NAME)


@debian.command()
def start() -> None:
    """Start or restart the services that are enabled, and wait until they serve.

    Where a new version does not come up, the one before is put in force again.
    """
    for remark in debian_package.start(PACKAGE, click.echo):
        print(f"lanpost: {remark}", file=sys.stderr)
