"""The `lanpost` command: finds the subcommand, imports only that one, turns errors into one line and a status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lanpost.cli.lazy_group import LazyGroup, Place
from lanpost.errors import LanpostError

COMMANDS = {
    "agent": Place("lanpost.cli.agent:agent", "Keep this terminal registered with its server."),
    "bundle": Place("lanpost.cli.bundle:bundle", "Write the program, signed, with documents, to a stick."),
    "ca": Place("lanpost.cli.ca:ca", "The server's own certificate authority."),
    "chart": Place("lanpost.cli.chart:chart", "The chart: which mail address is at which endpoint."),
    "check": Place("lanpost.cli.check:check", "Read the configuration and say what is wrong with it."),
    "completion": Place("lanpost.cli.completion:completion", "Print the completion script for a shell."),
    "debian": Place("lanpost.cli.debian:debian", "Called by the Debian package."),
    "dhcp-hook": Place("lanpost.cli.dhcp_hook:dhcp_hook", "At a DHCP server: tell the mail server of leases."),
    "directory": Place("lanpost.cli.directory:directory", "Run registrar and chart alone, asked over LDAP."),
    "demo": Place("lanpost.cli.demo:demo", "Show the main job on this machine."),
    "fax": Place("lanpost.cli.fax:fax", "Send and receive faxes by mail."),
    "install": Place("lanpost.cli.install:install", "Install this program on this machine."),
    "lookup": Place("lanpost.cli.lookup:lookup", "Say which way mail for an address goes."),
    "man-page": Place("lanpost.cli.man_page:man_page", "Print the manual page lanpost(1)."),
    "push": Place("lanpost.cli.push:push", "Install this program on other machines, by ssh."),
    "queue": Place("lanpost.cli.queue:queue", "The mail that waits: accepted and not yet handed on."),
    "refresh": Place("lanpost.cli.refresh:refresh", "Ask terminals to register again."),
    "rollback": Place("lanpost.cli.rollback:rollback", "Go back to the version that was installed before."),
    "serve": Place("lanpost.cli.serve:serve", "Run the mail server, with registrar and chart inside."),
    "service": Place("lanpost.cli.service:service", "Start and stop a service without systemd."),
    "status": Place("lanpost.cli.status:status", "Show the running server: version, listeners, counts."),
    "terminal": Place("lanpost.cli.terminal:terminal", "Terminals that may register here."),
    "uninstall": Place("lanpost.cli.uninstall:uninstall", "Stop the services and remove the program."),
    "user": Place("lanpost.cli.user:user", "People: their mailboxes and passwords."),
    "version": Place("lanpost.cli.version:version", "Print the version of lanpost and of Python."),
    "watch": Place("lanpost.cli.watch:watch", "Print each change of the chart as it happens."),
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
