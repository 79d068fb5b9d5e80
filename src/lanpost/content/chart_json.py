"""The chart as JSON: an array of objects `{"address": ..., "endpoint": ...}`, one a line as we write it.

`updated`, `expires`, `source` and `owner` as in the CSV form, null for what an entry lacks; details by their names
(`"o": "Acme"`, or a list where there are several), left out where there are none; others are ignored.
Files of one object a line are read as they come, JSON Lines included; others as a whole, up to MAX_DOCUMENT.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain

from lanpost.content.chart_record import COLUMNS, BadRecord, entry_of, texts_of
from lanpost.errors import InvalidDetails, InvalidValue
from lanpost.model.binding import Entry
from lanpost.model.details import DETAIL_NAMES, NO_DETAILS, Details

MAX_DOCUMENT = 64 * 2**20  # characters; some 300,000 entries

_NO_OBJECT = 'write an object, as {"address": "fax1", "endpoint": "10.0.0.7:25"}'


def read(lines: Iterable[str], default_domain: str, now: datetime) -> Iterator[Entry | BadRecord]:
    """The entries of a file, or what is wrong with one, in the file's order.

    Raises InvalidValue where the whole cannot be read.
    """
    source = enumerate(lines, 1)
    begun = []
    for number, line in source:
        begun.append((number, line.removeprefix("\ufeff") if number == 1 else line))
        if line.strip() not in ("", "["):
            break
    if not begun or isinstance(_of_line(begun[-1][1]), dict) or begun[-1][1].strip() in ("", "["):
        records = ((f"line {number}", _of_line(line)) for number, line in chain(begun, source) if _has_entry(line))
    else:
        records = ((f"entry {number}", value) for number, value in enumerate(_document(begun, source), 1))
    for place, value in records:
        yield _entry(value, place, default_domain, now)


def json_of(entry: Entry) -> dict[str, str | list[str] | None]:
    """The object for an entry, for whatever prints JSON."""
    told: dict[str, str | list[str] | None] = {name: text or None for name, text in texts_of(entry).items()}
    for name in DETAIL_NAMES if entry.details else ():
        if values := entry.details.values(name):
            told[name] = values[0] if len(values) == 1 else list(values)
    return told


class JsonWriter:
    """Writes a chart as `read` understands it, by calling `write` with pieces of text."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._before = "[\n"

    def put(self, entry: Entry) -> None:
        self._write(self._before + json.dumps(json_of(entry), ensure_ascii=False))
        self._before = ",\n"

    def end(self) -> None:
        self._write("[]\n" if self._before == "[\n" else "\n]\n")


def _has_entry(line: str) -> bool:
    return line.strip() not in ("", "[", "]", "[]")


def _of_line(line: str) -> object:
    """The line's value, or the error that tells why it has none."""
    try:
        return json.loads(line.strip().removesuffix(","))
    except (ValueError, RecursionError) as error:
        return error


def _document(begun: Iterable[tuple[int, str]], rest: Iterable[tuple[int, str]]) -> list[object]:
    lines, size = [], 0
    for _, line in chain(begun, rest):
        lines.append(line)
        size += len(line)
        if size > MAX_DOCUMENT:
            raise InvalidValue(f"more than {MAX_DOCUMENT >> 20} MB of JSON must have one entry a line")
    try:
        document = json.loads("".join(lines))
    except (ValueError, RecursionError) as error:
        raise InvalidValue(f"not JSON: {error}") from None
    if not isinstance(document, list):
        raise InvalidValue(f"an array of entries is wanted: [{_NO_OBJECT.removeprefix('write an object, as ')}]")
    return document


def _entry(value: object, place: str, default_domain: str, now: datetime) -> Entry | BadRecord:
    if not isinstance(value, dict):
        reason = f"not JSON: {value}" if isinstance(value, Exception) else f"{str(value)[:40]!r} is no entry"
        return BadRecord(place, f"{reason}; {_NO_OBJECT}")
    texts = {name: value[name] for name in COLUMNS if value.get(name) is not None}
    if wrong := [name for name, text in texts.items() if not isinstance(text, str)]:
        return BadRecord(place, f"{wrong[0]} is {str(texts[wrong[0]])[:40]}; write a text in quotes")
    try:
        return entry_of(texts, default_domain, now, _details(value))
    except InvalidValue as error:
        return BadRecord(place, str(error))


def _details(record: dict[str, object]) -> Details:
    pairs = []
    for name in DETAIL_NAMES:
        told = record.get(name)
        values = told if isinstance(told, list) else [] if told is None else [told]
        for value in values:
            if not isinstance(value, str):
                raise InvalidDetails(f"{name} is {str(value)[:40]}; write a text in quotes, or a list of texts")
            pairs.append((name, value))
    return Details.of(pairs) if pairs else NO_DETAILS
