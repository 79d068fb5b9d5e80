"""`lanpost user`: people with a mailbox and a password."""

from __future__ import annotations

import asyncio
import sys

import click

from lanpost.app.inquiry import refuse_charted
from lanpost.app.people import Person, open_people
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, print_table, with_json, with_settings

with_password = click.option(
    "--password-stdin", "from_stdin", is_flag=True, help="Read the password from standard input: its first line."
)


@click.group()
def user() -> None:
    """People: their mailboxes and passwords."""


@user.command()
@click.argument("address")
@with_password
@with_settings
def add(address: str, from_stdin: bool, settings: Settings) -> None:
    """Give ADDRESS a mailbox and a password."""
    with open_people(settings) as people:
        free = people.free_address(address)
        asyncio.run(refuse_charted(settings, free))
        person = people.add(str(free), _password(from_stdin))
    click.echo(f"{free} added; log in with this address, for POP3 and for sending")
    if person.mails:
        click.echo(f"The mailbox holds {person.mails} mails already, {_size(person.octets)}")


@user.command("list")
@with_settings
@with_json
def list_people(settings: Settings, as_json: bool) -> None:
    """Print everybody, with what the mailbox holds."""
    with open_people(settings) as people:
        everybody = list(people.everybody())
    if as_json:
        print_json([_json(person) for person in everybody])
    else:
        print_table(("ADDRESS", "MAILS", "SIZE", "CREATED"), map(_row, everybody))


@user.command()
@click.argument("address")
@click.option("--delete-mail", is_flag=True, help="Delete the mail for good; else it is kept, and back with `add`.")
@with_settings
def remove(address: str, delete_mail: bool, settings: Settings) -> None:
    """Take password and mailbox from ADDRESS: mail for it is refused."""
    with open_people(settings) as people:
        removed = people.remove(address, delete_mail=delete_mail)
    click.echo(f"{removed} removed, {'with all mail' if delete_mail else 'the mail is kept'}")


@user.command()
@click.argument("address")
@with_password
@with_settings
def password(address: str, from_stdin: bool, settings: Settings) -> None:
    """Set the password of ADDRESS."""
    with open_people(settings) as people:
        known = people.known_address(address)
        people.set_password(str(known), _password(from_stdin))
    click.echo(f"{known} has a new password")


def _password(from_stdin: bool) -> str:
    """What is typed, twice, or the first line of standard input, spaces included."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password: give --password-stdin")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


def _json(person: Person) -> dict[str, object]:
    return {
        "address": str(person.user.address),
        "created": person.user.created.isoformat(),
        "mails": person.mails,
        "octets": person.octets,
    }


def _row(person: Person) -> tuple[str, ...]:
    created = person.user.created.astimezone().strftime("%Y-%m-%d %H:%M")
    return str(person.user.address), str(person.mails), _size(person.octets), created


def _size(octets: int) -> str:
    return f"{octets / 1_000_000:.1f} MB"
