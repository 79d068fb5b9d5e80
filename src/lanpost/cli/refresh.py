"""`lanpost refresh`: terminals are asked to register again."""

from __future__ import annotations

import click

from lanpost.app.control import CONTROL_SOCKET
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, with_json, with_settings
from lanpost.model.address import MailAddress
from lanpost.net.control import ask


@click.command()
@click.argument("addresses", nargs=-1, metavar="[ADDRESS...]")
@with_settings
@with_json
def refresh(settings: Settings, addresses: tuple[str, ...], as_json: bool) -> None:
    """Have the running server ask terminals to register again: those named, or everyone.

    Their agents hear it on their link and answer within the time that is printed.
    """
    named = [str(MailAddress.parse(address, settings.domain)) for address in addresses]
    (sent,) = ask(settings.data / CONTROL_SOCKET, "refresh", addresses=named)
    if as_json:
        print_json(sent)
        return
    asked = sent["asked"]
    whom = "everyone" if asked is None else f"{asked} terminal{'s' if asked != 1 else ''}"
    click.echo(f"asked {whom} to register, on {', '.join(sent['reached'])}")
    click.echo(f"answers come within {sent['window']:g} s; see them with `lanpost watch`")
