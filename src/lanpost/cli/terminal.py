"""`lanpost terminal`: which terminals may register here, and the line that enrols each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from lanpost.app.registration import enrol, enrol_anew, open_terminals
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, print_table, with_json, with_settings
from lanpost.content.chart_record import time_text
from lanpost.model.address import MailAddress
from lanpost.model.token import EnrolmentToken
from lanpost.service.terminals import TerminalState

HEADER = ("ADDRESS", "ENDPOINT", "STATE", "UPDATED", "EXPIRES", "SOURCE")
with_ldap = click.option(
    "--ldap", is_flag=True, help="Its agent is to register with the directory itself, over LDAP."
)


@click.group()
def terminal() -> None:
    """Terminals that may register here: fax machines, printers, PCs, other mail servers."""


@terminal.command()
@click.argument("address")
@click.option("--speaks-for-others", is_flag=True, help="It may register every known terminal: for a DHCP server.")
@with_ldap
@with_settings
@with_json
def add(settings: Settings, address: str, speaks_for_others: bool, ldap: bool, as_json: bool) -> None:
    """Enrol ADDRESS, and print the line to paste at the terminal."""
    if speaks_for_others and ldap:
        raise click.UsageError("a DHCP server speaks for others over HTTPS: leave --ldap away")
    parsed = MailAddress.parse(address, settings.domain)
    _print_token(asyncio.run(enrol(settings, parsed, speaks_for_others=speaks_for_others, ldap=ldap)), as_json)


@terminal.command()
@click.argument("address")
@with_ldap
@with_settings
@with_json
def rotate(settings: Settings, address: str, ldap: bool, as_json: bool) -> None:
    """Give ADDRESS a new secret, and print the line to paste; the old secret is worth nothing at once."""
    parsed = MailAddress.parse(address, settings.domain)
    _print_token(asyncio.run(enrol_anew(settings, parsed, ldap=ldap)), as_json)


def _print_token(token: EnrolmentToken, as_json: bool) -> None:
    line = token.encode()
    if as_json:
        print_json(
            {
                "address": str(token.address),
                "token": line,
                "secret": token.secret,
                "urls": token.urls,
                "pin": token.pin,
            }
        )
        return
    click.echo(
        f"Paste this line at {token.address}; it is secret and is not shown again. The server is at:", err=True
    )
    click.echo(f"  {' '.join(token.urls)}", err=True)
    click.echo(f"lanpost agent enrol {line}")


@terminal.command("list")
@with_settings
@with_json
def list_terminals(settings: Settings, as_json: bool) -> None:
    """Print all enrolled terminals and where they are."""
    now = datetime.now(UTC)
    states = asyncio.run(_states(settings))
    if as_json:
        print_json([_fields(state, now) for state in states])
    else:
        print_table(HEADER, (_row(state, now) for state in states))


async def _states(settings: Settings) -> list[TerminalState]:
    async with open_terminals(settings) as terminals:
        return [state async for state in terminals.states()]


@terminal.command()
@click.argument("address")
@with_settings
@with_json
def show(settings: Settings, address: str, as_json: bool) -> None:
    """Print what is known of ADDRESS."""
    now = datetime.now(UTC)
    fields = _fields(asyncio.run(_state(settings, MailAddress.parse(address, settings.domain))), now)
    if as_json:
        print_json(fields)
        return
    for name, value in fields.items():
        shown = {True: "yes", False: "no", None: "-"}.get(value, value) if not isinstance(value, str) else value
        click.echo(f"{name.replace('_', ' ')}: {shown}")


async def _state(settings: Settings, address: MailAddress) -> TerminalState:
    async with open_terminals(settings) as terminals:
        return await terminals.state(address)


@terminal.command()
@click.argument("address")
@with_settings
def remove(settings: Settings, address: str) -> None:
    """Forget ADDRESS: its secret, its binding, its place in the chart."""
    parsed = MailAddress.parse(address, settings.domain)
    asyncio.run(_remove(settings, parsed))
    click.echo(f"{parsed} is forgotten; mail to it is refused from now on")


async def _remove(settings: Settings, address: MailAddress) -> None:
    async with open_terminals(settings) as terminals:
        await terminals.remove(address)


def _fields(state: TerminalState, now: datetime) -> dict[str, Any]:
    binding = state.binding
    return {
        "address": str(state.terminal.address),
        "endpoint": str(binding.endpoint) if binding else None,
        "state": state.word(now),
        "updated": time_text(binding.updated) if binding else None,
        "expires": time_text(binding.expires) if binding and binding.expires else None,
        "source": binding.source.value if binding else None,
        "enrolled": time_text(state.terminal.enrolled),
        "speaks_for_others": state.terminal.speaks_for_others,
    }


def _row(state: TerminalState, now: datetime) -> Sequence[str]:
    binding = state.binding
    if binding is None:
        return str(state.terminal.address), "-", state.word(now), "-", "-", "-"
    return (
        str(state.terminal.address),
        str(binding.endpoint),
        state.word(now),
        _shown(binding.updated),
        _shown(binding.expires) if binding.expires else "never",
        binding.source.value,
    )


def _shown(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
