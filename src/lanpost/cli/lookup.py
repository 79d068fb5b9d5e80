"""`lanpost lookup ADDRESS`: one inquiry, for people and scripts."""

from __future__ import annotations

import asyncio

import click

from lanpost.app.inquiry import look_up
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, with_json, with_settings
from lanpost.model.delivery import Route, Way

SENTENCES = {
    Way.ENDPOINT: "{address} is at {endpoint} (updated {updated}, {expires})",
    Way.MAILBOX: "{address} has a mailbox here",
    Way.HOLD: "{address} is a known terminal without a live binding: its mail is held until it registers",
    Way.RELAY: "{address} is outside: mail goes by way of the smarthost {endpoint}",
    Way.UNKNOWN: "{address} is unknown here: mail for it is refused",
    Way.UNANSWERED: "the chart cannot be asked now: mail for {address} waits",
}


@click.command()
@click.argument("address")
@with_settings
@with_json
def lookup(address: str, settings: Settings, as_json: bool) -> None:
    """Say which way mail for ADDRESS goes. Status 1 only if the chart cannot be asked."""
    route = asyncio.run(look_up(settings, address))
    if as_json:
        print_json(_as_dict(route))
    else:
        binding = route.binding
        click.echo(
            SENTENCES[route.way].format(
                address=route.address,
                endpoint=route.endpoint,
                updated=binding.updated.isoformat(" ", "seconds") if binding else "",
                expires=f"expires {binding.expires.isoformat(' ', 'seconds')}"
                if binding and binding.expires
                else "for good",
            )
        )
    if route.way is Way.UNANSWERED:
        raise SystemExit(1)


def _as_dict(route: Route) -> dict[str, str | None]:
    binding = route.binding
    return {
        "address": str(route.address),
        "outcome": str(route.way),
        "endpoint": str(route.endpoint) if route.endpoint else None,
        "updated": binding.updated.isoformat() if binding else None,
        "expires": binding.expires.isoformat() if binding and binding.expires else None,
    }
