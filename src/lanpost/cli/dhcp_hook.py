"""`lanpost dhcp-hook`: the DHCP server speaks for devices that can run nothing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from lanpost.app.enrolment import load, recognised, save
from lanpost.app.lease_hook import FOLDER, main
from lanpost.app.lease_sender import TROUBLE
from lanpost.cli.options import print_json, with_json
from lanpost.errors import StoreError
from lanpost.model.token import MAX_TOKEN
from lanpost.store.files import store_error
from lanpost.store.lease_spool import LeaseSpool, age_of

with_folder = click.option(
    "--folder", default=FOLDER, show_default=True, help="The hook's own, which the DHCP server's user may write."
)


@click.group("dhcp-hook")
def dhcp_hook() -> None:
    """At a DHCP server: tell the mail server of leases, for terminals that can run nothing."""


@dhcp_hook.command()
@click.argument("token")
@with_folder
def enrol(token: str, folder: str) -> None:
    """Take in the TOKEN of an account that speaks for others. "-" reads it from standard input.

    `lanpost terminal add dhcp --speaks-for-others` at the mail server prints it.
    """
    text = sys.stdin.read(MAX_TOKEN + 1) if token == "-" else token  # noqa: S105
    place = Path(folder)
    held, unreachable = asyncio.run(recognised(text))
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        save(place, held)
    except OSError as error:
        raise store_error(error, folder) from None
    click.echo(f"enrolled as {held.token.address}, with the server at {', '.join(held.token.urls)}")
    if unreachable:
        click.echo(f"warning: the server was not reached ({unreachable})", err=True)
    click.echo(
        "next: name deploy/kea/lanpost-lease or deploy/dnsmasq/lanpost-lease in the DHCP server's configuration"
    )


@dhcp_hook.command()
@with_folder
@with_json
def status(folder: str, as_json: bool) -> None:
    """What has not been told yet, and why. Status 1 when something is wrong."""
    held = load(Path(folder))
    try:
        words = [
            {"address": fields["address"], "event": fields["event"], "age": round(age_of(said))}
            for _, said, fields in LeaseSpool(folder).waiting()
        ]
        trouble = (Path(folder) / TROUBLE).read_text("utf-8")
    except FileNotFoundError:
        trouble = ""
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}") from None
    if as_json:
        print_json(
            {"account": str(held.token.address), "urls": held.token.urls, "waiting": words, "trouble": trouble}
        )
    else:
        click.echo(
            f"account   {held.token.address}\nserver    {', '.join(held.token.urls)}\nwaiting   {len(words)}"
        )
        if trouble:
            click.echo(f"trouble   {trouble}")
    if trouble:
        sys.exit(1)


@dhcp_hook.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
@with_folder
def kea(words: tuple[str, ...], folder: str) -> None:
    """Called by Kea's run_script library, with a hook point and the lease in the environment."""
    sys.exit(main(["kea", "--folder", folder, *words]))


@dhcp_hook.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
@with_folder
def dnsmasq(words: tuple[str, ...], folder: str) -> None:
    """Called by dnsmasq's --dhcp-script, with what became of a lease."""
    sys.exit(main(["dnsmasq", "--folder", folder, *words]))
