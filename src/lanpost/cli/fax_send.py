"""`lanpost fax send`: documents become a fax, and the fax a mail to a fax machine."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from lanpost.app.fax_extra import require_fax_extra
from lanpost.app.secret_files import read_secret
from lanpost.app.setting_values import duration
from lanpost.app.settings import Settings
from lanpost.cli.options import print_json, with_json, with_settings
from lanpost.errors import LanpostError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint

if TYPE_CHECKING:
    from lanpost.app.fax_receipts import Mails
    from lanpost.app.fax_send import FaxRequest, PreparedFax
    from lanpost.content.fax.transmission_report import TransmissionReport


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--to", "to", multiple=True, required=True, metavar="ADDRESS", help="Who gets it; may be repeated.")
@click.option("--fine", is_flag=True, help="204 x 196 dots an inch instead of 204 x 98.")
@click.option("--cover", metavar="TEXT", help="A page before the first, with this text.")
@click.option("--header", is_flag=True, help="Time, sender and page number along the top of each page.")
@click.option("--from", "sender", metavar="ADDRESS", help="Who sends; else fax.sender.")
@click.option("--via", metavar="HOST:PORT", help="The mail server; else fax.via, else the one on this machine.")
@click.option("--direct", is_flag=True, help="Inquire here, and send straight to each machine.")
@click.option("--receipt", is_flag=True, help="Ask for a receipt, wait for it, and show it.")
@click.option("--pop3", metavar="HOST:PORT", default="", help="Where receipts arrive; else fax.pop3.")
@click.option("--wait", metavar="TIME", help="How long to wait for receipts, as 2m; else fax.receipt_timeout.")
@with_settings
@with_json
def send(settings: Settings, files: tuple[Path, ...], to: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Fax FILES, PDFs, pictures, plain text or TIFFs, as one document.

    Prints the transmission report. Status 1 unless all is well, as far as it is known.
    """
    if not files and options["cover"] is None:
        raise click.UsageError("nothing to fax: name a FILE, or give --cover TEXT")
    if options["direct"] and options["via"]:
        raise click.UsageError("--direct goes straight to the machine, --via to a mail server: not both")
    require_fax_extra()
    from lanpost.app.fax_send import FaxRequest

    now = datetime.now().astimezone()
    recipients = list(dict.fromkeys(MailAddress.parse(each, settings.domain) for each in to))
    sender = MailAddress.parse(options["sender"] or settings.fax.sender or "fax", settings.domain)
    request = FaxRequest(
        files,
        recipients,
        sender,
        now,
        fine=options["fine"],
        header=options["header"],
        cover=options["cover"],
        receipt=options["receipt"],
    )
    report = asyncio.run(_send(settings, request, as_json, options))
    if as_json:
        print_json(_as_dict(report))
    else:
        for line in report.lines():
            click.echo(line)
        if sys.stdout.isatty():
            click.echo("\n".join(report.preview()))
    if not report.good:
        failed = ", ".join(result.recipient for result in report.results if not result.good)
        click.echo(f"lanpost: the fax has not reached {failed}; see the report, and send it again", err=True)
        raise SystemExit(1)


async def _send(
    settings: Settings, request: FaxRequest, as_json: bool, options: dict[str, Any]
) -> TransmissionReport:
    from dataclasses import replace

    from lanpost.app import fax_send

    started = time.monotonic()
    mails = _mails(settings, request, options["pop3"]) if request.receipt else None
    if await fax_send.all_read_profile_f(settings, request.recipients):
        request = replace(request, rich=True)
    via = None if options["direct"] else _server(settings, options["via"])
    with _Bar() as bar, fax_send.PreparedFax(request) as fax:
        await asyncio.to_thread(fax.write, bar)
        outcomes = await fax_send.deliver(settings, fax, via, bar)
        report = fax_send.report_of(fax, outcomes, started)
        bar.end()
        if mails is not None:
            report = await _with_receipts(settings, report, fax, mails, options["wait"], quiet=as_json)
    if settings.fax.report_to:
        printer = MailAddress.parse(settings.fax.report_to, settings.domain)
        with fax_send.report_fax(report, request, printer) as page:
            await fax_send.deliver(settings, page, via, lambda *_: None)
    return report


def _server(settings: Settings, given: str | None) -> Endpoint:
    if given or settings.fax.via:
        return Endpoint.parse(given or settings.fax.via)
    listen = settings.smtp.listen[0]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104
    return Endpoint.of(here, listen.port)


def _mails(settings: Settings, request: FaxRequest, pop3: str) -> Mails:
    from lanpost.app.fax_receipts import mails_of

    password = ""
    if pop3 or settings.fax.pop3:
        file = settings.fax.password_file
        user = settings.fax.pop3_user or request.sender
        password = (
            read_secret(settings, "fax.password_file", file)
            if file
            else click.prompt(f"Password of {user}", hide_input=True, err=True)
        )
    return mails_of(settings, request.sender, pop3, password, request.at)


async def _with_receipts(
    settings: Settings, report: TransmissionReport, fax: PreparedFax, mails: Mails, wait: str | None, *, quiet: bool
) -> TransmissionReport:
    from lanpost.app.fax_receipts import wait_for_receipts
    from lanpost.app.fax_send import with_receipts

    taken = [result.recipient for result in report.results if result.good]
    words: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    recipients = [each for each in fax.request.recipients if str(each) in taken]
    if not quiet:
        click.echo("Waiting for receipts ...", err=True)

    def told(receipt: Any) -> None:
        of = next((str(each) for each in fax.request.recipients if receipt.is_of(each)), receipt.recipient)
        words[of].append((receipt.good, receipt.words))

    seconds = duration(wait) if wait else settings.fax.receipt_timeout
    try:
        complete = await wait_for_receipts(mails, recipients, (fax.envelope_id, fax.message_id), seconds, told)
        missing = f"none within {seconds:.0f} s; it may still come to {fax.request.sender}"
    except LanpostError as error:
        complete, missing = False, f"cannot be looked for: {error}"
    if not complete:
        for recipient in taken:
            if not words[recipient]:
                words[recipient].append((True, missing))
    return with_receipts(report, words)


class _Bar:
    """One bar a stage, on stderr where that is a terminal."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None  # click's; it names no public type
        self._wanted = sys.stderr.isatty()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if not self._wanted:
            return
        if stage != self._stage:
            self.end()
            self._stage = stage
            self._bar = click.progressbar(length=total, label=stage.ljust(8), file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _as_dict(report: TransmissionReport) -> dict[str, Any]:
    results: Sequence[Any] = report.results
    return {
        "time": report.heading.at.isoformat(),
        "from": report.heading.sender,
        "pages": report.pages,
        "profile": report.profile,
        "octets": report.octets,
        "seconds": round(report.seconds, 3),
        "results": [
            {
                "to": result.recipient,
                "result": "ok" if result.good else "failed",
                "endpoint": result.endpoint or None,
                "said": result.said,
                "receipts": list(result.receipts),
            }
            for result in results
        ],
    }
