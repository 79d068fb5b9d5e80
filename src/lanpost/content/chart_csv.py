"""The chart as CSV: a header that names at least `address` and `endpoint`, then a line for each entry (RFC 4180).

`updated`, `expires`, `source`, `owner` and the names of details (`o`, `displayName`, ...) are used where the
header names them, other columns ignored. Several values of a detail are parted by bars; `\\|` is a bar within one,
`\\\\` a backslash. What spreadsheets save is read too: separated by semicolons or tabs, CRLF line ends, empty lines
and cells at the end.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from lanpost.content.chart_record import COLUMNS, BadRecord, entry_of, texts_of
from lanpost.errors import InvalidValue
from lanpost.model.binding import Entry
from lanpost.model.details import DETAIL_NAMES, NO_DETAILS, Details

_DETAILS = {name.lower(): name for name in DETAIL_NAMES}  # as headers are compared
_VALUE = re.compile(r"(?:[^\\|]|\\.|\\\Z)*", re.DOTALL)
_SEPARATORS = ",;\t"


def read(lines: Iterable[str], default_domain: str, now: datetime) -> Iterator[Entry | BadRecord]:
    """The entries of a file, or what is wrong with one, in the file's order.

    Text that was no UTF-8 is to come as surrogates (`surrogateescape`), so that it can be named.
    Raises InvalidValue where the whole cannot be read.
    """
    source = iter(lines)
    above, header = next(((number, line) for number, line in enumerate(source, 1) if line.strip()), (0, ""))
    header = header.removeprefix("\ufeff")
    separator = max(_SEPARATORS, key=header.count)
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=separator), [])]
    if "address" not in names or "endpoint" not in names:
        raise InvalidValue(
            f"the first line is {header.strip()[:80]!r}; it must be a header that names address and endpoint,"
            " as address,endpoint"
        )
    if used := [name for name in (*COLUMNS, *_DETAILS) if names.count(name) > 1]:
        raise InvalidValue(f"the header names {used[0]} twice; name it once")
    rows = csv.reader(source, delimiter=separator)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRecord(
                f"line {above + rows.line_num}", f"{error}; look for a quotation mark that is not closed"
            )
            continue
        if any(map(str.strip, row)):
            yield _entry(row, names, f"line {above + rows.line_num}", default_domain, now)


def _entry(row: list[str], names: list[str], place: str, default_domain: str, now: datetime) -> Entry | BadRecord:
    if any(row[len(names) :]):
        return BadRecord(place, f"{len(row)} cells, but the header has {len(names)}; put quotation marks around")
    try:
        texts = dict(zip(names, row, strict=False))
        return entry_of(texts, default_domain, now, _details(texts))
    except InvalidValue as error:
        is_text = all(map(_is_text, row))
        return BadRecord(place, str(error) if is_text else "not UTF-8; save the file as CSV UTF-8")


def _is_text(cell: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in cell)


def _details(texts: dict[str, str]) -> Details:
    pairs = [
        (name, value)
        for column, name in _DETAILS.items()
        if texts.get(column, "").strip()
        for value in values_of(texts[column])
    ]
    return Details.of(pairs) if pairs else NO_DETAILS


def cell_of(values: Iterable[str]) -> str:
    """Several values in one cell; `values_of` takes them apart."""
    return "|".join(value.replace("\\", "\\\\").replace("|", "\\|") for value in values)


def values_of(cell: str) -> list[str]:
    """What `cell_of` put together."""
    values, at = [], -1
    while at < len(cell):
        found = _VALUE.match(cell, at + 1)
        assert found
        values.append(re.sub(r"\\(.)", r"\1", found[0], flags=re.DOTALL))
        at = found.end()
    return values


class CsvWriter:
    """Writes a chart as `read` understands it, by calling `write` with pieces of text."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._writer = csv.writer(_Sink(write), lineterminator="\n")
        self._writer.writerow((*COLUMNS, *DETAIL_NAMES))

    def put(self, entry: Entry) -> None:
        details = entry.details
        cells = [cell_of(details.values(name)) for name in DETAIL_NAMES] if details else [""] * len(DETAIL_NAMES)
        self._writer.writerow((*texts_of(entry).values(), *cells))

    def end(self) -> None:
        """Nothing: a file of no entries has its header."""


class _Sink:
    """What csv.writer wants to be given."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write
