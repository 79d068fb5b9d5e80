"""Makes a fax that is to be sent: documents to pages, pages to one TIFF, that in a mail; and the report of it.

The TIFF is written to a temporary file page by page, and sent from there: memory holds one page, however many there
are.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from lanpost.app.charts import missing_file, open_chart
from lanpost.app.fax_delivery import Attempt, Progress
from lanpost.app.settings import Settings
from lanpost.content.fax import outgoing
from lanpost.content.fax.address import features
from lanpost.content.fax.document import Document, all_pages, of_text, open_document
from lanpost.content.fax.furniture import Heading, cover_text, titled, with_header
from lanpost.content.fax.outgoing import FaxHeaders
from lanpost.content.fax.page import FINE, STANDARD, FaxPage
from lanpost.content.fax.profile_s import write_profile_f, write_profile_s
from lanpost.content.fax.reach import NOTHING_KNOWN, Reach, common, reach_of
from lanpost.content.fax.transmission_report import Result, TransmissionReport
from lanpost.content.report_text import xtext
from lanpost.errors import ChartUnavailable
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.model.delivery import Verdict
from lanpost.model.envelope import Envelope, Recipient
from lanpost.service.fax_numbers import DETAIL, FaxNumbers, fax_number
from lanpost.service.ports import Chart

BLOCK = 256 * 1024  # octets of the TIFF read at a time


@dataclass(frozen=True, slots=True)
class FaxRequest:
    """What somebody wants to be sent. `at` is shown on the pages as it is, so local time."""

    files: Sequence[Path]
    recipients: Sequence[MailAddress]
    sender: MailAddress
    at: datetime  # aware
    fine: bool = False
    header: bool = False  # a line along the top of each page
    cover: str | None = None  # a page before the first; "": without words of one's own
    receipt: bool = False  # delivery report and disposition notice are asked for
    superfine: bool = False  # where they read it; else fine
    reach: Reach = NOTHING_KNOWN  # what every recipient reads

    @property
    def heading(self) -> Heading:
        return Heading(str(self.sender), tuple(map(str, self.recipients)), self.at)


class PreparedFax:
    """A TIFF in a temporary file, and what the mail around it says. Close it."""

    def __init__(self, request: FaxRequest) -> None:
        self.request = request
        unique = secrets.token_hex(8)
        self.envelope_id = f"fax-{unique}"
        self.message_id = f"<{unique}.fax@{request.sender.domain.strip('[]')}>"
        self.pages = 0
        self.octets = 0
        self.first: FaxPage | None = None
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="lanpost-fax-")  # noqa: SIM115 - closed by `close`

    def write(self, progress: Progress) -> None:
        """Draw all pages. Raises InvalidFax."""
        request = self.request
        documents = [
            open_document(file, fine=request.fine, superfine=request.superfine, reach=request.reach)
            for file in request.files
        ]
        if request.cover is not None:
            documents.insert(0, self._cover(sum(document.count for document in documents)))
        total = sum(document.count for document in documents)
        pages = all_pages(documents)
        if request.header:
            pages = with_header(pages, request.heading, total)
        write = write_profile_f if request.reach.mmr else write_profile_s
        for piece in write(self._counted(pages, total, progress), total):
            self.octets += self._file.write(piece)
        self.pages = total

    def write_page(self, page: FaxPage) -> None:
        """Just this page."""
        for piece in write_profile_s([page], 1):
            self.octets += self._file.write(piece)
        self.pages, self.first = 1, page

    def _cover(self, others: int) -> Document:
        request = self.request
        assert request.cover is not None
        count = 1
        while True:
            text = cover_text(request.heading, request.cover, others + count)
            cover = of_text("cover", text, fine=request.fine or request.superfine)
            if cover.count == count:
                return replace(cover, pages=partial(_titled, cover))
            count = cover.count

    def _counted(self, pages: Iterator[FaxPage], total: int, progress: Progress) -> Iterator[FaxPage]:
        for number, page in enumerate(pages, 1):
            self.first = self.first or page
            progress("Drawing", number, total)
            yield page

    def content(self, progress: Progress) -> FaxContent:
        """The whole mail, from its first octet."""
        request = self.request
        names = [file.stem for file in request.files]
        subject = f"Fax: {', '.join(names)}" if names else "Fax"
        head = outgoing.head(
            FaxHeaders(
                request.sender,
                request.recipients,
                subject[:200] + f" ({self.pages} page{'' if self.pages == 1 else 's'})",
                request.at,
                self.message_id,
                "fax.tif",
                request.sender if request.receipt else None,
            )
        )
        self._file.seek(0)
        return FaxContent(head, self._file, self.octets, progress)

    def envelope(self, recipients: Sequence[MailAddress]) -> Envelope:
        receipt = self.request.receipt
        notify = frozenset({"SUCCESS", "FAILURE"}) if receipt else frozenset()
        sender = self.request.sender
        return Envelope(
            sender,
            tuple(
                Recipient(each, notify, f"rfc822;{xtext(str(each))}" if receipt and not each.needs_smtputf8 else "")
                for each in recipients
            ),
            smtputf8=any(each.needs_smtputf8 for each in (sender, *recipients)),
            ret="HDRS" if receipt else "",
            envid=self.envelope_id if receipt else "",
        )

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _titled(cover: Document) -> Iterator[FaxPage]:
    return titled(cover.pages())


class FaxContent:
    """Satisfies the port ContentReader. Neither headers nor base64 begin a line with a dot."""

    def __init__(self, head: bytes, tiff: IO[bytes], octets: int, progress: Progress) -> None:
        self._size = len(head) + outgoing.size_of_body(octets)
        self._chunks = self._all(head, tiff)
        self._progress = progress
        self._read = 0

    @property
    def size_octets(self) -> int | None:
        return self._size

    async def read(self) -> bytes:
        chunk = next(self._chunks, b"")
        self._read += len(chunk)
        self._progress("Sending", self._read, self._size)
        return chunk

    @staticmethod
    def _all(head: bytes, tiff: IO[bytes]) -> Iterator[bytes]:
        yield head
        yield from outgoing.body(iter(lambda: tiff.read(BLOCK), b""))


def report_of(fax: PreparedFax, attempts: Sequence[Attempt], started: float) -> TransmissionReport:
    """What is known when all has been said; `started` by `time.monotonic`."""
    request = fax.request
    results = [
        Result(
            str(attempt.address),
            attempt.outcome.verdict is Verdict.DELIVERED,
            str(attempt.outcome.endpoint or ""),
            str(attempt.outcome.reply),
            tries=attempt.tries,
        )
        for attempt in attempts
    ]
    y_dpi = fax.first.y_dpi if fax.first else FINE if request.fine else STANDARD
    profile = "F" if request.reach.mmr else "S"
    seconds = time.monotonic() - started
    return TransmissionReport(request.heading, fax.pages, y_dpi, profile, fax.octets, seconds, results, fax.first)


def with_receipts(report: TransmissionReport, words: dict[str, list[tuple[bool, str]]]) -> TransmissionReport:
    """The report with what came back for each recipient."""
    results = [
        replace(
            result,
            good=result.good and all(good for good, _ in words.get(result.recipient, [])),
            receipts=tuple(text for _, text in words.get(result.recipient, [])),
        )
        for result in report.results
    ]
    return replace(report, results=results)


def report_fax(report: TransmissionReport, request: FaxRequest, to: MailAddress) -> PreparedFax:
    """The report as a fax of one page, to the machine that prints reports."""
    fax = PreparedFax(replace(request, files=(), recipients=(to,), cover=None, receipt=False, reach=NOTHING_KNOWN))
    fax.write_page(report.page(FINE if request.fine else STANDARD))
    return fax


async def reach_of_all(settings: Settings, recipients: Sequence[MailAddress]) -> Reach:
    """What every recipient reads, as far as the chart says so where this machine can ask it; else profile S."""
    if settings.file is None or missing_file(settings) is not None:
        return NOTHING_KNOWN
    try:
        chart = open_chart(settings)
    except ChartUnavailable:
        return NOTHING_KNOWN
    try:
        numbers = FaxNumbers(chart, lambda: datetime.now(UTC))
        entries = [await _entry(chart, numbers, address) for address in recipients]
    except ChartUnavailable:
        return NOTHING_KNOWN
    finally:
        await chart.close()
    return common(NOTHING_KNOWN if entry is None else _reach_of(entry) for entry in entries)


async def _entry(chart: Chart, numbers: FaxNumbers, address: MailAddress) -> Entry | None:
    """The terminal's that is meant, by its address or its number."""
    entry = await chart.look_up(address)
    number = fax_number(address) if entry is None else None
    return await numbers.find(number.number) if number is not None else entry


def _reach_of(entry: Entry) -> Reach:
    return reach_of(word for number in entry.details.values(DETAIL) for word in features(number))
