"""`lanpost fax send | receive`: the Internet fax machine (RFC 3965)."""

from __future__ import annotations

import click

from lanpost.cli.lazy_group import LazyGroup, Place

COMMANDS = {
    "receive": Place(
        "lanpost.cli.fax_receive:receive", "Be a fax machine: register, take faxes, keep and print them."
    ),
    "send": Place("lanpost.cli.fax_send:send", "Send documents as one fax, and report."),
}


@click.group(cls=LazyGroup, places=COMMANDS)
def fax() -> None:
    """Send and receive faxes by mail. Needs the optional extra: pip install "lanpost[fax]"."""
