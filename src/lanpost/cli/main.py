"""The `lanpost` command: finds the subcommand, imports only that one, turns errors into one line and a status."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from lanpost.errors import LanpostError

# Where each command is: imported when asked for, since a terminal's agent must not load a server.
COMMANDS = {
    "agent": "lanpost.cli.agent:agent",
    "ca": "lanpost.cli.ca:ca",
    "chart": "lanpost.cli.chart:chart",
    "check": "lanpost.cli.check:check",
    "dhcp-hook": "lanpost.cli.dhcp_hook:dhcp_hook",
    "directory": "lanpost.cli.directory:directory",
    "demo": "lanpost.cli.demo:demo",
    "lookup": "lanpost.cli.lookup:lookup",
    "queue": "lanpost.cli.queue:queue",
    "refresh": "lanpost.cli.refresh:refresh",
    "serve": "lanpost.cli.serve:serve",
    "status": "lanpost.cli.status:status",
    "terminal": "lanpost.cli.terminal:terminal",
    "user": "lanpost.cli.user:user",
    "version": "lanpost.cli.version:version",
    "watch": "lanpost.cli.watch:watch",
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from lanpost import __version__

        click.echo(f"lanpost {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def lanpost() -> None:
    """Mail on a LAN without DNS: terminals say where they are, mail goes straight there."""


def main(arguments: list[str] | None = None) -> Any:
    """Run a command. Status 0: done; 1: failed, one line on stderr says what; 2: wrong usage."""
    try:
        return lanpost.main(args=arguments, prog_name="lanpost", standalone_mode=True)
    except LanpostError as error:
        print(f"lanpost: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
