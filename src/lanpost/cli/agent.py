"""`lanpost agent`, `lanpost agent enrol TOKEN`, `status`, `forget`, `install-hook NAME`: the terminal's side."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import click

from lanpost.app import agent_logs, agent_state, dhcp_hooks, enrolment
from lanpost.app.agent import register_once, run_agent
from lanpost.app.agent_state import State
from lanpost.app.config import load
from lanpost.app.setting_values import terminal_name
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, with_json
from lanpost.model.token import MAX_TOKEN
from lanpost.store.program_file import running_archive

with_config = click.option(
    "--config",
    metavar="FILE",
    help="Configuration file; else $LANPOST_CONFIG, ./lanpost.toml, /etc/lanpost/lanpost.toml.",
)


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="Register now, print the binding, and end.")
@click.option("--name", metavar="NAME", default="", help="Find a server and claim NAME there, if not enrolled.")
@with_json
@with_config
@click.pass_context
def agent(context: click.Context, once: bool, name: str, as_json: bool, config: str | None) -> None:
    """Keep this terminal registered: tell the server where it is, at each change of its address."""
    if context.invoked_subcommand:
        return
    read_settings = partial(load_named, config, name)
    settings = read_settings()
    if once:
        _register_once(settings, as_json)
        return
    if settings.agent.receive:
        from lanpost.app import logs  # of the server, whose SMTP side takes the mail

        logs.configure(settings.log)
    else:
        agent_logs.configure(settings.log)
    asyncio.run(run_agent(settings, read_settings))


def load_named(config: str | None, name: str) -> Settings:
    """The settings in force; a name given on the command line comes before the file's."""
    settings = load(config)
    if not name:
        return settings
    try:
        return replace(settings, agent=replace(settings.agent, name=terminal_name(name)))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--name") from None


def _register_once(settings: Settings, as_json: bool) -> None:
    registration = asyncio.run(register_once(settings))
    if as_json:
        print_json(asdict(registration))
    else:
        until = f" until {registration.expires}" if registration.expires else ""
        click.echo(f"{registration.address} is registered at {registration.endpoint}{until}")


@agent.command()
@click.argument("token")
@with_config
@click.pass_context
def enrol(context: click.Context, token: str, config: str | None) -> None:
    """Take in the TOKEN that `lanpost terminal add` printed at the server. "-" reads it from standard input."""
    settings = _settings(context, config)
    text = sys.stdin.read(MAX_TOKEN + 1) if token == "-" else token  # noqa: S105
    held, unreachable = asyncio.run(enrolment.enrol(settings.data, text))
    click.echo(f"enrolled as {held.token.address}, with the server at {', '.join(held.token.urls)}")
    if unreachable:
        click.echo(f"warning: the server was not reached ({unreachable}); the agent will try again", err=True)
    else:
        click.echo(f"the server is the one of the token (pin {held.token.pin[:16]}...)")
    from lanpost.app.services import start_command_here  # what only this command needs
    from lanpost.model.role import Role

    if start := start_command_here(Role.AGENT, settings.file):
        click.echo(f"next: start the agent with `{start}`, or restart it if it runs already")
        return
    running = running_archive()
    program = f"{sys.executable} {running}" if running else "lanpost"
    option = f" --config {settings.file}" if settings.file else ""
    click.echo(f"next: start the agent with `{program} agent{option}`, or again if it runs already")
    if not running:  # faxes want libraries that do not run straight from the file
        click.echo(f"      (on a fax machine of lanpost's own, `lanpost fax receive{option}` in its place)")


@agent.command()
@with_json
@with_config
@click.pass_context
def status(context: click.Context, as_json: bool, config: str | None) -> None:
    """What the agent here is doing. Status 1 when none runs."""
    settings = _settings(context, config)
    folder = enrolment.agent_folder(settings.data)
    found = agent_state.read_status(folder)
    if found is None:
        if not settings.agent.name:
            enrolment.load(folder)  # says it better where that is what is missing
        click.echo("the agent never ran here; start it with `lanpost agent`", err=True)
        sys.exit(1)
    if as_json:
        print_json(asdict(found))
    else:
        for name, value in asdict(found).items():
            shown = ", ".join(value) if isinstance(value, tuple) else str(value)
            if shown:
                click.echo(f"{name.replace('_', ' '):14}{shown}")
    if found.state is State.STOPPED:
        sys.exit(1)


@agent.command()
@with_config
@click.pass_context
def forget(context: click.Context, config: str | None) -> None:
    """Trust no server any more, and throw the secret away: the next start begins anew."""
    settings = _settings(context, config)
    former = enrolment.forget(enrolment.agent_folder(settings.data))
    if former is None:
        click.echo("nothing to forget: this terminal is not enrolled")
        return
    address = former.token.address
    click.echo(f"forgot {address}, and the server with the pin {former.token.pin[:16]}...")
    click.echo(
        f"next: `lanpost terminal remove {address}` at the server, if that is to give the address away anew; "
        "then enrol, or start `lanpost agent --name NAME` (an agent that runs is to be started again)"
    )


@agent.command("install-hook")
@click.argument("name", type=click.Choice(sorted(dhcp_hooks.CLIENTS)))
@click.option("--remove", is_flag=True, help="Take the hook away again.")
@click.option("--print", "only_print", is_flag=True, help="Show what would be written where; change nothing.")
@click.option("--root", metavar="DIR", default="/", help="Install below DIR, as in an image of a system.")
@with_config
@click.pass_context
def install_hook(
    context: click.Context, name: str, remove: bool, only_print: bool, root: str, config: str | None
) -> None:
    """Have the DHCP client NAME tell the agent when an address may have changed."""
    file = _settings(context, config).agent.hook_file
    hooks = dhcp_hooks.hooks_for(name, Path(root), file)
    if only_print:
        for hook in hooks:
            click.echo(f"# {hook.path}, mode {hook.mode:04o}\n{hook.text}")
        return
    if remove:
        for hook in hooks:
            click.echo(f"{hook.path}: {'removed' if dhcp_hooks.remove(hook) else 'was not there'}")
        return
    if root == "/":
        dhcp_hooks.check_place(file)
    for hook in hooks:
        dhcp_hooks.install(hook)
        click.echo(f"{hook.path}: installed")
    if remark := dhcp_hooks.CLIENTS[name].remark:
        click.echo(f"next: {remark}")


def _settings(context: click.Context, config: str | None) -> Settings:
    """`--config` may stand before or behind the subcommand."""
    return load(config or (context.parent.params.get("config") if context.parent else None))
