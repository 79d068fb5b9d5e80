"""`lanpost chart`: the table of bindings, seen and changed by hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import click

from lanpost.app import chart_copy, chart_files
from lanpost.app.charts import missing_file, open_chart
from lanpost.app.inquiry import refuse_mailbox
from lanpost.app.settings import Settings
from lanpost.cli.options import Function, print_json, with_json, with_settings
from lanpost.content.chart_offer import AUTHORITY
from lanpost.errors import InvalidValue, LanpostError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.endpoint import Endpoint
from lanpost.service.ports import Chart

HEADER = ("ADDRESS", "ENDPOINT", "UPDATED", "EXPIRES", "SOURCE")
ROWS_AT_ONCE = 1_000  # a table's columns are as wide as these need; a chart may have a million rows

with_format = click.option(
    "--format", "form", type=click.Choice(list(chart_files.FORMS)), help="Else told by the file's ending."
)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Chart]:
    chart = open_chart(settings)
    try:
        yield chart
    finally:
        await chart.close()


@click.group()
def chart() -> None:
    """The chart: which mail address is at which endpoint."""


@chart.command("list")
@with_settings
@with_json
def list_entries(settings: Settings, as_json: bool) -> None:
    """Print all entries, by address."""
    if as_json:
        asyncio.run(_export(settings, chart_files.FORMS["json"], sys.stdout.write))
    else:
        asyncio.run(_list(settings))


async def _list(settings: Settings) -> None:
    rows: list[Sequence[str]] = [HEADER]
    widths: Sequence[int] = ()
    async with opened(settings) as opened_chart:
        async for entry in opened_chart.entries():
            rows.append(_row(entry, datetime.now(UTC)))
            if len(rows) >= ROWS_AT_ONCE:
                widths = _print_rows(rows, widths)
                rows = []
    if rows:
        _print_rows(rows, widths)


def _row(entry: Entry, now: datetime) -> Sequence[str]:
    binding = entry.binding
    if binding is None:
        return str(entry.address), "-", "-", "-", "-"
    expires = _shown(binding.expires) if binding.expires else "never"
    if not binding.is_live(now):
        expires += " (expired)"
    return str(entry.address), str(binding.endpoint), _shown(binding.updated), expires, binding.source.value


def _shown(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def _print_rows(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Sequence[int]:
    """Print them in columns of these widths, or of those that they need. Returns the widths."""
    widths = widths or [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    click.echo("\n".join(lines))  # at once: each call flushes
    return widths


@chart.command("set", short_help="Bind an address by hand, for good.")
@click.argument("address")
@click.argument("endpoint")
@with_settings
def set_binding(settings: Settings, address: str, endpoint: str) -> None:
    """Bind ADDRESS to ENDPOINT (an IP address, and a port if it is not 25), for good."""
    binding = Binding(MailAddress.parse(address, settings.domain), Endpoint.parse(endpoint), datetime.now(UTC))
    refuse_mailbox(settings, binding.address)
    asyncio.run(_set(settings, binding))


async def _set(settings: Settings, binding: Binding) -> None:
    async with opened(settings) as opened_chart:
        before = await opened_chart.look_up(binding.address)
        await opened_chart.bind(binding)
    was = f" (was {before.binding.endpoint})" if before and before.binding else ""
    click.echo(f"{binding.address} is at {binding.endpoint}{was}, for good")


@chart.command()
@click.argument("address")
@with_settings
def remove(settings: Settings, address: str) -> None:
    """Forget ADDRESS wholly."""
    asyncio.run(_remove(settings, MailAddress.parse(address, settings.domain)))


async def _remove(settings: Settings, address: MailAddress) -> None:
    async with opened(settings) as opened_chart:
        if not await opened_chart.remove(address):
            raise LanpostError(f"{address} is not in the chart; `lanpost chart list` shows what is")
    click.echo(f"{address} is forgotten")


@chart.command("import", short_help="Bind what a CSV, JSON or XML file lists.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@with_format
@click.option("--skip-bad", is_flag=True, help="Import the good lines of a file that has bad ones.")
@with_settings
def import_(settings: Settings, file: str, form: str | None, skip_bad: bool) -> None:
    """Bind what FILE lists ("-": standard input), in place of what the chart says of those addresses.

    CSV with a header line `address,endpoint`, JSON, or XML as docs/chart-xml.md tells; all may name updated,
    expires, source, owner, proof and details for address books too. An entry without an endpoint makes its address
    known. Doing it again does no harm.
    """
    chosen = chart_files.form_of(file, form)
    with (
        chart_files.opened_for_import(file) as text,
        chart_files.ChartFile(text, chosen, settings.domain, datetime.now(UTC)) as source,
    ):
        with _progress("Checking", chart_files.length_of(text)) as progress:
            try:
                survey = source.survey(progress)
            except InvalidValue as error:
                raise InvalidValue(f"{file}: {error}; nothing was imported") from None
        for record in survey.bad_records if skip_bad else survey.bad_records[1:]:
            click.echo(f"{file}, {record}", err=True)
        if not skip_bad:
            chart_files.refuse_bad(file, survey)
        with _progress("Importing", survey.bound) as progress:
            asyncio.run(_import(settings, source, survey, progress))
    known = f", {survey.unbound} known without an endpoint" if survey.unbound else ""
    skipped = f", {survey.bad} bad ones skipped" if survey.bad else ""
    click.echo(f"{survey.bound} bindings imported{known}{skipped}")


async def _import(
    settings: Settings,
    source: chart_files.ChartFile,
    survey: chart_files.Survey,
    progress: Callable[[int], object],
) -> None:
    async with opened(settings) as opened_chart:
        await chart_files.import_file(opened_chart, source, survey, progress)


@contextmanager
def _progress(label: str, length: int) -> Iterator[Callable[[int], object]]:
    """A bar on stderr where somebody sees it; call what it yields with how much is done."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    with click.progressbar(length=length, label=label.ljust(9), file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)
        bar.update(length - bar.pos)


