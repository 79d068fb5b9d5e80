"""`lanpost demo`: what `make run` runs."""

from __future__ import annotations

import signal
from types import FrameType

import click

from lanpost.app.demo import ENDINGS, Demo


@click.command()
@click.option("--once", is_flag=True, help="End after the demonstration; status 0 if every step worked.")
def demo(once: bool) -> None:
    """Show the main job on this machine: terminals register, mails and a fax follow them, a mailbox is fetched."""
    # One that was ignored at the start (nohup, a background job of a script) stays ignored.
    heeded = [number for number in ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, _end)
    shown = False
    show = Demo(click.echo)
    try:
        show.run()
        shown = True
        if once:
            click.echo("Every step worked.")
            return
        click.echo("\nIt stays up until you press Ctrl-C. Try by hand:\n")
        for line in show.things_to_try():
            click.echo(f"  {line}")
        while True:
            signal.pause()
    except _Ended as ended:
        if not shown:
            raise SystemExit(128 + ended.number) from None
    finally:
        # A second Ctrl-C must not leave processes and the folder behind.
        for number in heeded:
            signal.signal(number, signal.SIG_IGN)
        show.stop()


class _Ended(BaseException):
    """A signal asked for the end; no `except Exception` takes it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise _Ended(number)
