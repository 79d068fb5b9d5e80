"""`lanpost queue`: the mail that waits, seen and managed by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from lanpost.app.queue_access import QueueAccess
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, print_table, with_json, with_settings

MAX_WHY = 70  # characters of a reason in the table


@click.group()
def queue() -> None:
    """The mail that waits: accepted and not yet handed on."""


@queue.command("list")
@with_settings
@with_json
def list_mails(settings: Settings, as_json: bool) -> None:
    """Show all mail that waits, oldest first."""
    mails = list(QueueAccess(settings.data).mails())
    if as_json:
        print_json(mails)
        return
    now = datetime.now(UTC)
    print_table(
        ("ID", "AGE", "SIZE", "FROM", "TO", "STATE", "WHY"),
        (
            (
                mail["id"] if number == 0 else "",
                _span((now - datetime.fromisoformat(mail["arrived"])).total_seconds()) if number == 0 else "",
                str(mail["size"]) if number == 0 else "",
                (mail["sender"] or "<>") if number == 0 else "",
                each["address"],
                "on hold" if mail["on_hold"] else each["state"],
                each["last_reply"][:MAX_WHY],
            )
            for mail in mails
            for number, each in enumerate(mail["recipients"])
        ),
    )


@queue.command()
@click.argument("mail_id", metavar="ID")
@with_settings
@with_json
def show(settings: Settings, mail_id: str, as_json: bool) -> None:
    """Show one mail: its recipients, what was said, when it is tried next."""
    mail = QueueAccess(settings.data).show(mail_id)
    if as_json:
        print_json(mail)
        return
    click.echo(f"id:       {mail['id']}")
    click.echo(f"arrived:  {mail['arrived']}")
    click.echo(f"size:     {mail['size']} octets")
    click.echo(f"from:     {mail['sender'] or '<>'}")
    if mail["on_hold"]:
        click.echo("on hold:  not tried until `lanpost queue retry`")
    for each in mail["recipients"]:
        _show_recipient(each)


@queue.command()
@click.argument("mail_id", metavar="[ID]", required=False)
@with_settings
def retry(settings: Settings, mail_id: str | None) -> None:
    """Try one mail now, also one on hold; without ID, all but those on hold."""
    count = QueueAccess(settings.data).retry(mail_id)
    click.echo(f"{count} mail{'' if count == 1 else 's'} tried now")


@queue.command()
@click.argument("mail_id", metavar="ID")
@with_settings
def hold(settings: Settings, mail_id: str) -> None:
    """Do not try a mail until `lanpost queue retry ID`."""
    QueueAccess(settings.data).hold(mail_id)
    click.echo(f"{mail_id} is on hold")


@queue.command()
@click.argument("mail_id", metavar="ID")
@with_settings
def remove(settings: Settings, mail_id: str) -> None:
    """Forget a mail for good. Its sender is not told."""
    QueueAccess(settings.data).remove(mail_id)
    click.echo(f"{mail_id} is removed")


def _show_recipient(each: dict[str, Any]) -> None:
    click.echo(f"to:       {each['address']}: {each['state']}, {each['attempts']} attempts")
    if each["last_reply"]:
        click.echo(f"          {each['last_reply']}")
    if each["next"] and each["state"] != "under way":
        click.echo(f"          next try: {each['next']}")


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
