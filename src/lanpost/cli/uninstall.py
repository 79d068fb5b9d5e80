"""`lanpost uninstall`."""

from __future__ import annotations

from pathlib import Path

import click

from lanpost.app.uninstalling import uninstall as uninstall_program
from lanpost.cli.install import with_roles, with_root
from lanpost.model.role import Role
from lanpost.store.installation import Installation


@click.command()
@with_roles("Remove this service only; the program goes with the last one.")
@click.option("--purge", is_flag=True, help="Remove mails, terminals, keys and configuration too.")
@click.option("--yes", is_flag=True, help="Do not ask before a purge.")
@with_root
def uninstall(roles: tuple[str, ...], purge: bool, yes: bool, root: Path) -> None:
    """Stop the services and remove the program. Data and configuration stay, unless --purge is given."""
    if purge and not yes:
        click.confirm("All mails, terminals, people and keys on this machine will be gone. Go on?", abort=True)
    uninstall_program(Installation(root.absolute()), [Role(role) for role in roles], click.echo, purge=purge)
    click.echo("done")
