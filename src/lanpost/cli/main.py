"""The `lanpost` command: finds the subcommand, imports only that one, turns errors into one line and a status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lanpost.cli.lazy_group import LazyGroup
from lanpost.errors import LanpostError

COMMANDS = {
    "agent": "lanpost.cli.agent:agent",
    "ca": "lanpost.cli.ca:ca",
    "chart": "lanpost.cli.chart:chart",
    "check": "lanpost.cli.check:check",
    "completion": "lanpost.cli.completion:completion",
    "debian": "lanpost.cli.debian:debian",
    "dhcp-hook": "lanpost.cli.dhcp_hook:dhcp_hook",
    "directory": "lanpost.cli.directory:directory",
    "demo": "lanpost.cli.demo:demo",
    "fax": "lanpost.cli.fax:fax",
    "install": "lanpost.cli.install:install",
    "lookup": "lanpost.cli.lookup:lookup",
    "man-page": "lanpost.cli.man_page:man_page",
    "push": "lanpost.cli.push:push",
    "queue": "lanpost.cli.queue:queue",
    "refresh": "lanpost.cli.refresh:refresh",
    "rollback": "lanpost.cli.rollback:rollback",
    "serve": "lanpost.cli.serve:serve",
    "service": "lanpost.cli.service:service",
    "status": "lanpost.cli.status:status",
    "terminal": "lanpost.cli.terminal:terminal",
    "uninstall": "lanpost.cli.uninstall:uninstall",
    "user": "lanpost.cli.user:user",
    "version": "lanpost.cli.version:version",
    "watch": "lanpost.cli.watch:watch",
}
# Native code is not loaded out of a zip file: what needs these runs where lanpost is installed.
NATIVE = {
    "_argon2_cffi_bindings": "argon2-cffi-bindings",
    "_cffi_backend": "cffi",
    "cryptography": "cryptography",
    "uvloop": "uvloop",
    "zeroconf": "zeroconf",
}


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from lanpost import __version__

        click.echo(f"lanpost {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
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
    except ModuleNotFoundError as error:
        from lanpost.store.program_file import running_archive

        if (running := running_archive()) is None or (error.name or "").partition(".")[0] not in NATIVE:
            raise
        print(f"lanpost: {_not_from_the_file(error.name or '', running)}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)


def _not_from_the_file(module: str, running: Path) -> str:
    library = NATIVE[module.partition(".")[0]]
    return (
        f"this command needs the library {library}, which does not run straight from {running.name}: install it "
        f"first: sudo {sys.executable} {running} install"
    )


if __name__ == "__main__":
    main()
