"""`lanpost push HOST...`: this program to other machines, by ssh."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lanpost.app.config import parse
from lanpost.app.pushing import Done, ask_for_chart, open_parcel
from lanpost.app.pushing import push as push_to
from lanpost.app.setting_values import domain as read_domain
from lanpost.app.ssh_connection import Way
from lanpost.cli.options import print_json, with_json
from lanpost.cli.push_progress import Progress
from lanpost.errors import LanpostError, PushFailed
from lanpost.model.role import Role
from lanpost.service.pushing import Parcel, Wishes
from lanpost.store.program_file import own_archive

STOPPED = "stopped; the same command goes on from there"


@dataclass(slots=True)
class _Result:
    """What has become of one machine; `text` for people."""

    host: str
    done: Done | None = None
    text: str = STOPPED


@click.command(short_help="Install this program on other machines, by ssh.")
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([role.value for role in Role]),
    help="What they shall do; may be given several times. Without it: what they do already, else serve.",
)
@click.option("--user", default="", metavar="NAME", help="Log in as NAME; else as ssh does.")
@click.option(
    "--ssh-option", "options", multiple=True, metavar="OPTION", help="For `ssh -o`, as Port=2222 or ProxyJump=gate."
)
@click.option("--sudo", is_flag=True, help="Become root there by sudo, which must not ask for a password.")
@click.option("--ask-sudo", is_flag=True, help="The same; its password is asked for here, once for all hosts.")
@click.option("--directory", metavar="HOST", help="The mail servers ask the chart of the directory at HOST.")
@click.option(
    "--config", "configuration", metavar="FILE", help="A configuration for them, where they have none yet."
)
@click.option(
    "--domain", metavar="DOMAIN", help="What bare terminal names are completed with, in a new configuration."
)
@click.option("--file", metavar="FILE", type=click.Path(path_type=Path), help="Another lanpost.pyz than our own.")
@click.option("--jobs", default=8, show_default=True, type=click.IntRange(1, 100), help="Hosts at a time.")
@click.option("--dry-run", is_flag=True, help="Look at everything there and change nothing.")
@click.option(
    "--root", default="", metavar="DIR", help="Install below DIR there, as in an image; starts no service."
)
@with_json
def push(hosts: tuple[str, ...], jobs: int, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Send this program, as one file, to each HOST by ssh, and install it there; or upgrade or repair it.

    HOST is what ssh takes. Keys, jump hosts and known hosts are ssh's. Python 3.11 must be there, and nothing else.
    Where the new version does not come up, the one before stays. What was interrupted goes on where it stopped.
    """
    hosts = tuple(dict.fromkeys(hosts))
    for host in (*hosts, options["directory"] or "host"):
        if host.startswith("-") or not host.strip():
            raise click.BadParameter(f"{host!r} is no host", param_hint="HOST")
    if options["directory"] and options["configuration"]:
        raise click.UsageError("--directory makes a configuration, --config names one: not both")
    file = options["file"] or own_archive()
    if file is None:
        raise LanpostError(
            "this lanpost does not run from a lanpost.pyz, which is what is sent: `make dist` builds one; name it "
            "with --file"
        )
    parcel = open_parcel(file)
    way = _way(options, may_ask=len(hosts) == 1 and sys.stdin.isatty())
    roles = tuple(map(Role, options["roles"]))
    configuration = _configuration(options["configuration"])
    arguments = _arguments(options)
    results = {host: _Result(host) for host in hosts}

    async def run() -> None:
        wishes = Wishes(roles, options["root"], configuration)
        if options["directory"]:
            wishes = await _with_chart(roles, options, way)
        progress = Progress(hosts, sys.stderr)
        if not way.may_ask:
            progress.draw(now=True)
        turns = asyncio.Semaphore(jobs)

        async def one(host: str) -> None:
            async with turns:
                watcher = progress.row(host)
                result = results[host]
                try:
                    result.done = await push_to(
                        host, way, file, parcel, wishes, arguments, watcher, dry_run=dry_run
                    )
                except PushFailed as error:
                    result.text = str(error)
                    watcher.failed()
                else:
                    result.text = _told(result.done, parcel, options["roles"], dry_run=dry_run)
                    watcher.ended(result.text)

        async with asyncio.TaskGroup() as group:
            for host in hosts:
                group.create_task(one(host))

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        click.echo(err=True)
    if as_json:
        print_json([_as_dict(result) for result in results.values()])
    for result in results.values():
        for remark in result.done.remarks if result.done else ():
            click.echo(f"{result.host}: {remark}", err=True)
    failed = [result for result in results.values() if result.done is None]
    for result in failed:
        click.echo(f"lanpost: {result.host}: {result.text}", err=True)
    if len(hosts) > 1:
        click.echo(f"{len(hosts) - len(failed)} of {len(hosts)} done", err=True)
    if failed:
        raise SystemExit(1)


def _way(options: dict[str, Any], *, may_ask: bool) -> Way:
    password = None
    if options["ask_sudo"]:
        password = click.prompt("Password for sudo there", hide_input=True, err=True)
    return Way(options["user"], options["options"], may_ask, options["sudo"] or options["ask_sudo"], password)


def _configuration(name: str | None) -> str | None:
    """The text of the file that is to be sent. Raises ConfigurationError where lanpost could not use it there."""
    if name is None:
        return None
    path = Path(name)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LanpostError(
            f"{name}: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}"
        ) from None
    parse(text, path)
    return text


def _arguments(options: dict[str, Any]) -> list[str]:
    """Those of `install`."""
    words = [word for role in options["roles"] for word in ("--role", role)]
    if options["domain"]:
        try:
            words += ["--domain", read_domain(options["domain"])]
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--domain") from None
    return [*words, *(["--root", options["root"]] if options["root"] else [])]


async def _with_chart(roles: tuple[Role, ...], options: dict[str, Any], way: Way) -> Wishes:
    host = options["directory"]
    try:
        offer = await ask_for_chart(host, way)
    except PushFailed as error:
        raise PushFailed(f"the directory {host}: {error}") from None
    if not offer.is_open:
        raise PushFailed(
            f"the directory {host} answers only those who log in (ldap.anonymous): write a configuration with "
            "chart.bind_dn and chart.password_file, and send it with --config"
        )
    return Wishes(roles, options["root"], offer=offer)


def _told(done: Done, parcel: Parcel, roles: Sequence[str], *, dry_run: bool) -> str:
    """One line on what was done, or would be."""
    over = "" if done.before in (None, done.version) else f" over {done.before}"
    what = f"lanpost {done.version}{over}" + (f" for {', '.join(roles)}" if roles else "")
    written = f"; {', '.join(done.files)} written" if done.files else ""
    if not dry_run:
        return f"done: {what} is in force{written}"
    sent = f"{done.octets / 1e6:.1f} of {parcel.size / 1e6:.1f} MB" if done.octets else "nothing"
    return f"would send {sent} and install {what}" + (
        f"; would write {', '.join(done.files)}" if done.files else ""
    )


def _as_dict(result: _Result) -> dict[str, Any]:
    done = result.done
    return {
        "host": result.host,
        "done": done is not None,
        "text": result.text,
        "version": done.version if done else None,
        "before": done.before if done else None,
        "octets": done.octets if done else None,
    }
