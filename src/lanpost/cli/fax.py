"""`lanpost fax send | receive`: the Internet fax machine (RFC 3965)."""

from __future__ import annotations

import click

from lanpost.cli.lazy_group import LazyGroup

COMMANDS = {
    "receive": "lanpost.cli.fax_receive:receive",
    "send": "lanpost.cli.fax_send:send",
}


@click.group(cls=LazyGroup, places=COMMANDS)
def fax() -> None:
    """Send and receive faxes by mail. Needs the optional extra: pip install "lanpost[fax]"."""
