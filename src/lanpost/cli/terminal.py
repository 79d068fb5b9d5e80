"""`lanpost terminal`: which terminals may register here, and the line that enrols each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from lanpost.app.control import CONTROL_SOCKET
from lanpost.app.fetching import fetching
from lanpost.app.registration import enrol, enrol_anew, expect_port, open_terminals
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, print_table, with_json, with_settings
from lanpost.content.chart_record import time_text
from lanpost.errors import LanpostError
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.device import Device
from lanpost.model.endpoint import SMTP_PORT
from lanpost.model.last_delivery import LastDelivery
from lanpost.model.token import EnrolmentToken
from lanpost.net.control import ask
from lanpost.service.terminals import TerminalState, Traits
from lanpost.store.last_deliveries import forget_deliveries, last_deliveries, move_deliveries

Function = TypeVar("Function", bound=Callable[..., Any])

HEADER = ("ADDRESS", "ENDPOINT", "STATE", "UPDATED", "EXPIRES", "SOURCE", "LAST DELIVERY")
with_ldap = click.option(
    "--ldap", is_flag=True, help="Its agent is to register with the directory itself, over LDAP."
)


_NAMED = ("mac", "client_id", "hostname")


def _with_device(function: Function) -> Function:
    for option in (
        click.option("--port", type=click.IntRange(1, 65535), help="Where it takes mail (25)."),
        click.option("--hostname", metavar="NAME", help="Its host name; whoever says so to the DHCP server is it."),
        click.option("--client-id", metavar="HEX", help="Its DHCP client identifier; for DHCPv6 the DUID."),
        click.option("--mac", metavar="MAC", help="Its hardware address, by which a DHCP server speaks for it."),
    ):
        function = option(function)
    return function


@click.group()
def terminal() -> None:
    """Terminals that may register here: fax machines, printers, PCs, other mail servers."""


@terminal.command()
@click.argument("address")
@click.option("--speaks-for-others", is_flag=True, help="It may register every known terminal: for a DHCP server.")
@_with_device
@click.option("--learn", is_flag=True, help="Its SMTP logins say where it is: for a device that only sends mail.")
@with_ldap
@with_settings
@with_json
def add(
    settings: Settings,
    address: str,
    speaks_for_others: bool,
    mac: str | None,
    client_id: str | None,
    hostname: str | None,
    port: int | None,
    learn: bool,
    ldap: bool,
    as_json: bool,
) -> None:
    """Enrol ADDRESS, and print the line to paste at the terminal.

    A device that can run nothing needs no line: say by what the DHCP server knows it, or that its logins tell.
    """
    if speaks_for_others and ldap:
        raise click.UsageError("a DHCP server speaks for others over HTTPS: leave --ldap away")
    parsed = MailAddress.parse(address, settings.domain)
    device = Device.of(mac=mac or "", client_id=client_id or "", hostname=hostname or "")
    traits = Traits(device, learn, port or SMTP_PORT)
    token = asyncio.run(enrol(settings, parsed, speaks_for_others=speaks_for_others, ldap=ldap, traits=traits))
    _print_token(token, as_json)
    if learn and not as_json:
        click.echo(f"Its SMTP login is {token.address}, its password {token.secret}", err=True)


@terminal.command("set")
@click.argument("address")
@_with_device
@click.option("--no-mac", is_flag=True, help="No hardware address any more.")
@click.option("--no-client-id", is_flag=True, help="No client identifier any more.")
@click.option("--no-hostname", is_flag=True, help="No host name any more.")
@click.option("--learn/--no-learn", default=None, help="Whether its SMTP logins say where it is.")
@with_settings
def set_terminal(settings: Settings, address: str, port: int | None, learn: bool | None, **options: Any) -> None:
    """Change by what a DHCP server knows ADDRESS, or whether its logins tell; its secret and binding stay."""
    for name in _NAMED:
        if options[name] and options[f"no_{name}"]:
            shown = name.replace("_", "-")
            raise click.UsageError(f"--{shown} and --no-{shown}: one of them")
    if port is None and learn is None and not any(options.values()):
        raise click.UsageError("nothing to change: say --mac, --hostname, --learn or the like; see --help")
    if port is not None:
        expect_port(settings, port)
    given = Device.of(**{name: options[name] or "" for name in _NAMED})

    def change(traits: Traits) -> Traits:
        values = {
            name: "" if options[f"no_{name}"] else getattr(given, name) or getattr(traits.device, name)
            for name in _NAMED
        }
        return Traits(Device(**values), traits.learn if learn is None else learn, port or traits.port)

    changed = asyncio.run(_set(settings, MailAddress.parse(address, settings.domain), change))
    names = ", ".join(filter(None, (getattr(changed.device, name) for name in _NAMED)))
    told = f"a DHCP server knows it by {names}" if names else "no DHCP server speaks for it"
    learns = "its SMTP logins tell where it is" if changed.learn else "its SMTP logins do not"
    click.echo(f"{changed.address}, port {changed.port}: {told}; {learns}")


async def _set(settings: Settings, address: MailAddress, change: Callable[[Traits], Traits]) -> Terminal:
    async with open_terminals(settings) as terminals:
        return terminals.set(address, change)


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
    last = last_deliveries(settings.data)
    if as_json:
        print_json([_fields(state, last.get(state.terminal.address), now) for state in states])
    else:
        print_table(HEADER, (_row(state, last.get(state.terminal.address), now) for state in states))


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
    parsed = MailAddress.parse(address, settings.domain)
    fields = _fields(asyncio.run(_state(settings, parsed)), last_deliveries(settings.data).get(parsed), now)
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
    forget_deliveries(settings.data, address)


@terminal.command()
@click.argument("address")
@click.argument("new", metavar="NEW")
@with_settings
def rename(settings: Settings, address: str, new: str) -> None:
    """Give ADDRESS the new address NEW, with its binding and what address books say of it.

    Its agent learns of it when it registers next, at once if a server runs; nothing is to be pasted there. An agent
    that registers over LDAP, and a device that logs in, have to be told: see `terminal rotate`.
    """
    old, other = (MailAddress.parse(text, settings.domain) for text in (address, new))
    if old == other:
        raise click.UsageError("that is its address already")
    asyncio.run(_rename(settings, old, other))
    with suppress(LanpostError):  # no server runs: the agent hears of it when it registers
        list(ask(settings.data / CONTROL_SOCKET, "refresh", addresses=[str(old)]))
    click.echo(f"{old} is {other} from now on; mail for {old} is refused, and what waits for it is returned")


async def _rename(settings: Settings, old: MailAddress, new: MailAddress) -> None:
    async with open_terminals(settings) as terminals:
        await terminals.rename(old, new)
    move_deliveries(settings.data, old, new)


def _fields(state: TerminalState, last: LastDelivery | None, now: datetime) -> dict[str, Any]:
    binding = state.binding
    return {
        "address": str(state.terminal.address),
        "endpoint": str(binding.endpoint) if binding else None,
        "state": state.word(now),
        "updated": time_text(binding.updated) if binding else None,
        "expires": time_text(binding.expires) if binding and binding.expires else None,
        "source": binding.source.value if binding else None,
        "proof": str(binding.proof) if binding and binding.proof else None,
        "last_delivery": time_text(last.time) if last else None,
        "last_delivery_endpoint": str(last.endpoint) if last else None,
        "enrolled": time_text(state.terminal.enrolled),
        "speaks_for_others": state.terminal.speaks_for_others,
        "mac": state.terminal.device.mac or None,
        "client_id": state.terminal.device.client_id or None,
        "hostname": state.terminal.device.hostname or None,
        "learn": state.terminal.learn,
        "port": state.terminal.port,
    }


def _row(state: TerminalState, last: LastDelivery | None, now: datetime) -> Sequence[str]:
    binding, delivered = state.binding, _shown(last.time) if last else "-"
    if binding is None:
        return str(state.terminal.address), "-", state.word(now), "-", "-", "-", delivered
    return (
        str(state.terminal.address),
        str(binding.endpoint),
        state.word(now),
        _shown(binding.updated),
        _shown(binding.expires) if binding.expires else "never",
        binding.source.value,
        delivered,
    )


def _shown(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


@terminal.command()
@with_settings
@with_json
def fetch(settings: Settings, as_json: bool) -> None:
    """Print the line to paste at a terminal that has no lanpost yet: it fetches lanpost.pyz from this server.

    The line holds the file's SHA-256, so it gets this file or none. It is public: there is no secret in it.
    """
    found = fetching(settings)
    if as_json:
        print_json({"line": found.line, "urls": found.urls, "sha256": found.sha256, "signer": found.signer})
    else:
        click.echo(found.line)
