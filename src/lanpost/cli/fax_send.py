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
from lanpost.model.endpoint import SMTP_PORT, Endpoint

if TYPE_CHECKING:
    from lanpost.app.fax_delivery import Attempt, FaxWay
    from lanpost.app.fax_receipts import Mails
    from lanpost.app.fax_send import FaxRequest, PreparedFax
    from lanpost.content.fax.transmission_report import TransmissionReport

SUBMISSION_PORT = 587


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--to", "to", multiple=True, required=True, metavar="ADDRESS", help="Who gets it; may be repeated.")
@click.option("--fine", is_flag=True, help="204 x 196 dots an inch instead of 204 x 98.")
@click.option("--superfine", is_flag=True, help="204 x 391, where the chart says that all machines read it.")
@click.option("--cover", metavar="TEXT", help="A page before the first, with this text.")
@click.option("--header", is_flag=True, help="Time, sender and page number along the top of each page.")
@click.option("--from", "sender", metavar="ADDRESS", help="Who sends; else fax.sender.")
@click.option("--via", metavar="HOST:PORT", help="The mail server; else fax.via, else the one on this machine.")
@click.option("--direct", is_flag=True, help="Inquire here, and send straight to each machine.")
@click.option("--user", metavar="NAME", default="", help="Log in at the mail server to send; else fax.user.")
@click.option("--password-file", metavar="FILE", default="", help="Its password is the first line there.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input: its first line.")
@click.option("--retries", type=click.IntRange(0), help="With --direct: tries of a busy machine after the first.")
@click.option("--pause", metavar="TIME", help="Between two tries, as 60s; else fax.pause.")
@click.option("--receipt", is_flag=True, help="Ask for a receipt, wait for it, and show it.")
@click.option("--pop3", metavar="HOST:PORT", default="", help="Where receipts arrive; else fax.pop3.")
@click.option("--report-to", metavar="ADDRESS", default="", help="Who is faxed the report; else fax.report_to.")
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
    if options["direct"] and options["user"]:
        raise click.UsageError("--direct goes straight to the machine, which knows no users: no --user there")
    if options["password_file"] and options["password_stdin"]:
        raise click.UsageError("one password: --password-file or --password-stdin")
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
        superfine=options["superfine"],
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
    from lanpost.app.fax_delivery import deliver
    from lanpost.model.delivery import Verdict

    started = time.monotonic()
    password = _Password(settings, options)
    way = _way(settings, password, options)
    mails = _mails(settings, request, password, options["pop3"]) if request.receipt else None
    request = replace(request, reach=await fax_send.reach_of_all(settings, request.recipients))
    if request.superfine and not request.reach.drawing(superfine=True).superfine:
        click.echo("lanpost: the chart does not say that all of them read superfine; it goes in fine", err=True)
    with _Bar() as bar, fax_send.PreparedFax(request) as fax:
        await asyncio.to_thread(fax.write, bar)

        def waiting(attempt: Attempt) -> None:
            bar.end()
            if not as_json:
                next_try = f"try {attempt.tries + 1} of {way.retries + 1} in {way.pause:g} s"
                click.echo(f"{attempt.address}: {attempt.outcome.reply}; {next_try}", err=True)

        attempts = await deliver(settings, fax, request.recipients, way, bar, waiting)
        report = fax_send.report_of(fax, attempts, started)
        bar.end()
        if mails is not None:
            report = await _with_receipts(settings, report, fax, mails, options["wait"], quiet=as_json)
    if to := options["report_to"] or settings.fax.report_to:
        printer = MailAddress.parse(to, settings.domain)
        with fax_send.report_fax(report, request, printer) as page:
            (attempt,) = await deliver(settings, page, [printer], way, lambda *_: None)
        if attempt.outcome.verdict is not Verdict.DELIVERED:
            click.echo(f"lanpost: {printer} did not get the report: {attempt.outcome.reply}", err=True)
    return report


class _Password:
    """Of the user, who sends and gets receipts; found out once, when it is needed."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings = settings
        self._options = options
        self._known: str | None = None

    def of(self, user: str) -> str:
        if self._known is None:
            self._known = self._find(user)
        return self._known

    def _find(self, user: str) -> str:
        if self._options["password_stdin"]:
            return sys.stdin.readline().rstrip("\r\n")
        if file := self._options["password_file"]:
            return read_secret(self._settings, "--password-file", str(Path(file).absolute()))
        if file := self._settings.fax.password_file:
            return read_secret(self._settings, "fax.password_file", file)
        return str(click.prompt(f"Password of {user}", hide_input=True, err=True))


def _way(settings: Settings, password: _Password, options: dict[str, Any]) -> FaxWay:
    from lanpost.app.fax_delivery import FaxWay, account_of

    if options["direct"]:
        retries = settings.fax.retries if options["retries"] is None else options["retries"]
        return FaxWay(None, None, retries, _seconds(options["pause"]) or settings.fax.pause)
    user = options["user"] or settings.fax.user
    server = _server(settings, options["via"], user)
    return FaxWay(server, account_of(settings, server, user, password.of(user)) if user else None)


def _server(settings: Settings, given: str | None, user: str) -> Endpoint:
    """Where people log in is another port than where servers meet (RFC 6409 §3.1)."""
    if given or settings.fax.via:
        return Endpoint.parse(given or settings.fax.via, SUBMISSION_PORT if user else SMTP_PORT)
    listens = settings.submission.listen if user else settings.smtp.listen
    if not listens:
        raise click.UsageError("no mail server on this machine takes faxes; name one: --via HOST:PORT")
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listens[0].host, listens[0].host)  # noqa: S104
    return Endpoint.of(here, listens[0].port)


def _seconds(text: str | None) -> float:
    return duration(text) if text else 0.0


def _mails(settings: Settings, request: FaxRequest, password: _Password, pop3: str) -> Mails:
    from lanpost.app.fax_receipts import mails_of

    user = settings.fax.pop3_user or settings.fax.user or str(request.sender)
    return mails_of(settings, user, pop3, password.of(user) if pop3 or settings.fax.pop3 else "", request.at)


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

    seconds = _seconds(wait) or settings.fax.receipt_timeout
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
                "tries": result.tries,
                "receipts": list(result.receipts),
            }
            for result in results
        ],
    }
