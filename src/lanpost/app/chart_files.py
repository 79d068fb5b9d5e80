"""A chart's import from a file, and its export to one, in the forms that `content` knows."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Self, TextIO

from lanpost.content import chart_csv, chart_json, chart_xml
from lanpost.content.chart_record import BadRecord, EntryWriter
from lanpost.content.chart_xml_text import XmlWriter
from lanpost.errors import ConfigurationError, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.service.ports import Chart
from lanpost.store.chart_staging import ChartStaging
from lanpost.store.files import store_error

MAX_BAD_KEPT = 100  # bad records whose text is kept; the rest are counted
ADD_GROUP = 1_000  # known terminals without a binding, and details, written side by side
PROGRESS_LINES = 5_000

Read = Callable[[Iterable[str], str, datetime], Iterator[Entry | BadRecord]]


@dataclass(frozen=True, slots=True)
class Form:
    """A form that a chart can be written in."""

    read: Read
    writer: Callable[[Callable[[str], object]], EntryWriter]


FORMS = {
    "csv": Form(chart_csv.read, chart_csv.CsvWriter),
    "json": Form(chart_json.read, chart_json.JsonWriter),
    "xml": Form(chart_xml.read, XmlWriter),
}


def form_of(name: str, given: str | None = None) -> Form:
    """The form that was asked for, else the one that the file's ending tells; CSV for "-"."""
    form = FORMS.get(given or ("csv" if name == "-" else Path(name).suffix.lower().removeprefix(".")))
    if form is None:
        raise ConfigurationError(f"{name}: cannot tell the form from its ending; say --format {' or '.join(FORMS)}")
    return form


@dataclass(slots=True)
class Survey:
    """What a file was found to hold."""

    bound: int = 0
    unbound: int = 0
    bad: int = 0
    bad_records: list[BadRecord] = field(default_factory=list)  # the first MAX_BAD_KEPT


class ChartFile:
    """A file of entries: read once, by `survey`, which puts the good ones aside. To be closed.

    Raises InvalidValue where the whole cannot be read, StoreError where there is no room to put them aside.
    """

    def __init__(self, source: TextIO, form: Form, default_domain: str, now: datetime) -> None:
        self._source = source
        self._form = form
        self._default_domain = default_domain
        self._now = now
        self._staging = ChartStaging()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._staging.close()

    def survey(self, progress: Callable[[int], object]) -> Survey:
        """Read it through; `progress` is told how many characters are read."""
        found = Survey()
        lines = _counted(self._source, progress)
        for item in self._form.read(lines, self._default_domain, self._now):
            if isinstance(item, BadRecord):
                found.bad += 1
                if found.bad <= MAX_BAD_KEPT:
                    found.bad_records.append(item)
                continue
            self._staging.put(item)
            if item.binding:
                found.bound += 1
            else:
                found.unbound += 1
        return found

    def bindings(self) -> Iterator[Binding]:
        """What the survey found bound, by address; of an address named twice the last word comes last."""
        return self._staging.bindings()

    def unbound(self) -> Iterator[MailAddress]:
        """What it found without a binding."""
        return self._staging.unbound()

    def described(self) -> Iterator[Entry]:
        """What it found with details."""
        return self._staging.described()


async def import_file(chart: Chart, file: ChartFile, survey: Survey, progress: Callable[[int], object]) -> None:
    """Put the file's good entries into the chart. What fails half way is made good by doing it again.

    Details that the chart has stay where the file gives none. `progress` is told how many bindings are in.
    """
    if survey.bound:
        await chart.bind_many(file.bindings(), progress)
    if survey.unbound:
        addresses = file.unbound()
        while group := list(islice(addresses, ADD_GROUP)):
            await asyncio.gather(*map(chart.add, group))
    entries = file.described()
    while described := list(islice(entries, ADD_GROUP)):
        # Of an address named twice the last word must come last.
        last = {entry.address.key: entry for entry in described}
        await asyncio.gather(*(chart.describe(entry.address, entry.details) for entry in last.values()))


async def export(chart: Chart, form: Form, write: Callable[[str], object]) -> int:
    """Write all entries, as they come, in that form. Returns their number."""
    writer = form.writer(write)
    count = 0
    async for entry in chart.entries():
        writer.put(entry)
        count += 1
    writer.end()
    return count


@contextmanager
def opened_for_import(name: str) -> Iterator[TextIO]:
    """The text of a file ("-": standard input) whose length can be told: of a copy where it is a pipe.

    What is not UTF-8 comes as surrogates, for the form to name. Raises StoreError.
    """
    with ExitStack() as stack:
        try:
            source = sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb"))
            if not source.seekable():
                copy = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(source, copy)
                source = copy
        except OSError as error:
            raise store_error(error, f"{name} cannot be read") from error
        text = TextIOWrapper(source, "utf-8-sig", errors="surrogateescape", newline="")
        stack.callback(text.detach)  # standard input stays open
        yield text


def length_of(text: TextIO) -> int:
    """Octets of the file."""
    length = text.buffer.seek(0, os.SEEK_END)
    text.seek(0)
    return length


@contextmanager
def opened_for_export(name: str) -> Iterator[TextIO]:
    """A file that takes its name only when it is complete; what has that name already stays until then.

    Raises StoreError.
    """
    target = Path(name)
    is_special = target.exists() and not target.is_file()  # a pipe or a device
    part = target if is_special else target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with part.open("w" if is_special else "x", encoding="utf-8", newline="") as file:
            yield file
            if not is_special:
                file.flush()
                os.fsync(file.fileno())
                part.replace(target)
    except BaseException as error:
        if not is_special:
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise store_error(error, f"{name} cannot be written") from error
        raise


def refuse_bad(name: str, survey: Survey) -> None:
    """Raises InvalidValue, which names the first bad record, where there is one."""
    if survey.bad:
        more = f" (and {survey.bad - 1} more)" if survey.bad > 1 else ""
        raise InvalidValue(
            f"{name}, {survey.bad_records[0]}{more}; nothing was imported: mend the file, or say --skip-bad"
        )


def _counted(lines: Iterable[str], progress: Callable[[int], object]) -> Iterator[str]:
    characters = 0
    for number, line in enumerate(lines, 1):
        characters += len(line)
        if number % PROGRESS_LINES == 0:
            progress(characters)
        yield line
    progress(characters)
