"""`lanpost completion SHELL`: what a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "fish": FishComplete, "zsh": ZshComplete}


@click.command()
@click.argument("shell", type=click.Choice(sorted(SHELLS)))
def completion(shell: str) -> None:
    """Print the completion script for SHELL; `lanpost install` puts it where the shells look."""
    click.echo(completion_script(shell), nl=False)


def completion_script(shell: str) -> str:
    """Independent of the shell that is there: click's own `source` asks bash for its version."""
    complete = SHELLS[shell](click.Command("lanpost"), {}, "lanpost", "_LANPOST_COMPLETE")
    return complete.source_template % complete.source_vars()
