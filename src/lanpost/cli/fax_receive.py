"""`lanpost fax receive`: the fax machine that takes faxes by SMTP, and tells the server where it is."""

from __future__ import annotations

import click


@click.command()
def receive() -> None:
    """Receive faxes: register as a terminal, take mail, make a folder of each fax."""