def _with_credentials(side: str) -> Callable[[Function], Function]:
    """Gives a command `--SIDE-user`, `--SIDE-password-file` and `--SIDE-bind-dn`."""

    def decorate(function: Function) -> Function:
        for name, text in (
            ("bind-dn", "for a directory"),
            ("password-file", "its password"),
            ("user", "for a document server"),
        ):
            help_text = f"Log in there, {text}; else as [chart] says, if it is that chart."
            function = click.option(f"--{side}-{name}", default="", metavar="TEXT", help=help_text)(function)
        return function

    return decorate


@chart.command(short_help="Copy a whole chart into another.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--prune", is_flag=True, help="Remove the entries that only TO has.")
@_with_credentials("from")
@_with_credentials("to")
@with_settings
def copy(settings: Settings, source: str, target: str, prune: bool, **credentials: str) -> None:
    """Put every entry of the chart FROM into the chart TO; both are written as `chart.url`.

    Bindings, details and known terminals go along, as they are. Entries that only TO has stay, unless --prune is
    said. Doing it again does no harm. What TO does not hold as it is in FROM is named, and the status is 1 then.
    """
    from_settings = chart_copy.settings_for(settings, source, _of_side("from", credentials))
    to_settings = chart_copy.settings_for(settings, target, _of_side("to", credentials))
    if from_settings.chart.url == to_settings.chart.url:
        raise LanpostError(f"{source} is both FROM and TO; name two charts")
    if missing := missing_file(from_settings):
        raise LanpostError(f"{missing}: there is no such chart; look at FROM")
    copied = asyncio.run(_copy(from_settings, to_settings, prune))
    removed = f", {copied.removed} removed" if prune else ""
    click.echo(
        f"{copied.entries} entries: {copied.written} written, {copied.entries - copied.written} left{removed}"
    )
    if stayed := copied.only_in_target - copied.removed:
        click.echo(f"{stayed} entries that only {target} has stay there; --prune removes them")
    if copied.lost:
        for address, why in copied.losses:
            click.echo(f"{address}: {why}", err=True)
        raise LanpostError(
            f"{copied.lost} entries are not in {target} as they are in {source}; they are named above"
        )


def _of_side(side: str, credentials: Mapping[str, str]) -> dict[str, str]:
    prefix = f"{side}_"
    return {
        name.removeprefix(prefix): text for name, text in credentials.items() if name.startswith(prefix) and text
    }


async def _copy(from_settings: Settings, to_settings: Settings, prune: bool) -> chart_copy.Copied:
    async with opened(from_settings) as source, opened(to_settings) as target:
        length = 0
        if sys.stderr.isatty():
            async for _ in source.entries():
                length += 1
        with _progress("Copying", length) as progress:
            return await chart_copy.copy(source, target, progress, prune=prune)


@chart.command(short_help="Print how another mail server asks this chart.")
@with_settings
@with_json
def offer(settings: Settings, as_json: bool) -> None:
    """Print the configuration of a mail server on another machine that asks the chart served here over LDAP.

    `lanpost push --directory` does the rest by itself.
    """
    from lanpost.app import served_chart  # a directory's parts, which no other command of these needs

    offered = served_chart.offer(settings)
    if as_json:
        print_json(offered.to_json())
        return
    click.echo(offered.configuration(0), nl=False)
    click.echo(f"# {AUTHORITY}, a file beside it, has the CA certificate:")
    click.echo("".join(f"# {line}\n" for line in offered.authority.splitlines()), nl=False)


@chart.command(short_help="Write all entries to a CSV, JSON or XML file.")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@with_format
@with_settings
def export(settings: Settings, file: str, form: str | None) -> None:
    """Write all entries to FILE ("-": standard output), as CSV, JSON or XML."""
    chosen = chart_files.form_of(file, form)
    if file == "-":
        asyncio.run(_export(settings, chosen, sys.stdout.write))
        return
    with chart_files.opened_for_export(file) as text:
        count = asyncio.run(_export(settings, chosen, text.write))
    click.echo(f"{count} entries written to {file}")


async def _export(settings: Settings, form: chart_files.Form, write: Callable[[str], object]) -> int:
    async with opened(settings) as opened_chart:
        return await chart_files.export(opened_chart, form, write)
