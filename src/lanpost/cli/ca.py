"""`lanpost ca`: the certificate authority that terminals and mail clients of this server trust."""

from __future__ import annotations

from datetime import datetime

import click

from lanpost.app.certificates import open_authority
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, with_json, with_settings
from lanpost.content.chart_record import time_text


@click.group()
def ca() -> None:
    """The server's own certificate authority, made at the first use."""


@ca.command()
@with_settings
@with_json
def show(settings: Settings, as_json: bool) -> None:
    """Print its pin (SHA-256 of the certificate), how long it is good, and its file."""
    authority = open_authority(settings)
    begin, end = authority.valid
    server = authority.server_valid()
    if as_json:
        print_json(
            {
                "pin": authority.pin,
                "file": str(authority.ca_file),
                "not_before": time_text(begin),
                "not_after": time_text(end),
                "server_not_after": time_text(server[1]) if server else None,
            }
        )
        return
    click.echo(f"pin (SHA-256): {authority.pin}")
    click.echo(f"file: {authority.ca_file}")
    click.echo(f"good from {_day(begin)} until {_day(end)}")
    if server:
        click.echo(f"the server's certificate: until {_day(server[1])}, renewed before that by itself")
    else:
        click.echo("the server's certificate: none yet, the first start makes it")


@ca.command()
@with_settings
def export(settings: Settings) -> None:
    """Print the CA certificate (PEM), for mail clients and browsers that shall trust this server."""
    click.echo(open_authority(settings).ca_pem, nl=False)


def _day(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d}"
