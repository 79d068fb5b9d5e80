"""`lanpost install`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from lanpost.app.installing import Wish
from lanpost.app.installing import install as install_program
from lanpost.app.setting_values import domain as read_domain
from lanpost.errors import InstallationError
from lanpost.model.role import Role
from lanpost.store.installation import Installation
from lanpost.store.program_file import own_archive

Function = TypeVar("Function", bound=Callable[..., Any])

with_root = click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default="/",
    help="Work below DIR, as in an image of a system; no service is started.",
)
with_no_start = click.option("--no-start", is_flag=True, help="Neither start nor restart a service.")


def with_roles(text: str) -> Callable[[Function], Function]:
    """An option `--role`, which may be given several times, as the argument `roles`."""
    return click.option(
        "--role", "roles", multiple=True, type=click.Choice([role.value for role in Role]), help=text
    )


@click.command()
@with_roles("What this machine shall do; may be given several times. Without it: what it does already, else serve.")
@click.option(
    "--domain", metavar="DOMAIN", help="What bare terminal names are completed with, in a new configuration."
)
@with_no_start
@with_root
def install(roles: tuple[str, ...], domain: str | None, no_start: bool, root: Path) -> None:
    """Install this program on this machine, from the one file that it came in, or upgrade it, or repair it.

    Where the new version does not come up, the one before is put in force again.
    """
    archive = own_archive()
    if archive is None:
        raise InstallationError(
            "this lanpost does not run from a lanpost.pyz: take that file (`make dist` builds it) and run "
            "`sudo ./lanpost.pyz install`"
        )
    if domain is not None:
        try:
            domain = read_domain(domain)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--domain") from None
    wish = Wish(tuple(Role(role) for role in roles), domain, start=not no_start)
    left = install_program(Installation(root.absolute()), archive, wish, click.echo)
    for remark in left:
        click.echo(f"next: {remark}")
    click.echo("done")
