"""`lanpost demo`: what `make run` runs."""

from __future__ import annotations

import signal

import click

from lanpost.app.demo import Demo


@click.command()
@click.option("--once", is_flag=True, help="End after the demonstration; status 0 if every step worked.")
def demo(once: bool) -> None:
    """Show the main job on this machine: terminals register, mails follow them, a mailbox is fetched by POP3."""
    show = Demo(click.echo)
    try:
        show.run()
        if once:
            click.echo("Every step worked.")
            return
        click.echo("\nIt stays up until you press Ctrl-C. Try by hand:\n")
        for line in show.things_to_try():
            click.echo(f"  {line}")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except KeyboardInterrupt:
        pass
    finally:
        show.stop()
