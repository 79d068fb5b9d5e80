"""`lanpost rollback`."""

from __future__ import annotations

from pathlib import Path

import click

from lanpost.app.rolling_back import roll_back
from lanpost.cli.install import with_no_start, with_root
from lanpost.store.installation import Installation


@click.command()
@with_no_start
@with_root
def rollback(no_start: bool, root: Path) -> None:
    """Go back to the version that was installed before; once more, and forward again.

    Where it does not come up, the present version is put in force again.
    """
    for remark in roll_back(Installation(root.absolute()), click.echo, start=not no_start):
        click.echo(f"next: {remark}")
    click.echo("done")
