"""`lanpost service`: what an init script calls on a machine without systemd."""

from __future__ import annotations

import sys

import click

from lanpost.app.plain_service import PlainService
from lanpost.errors import InstallationError, ServiceFailed
from lanpost.model.role import Role


@click.command(short_help="Start and stop a service without systemd.")
@click.argument("action", type=click.Choice(["start", "stop", "restart", "force-reload", "reload", "status"]))
@click.argument("role", type=click.Choice([role.value for role in Role]))
def service(action: str, role: str) -> None:
    """Start, stop or ask for the service ROLE where no systemd does that; init scripts call it.

    It runs as the user lanpost, with its log in /var/log/lanpost-ROLE.log. `start` ends once it is ready.
    """
    one = PlainService(Role(role))
    try:
        if action == "start":
            one.start()
        elif action == "stop":
            one.stop()
        elif action in ("restart", "force-reload"):
            one.restart()
    except ServiceFailed as error:
        raise InstallationError(f"{error}; its last words:\n{error.log}") from None
    except OSError as error:
        raise InstallationError(f"{error.filename or role}: {error.strerror}; only root can do this") from None
    if action == "reload":
        one.reload()
    if action == "status":
        pid = one.pid()
        click.echo(f"lanpost {role} runs (pid {pid})" if pid else f"lanpost {role} does not run")
        sys.exit(0 if pid else 3)
