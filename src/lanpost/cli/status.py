"""`lanpost status`: is the server running, and what has it done."""

from __future__ import annotations

import sys
from typing import Any

import click

from lanpost.app.queue_access import READY, server_status
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, with_json, with_settings


@click.command()
@with_settings
@with_json
@click.option("--ready", is_flag=True, help="Say only whether it serves, for health checks: status 0, else 1.")
def status(settings: Settings, as_json: bool, ready: bool) -> None:
    """Show the running server or directory: version, listeners, counts. Status 1 where none runs."""
    found = server_status(settings.data)
    if ready:
        state = found.get("state", READY)  # of a version that serves as soon as it answers here
        if as_json:
            print_json({"ready": state == READY, "state": state})
        elif state == READY:
            click.echo(READY)
        else:
            click.echo(f"not ready: {state}", err=True)
        sys.exit(state != READY)
    if as_json:
        print_json({"running": True, **found})
        return
    click.echo("running")
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' ')}: {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)
