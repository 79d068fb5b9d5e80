"""The chart as XML, read: what schemas/chart.rng describes and docs/chart-xml.md tells people.

Strict, since people edit it: an element or attribute that is not known is an error that names the nearest one.
Nothing is ever expanded or fetched: a document type declaration, with which every XML bomb and every external
entity begins, is refused where it stands. Elements are refused as soon as they begin where they do not belong,
so no document is deeper than three.

Raises InvalidValue, whose text begins with line and column and ends with the remedy.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler, feature_namespaces

from defusedxml import sax
from defusedxml.common import DefusedXmlException

from lanpost.content.chart_record import BadRecord, time_of
from lanpost.content.chart_xml_text import HEAD, NAMESPACE, NAMESPACE_OF_ANY_VERSION, TAIL
from lanpost.errors import InvalidBinding, InvalidEndpoint, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import DETAIL_NAMES, Details
from lanpost.model.endpoint import SMTP_PORT, Endpoint
from lanpost.model.proof import Proof

MAX_DOCUMENT = 64 * 2**20  # octets; some 350,000 bindings
MAX_ENTRIES = 1_000_000
FEW_LINES = 200  # changed ones that are read by themselves; of more the whole is read

_CHILDREN = {"": ("chart",), "chart": ("terminal",), "terminal": ("endpoint", "detail")}
_ATTRIBUTES = {
    "chart": (),
    "terminal": ("address",),
    "endpoint": ("host", "port", "zone", "updated", "expires", "source", "owner", "proof"),
    "detail": ("name",),
}
_REQUIRED = {"terminal": "address", "endpoint": "host", "detail": "name"}
_EXAMPLES = {"address": "fax1@office.lan", "host": "10.0.0.7", "name": "o"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_PORT = re.compile(r"[1-9]\d{0,4}\Z", re.ASCII)
_SOURCES = {source.value: source for source in Source}
_LEAST = timedelta(microseconds=1)

Former = Callable[[str], Entry | None]  # by key


class Place(NamedTuple):
    """Where something begins in a document, both counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class Found(NamedTuple):
    """An entry, or what to mend where one should be."""

    place: Place
    entry: Entry | str


@dataclass(slots=True)
class _Terminal:
    """A <terminal> of which the end has not come yet."""

    place: Place
    address: str
    endpoint: tuple[Place, dict[str, str]] | None = None
    details: tuple[tuple[str, str], ...] = ()


def no_former(_key: str) -> Entry | None:
    """For those who read a document the first time."""
    return None


class XmlReader:
    """Takes a document in pieces and gives its entries.

    Where `updated` is left out it is that of the same binding of the `former` entry, else `now`.
    """

    def __init__(self, default_domain: str, now: datetime, former: Former = no_former) -> None:
        self._octets = 0
        self._parser: Any = sax.make_parser()
        self._handler = _Handler(self._place, default_domain, now, former)
        self._parser.forbid_dtd = True
        self._parser.setFeature(feature_namespaces, True)
        self._parser.setContentHandler(self._handler)

    def feed(self, data: bytes) -> list[Found]:
        """What has become known with these octets."""
        self._octets += len(data)
        if self._octets > MAX_DOCUMENT:
            raise InvalidValue(f"more than {MAX_DOCUMENT >> 20} MiB; a chart as large as that belongs into SQLite")
        self._parse(lambda: self._parser.feed(data))
        return self._handler.taken()

    def close(self) -> list[Found]:
        """The document is complete."""
        if not self._octets:
            raise InvalidValue(f"line 1, column 1: nothing is here; write <chart xmlns={NAMESPACE!r}></chart>")
        self._parse(self._parser.close)
        return self._handler.taken()

    def _place(self) -> Place:
        return Place(self._parser.getLineNumber() or 1, (self._parser.getColumnNumber() or 0) + 1)

    def _parse(self, step: Callable[[], object]) -> None:
        try:
            step()
        except SAXParseException as error:
            place = Place(error.getLineNumber() or 1, (error.getColumnNumber() or 0) + 1)
            raise InvalidValue(
                f"{place}: no well-formed XML: {error.getMessage()}; mend it there, or just before"
            ) from None
        except DefusedXmlException:
            raise InvalidValue(
                f"{self._place()}: a chart has no document type declaration (<!DOCTYPE ...>) and no entities;"
                " take it out"
            ) from None
        except (UnicodeError, LookupError) as error:
            raise InvalidValue(
                f"line 1, column 1: the encoding cannot be read: {error}; save it as UTF-8"
            ) from None


def read_document(
    document: bytes, default_domain: str, now: datetime, former: Former = no_former
) -> dict[str, Entry]:
    """All entries by key, in the document's order. Raises InvalidValue at the first that cannot be read."""
    reader = XmlReader(default_domain, now, former)
    entries: dict[str, Entry] = {}
    for found in (*reader.feed(document), *reader.close()):
        if isinstance(found.entry, str):
            raise InvalidValue(f"{found.place}: {found.entry}")
        entries[found.entry.address.key] = found.entry
    return entries


def read_changed(
    document: bytes, known: dict[str, Entry], default_domain: str, now: datetime, former: Former = no_former
) -> dict[str, Entry]:
    """As `read_document`, quickly where most lines are among `known`: those that we write, with their entries."""
    quickly = _by_lines(document, known, default_domain, now, former) if known else None
    return read_document(document, default_domain, now, former) if quickly is None else quickly


def _by_lines(
    document: bytes, known: dict[str, Entry], default_domain: str, now: datetime, former: Former
) -> dict[str, Entry] | None:
    """None: it must be read as a whole, be it to tell where it is wrong."""
    if len(document) > MAX_DOCUMENT:
        return None
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not (text.startswith(HEAD) and text.endswith(TAIL)):
        return None
    lines = text[len(HEAD) : -len(TAIL)].split("\n")
    entries: dict[str, Entry] = {}
    count = unknown = 0
    for line in lines:
        if entry := known.get(line):
            entries[entry.address.key] = entry
            count += 1
            continue
        unknown += 1
        if unknown > FEW_LINES:
            return None
        try:
            some = read_document(f"{HEAD}{line}\n{TAIL}".encode(), default_domain, now, former)
        except InvalidValue:
            return None
        entries.update(some)
        count += len(some)
    return entries if count == len(entries) <= MAX_ENTRIES else None  # else one is named twice


def read(lines: Iterable[str], default_domain: str, now: datetime) -> Iterator[Entry | BadRecord]:
    """The entries of a file, or what is wrong with one, in the file's order.

    Octets that were no UTF-8 are to come as surrogates (`surrogateescape`): another encoding may be declared.
    Raises InvalidValue where the whole cannot be read.
    """
    reader = XmlReader(default_domain, now)
    for line in lines:
        yield from map(_record, reader.feed(line.encode("utf-8", "surrogateescape")))
    yield from map(_record, reader.close())


def _record(found: Found) -> Entry | BadRecord:
    return BadRecord(str(found.place), found.entry) if isinstance(found.entry, str) else found.entry


class _Handler(ContentHandler):
    """Hears of elements as they begin and end."""

    def __init__(self, place: Callable[[], Place], default_domain: str, now: datetime, former: Former) -> None:
        super().__init__()
        self._place = place
        self._default_domain = default_domain
        self._now = now
        self._former = former
        self._open: list[str] = []
        self._terminal: _Terminal | None = None
        self._detail = ""
        self._text: list[str] | None = None  # of the open <detail>
        self._found: list[Found] = []
        self._lines: dict[str, int] = {}  # where each key was named

    def taken(self) -> list[Found]:
        found, self._found = self._found, []
        return found

    def startElementNS(self, name: tuple[str | None, str], _qname: str | None, attrs: Any) -> None:  # noqa: N802
        uri, element = name
        parent = self._open[-1] if self._open else ""
        known = _CHILDREN.get(parent, ())
        if element not in known:
            where = f"inside <{parent}>" if parent else "here"
            raise self._wrong(f"<{element[:40]}> is not known {where}; {_nearest(element, known, '<', '>')}")
        if uri != NAMESPACE:
            if uri and uri.startswith(NAMESPACE_OF_ANY_VERSION):
                raise self._wrong(
                    f"this chart is of version {uri.removeprefix(NAMESPACE_OF_ANY_VERSION)[:20]}, from another"
                    f" lanpost; this one reads version {NAMESPACE.removeprefix(NAMESPACE_OF_ANY_VERSION)}: install"
                    " the lanpost that wrote it here too"
                )
            raise self._wrong(
                f"<{element}> is of the namespace {(uri or '')[:60]!r}; write <chart xmlns={NAMESPACE!r}>, and what"
                " is in it without a prefix"
            )
        texts = self._attributes(element, attrs)
        self._open.append(element)
        if element == "terminal":
            self._terminal = _Terminal(self._place(), texts["address"])
        elif element == "endpoint":
            assert self._terminal
            if self._terminal.endpoint is not None:
                raise self._wrong("a terminal has one <endpoint>; take one of them out")
            self._terminal.endpoint = self._place(), texts
        elif element == "detail":
            self._detail, self._text = texts["name"], []
            if self._detail not in DETAIL_NAMES:
                raise self._wrong(
                    f"<detail name={self._detail[:40]!r}> is not known; {_nearest(self._detail, DETAIL_NAMES)}"
                )

    def endElementNS(self, _name: tuple[str | None, str], _qname: str | None) -> None:  # noqa: N802
        element = self._open.pop()
        if element == "detail":
            assert self._terminal
            self._terminal.details += ((self._detail, "".join(self._text or ())),)
            self._text = None
        elif element == "terminal":
            assert self._terminal
            place, entry = self._entry(self._terminal)
            self._found.append(Found(place, entry))
            self._terminal = None

    def characters(self, content: str) -> None:
        if self._text is not None:
            self._text.append(content)
        elif content.strip(" \t\r\n"):
            raise self._wrong(
                f"text {content.strip()[:40]!r} inside <{self._open[-1]}>; only <detail> holds text: take it out"
            )

    def skippedEntity(self, name: str) -> None:  # noqa: N802
        raise self._wrong(f"&{name[:40]}; is not known; write the character itself")

    def _attributes(self, element: str, attrs: Any) -> dict[str, str]:
        texts: dict[str, str] = {}
        known = _ATTRIBUTES[element]
        for (uri, attribute), value in attrs.items():
            if uri is not None or attribute not in known:
                hint = _nearest(attribute, known) if known else f"<{element}> has no attributes"
                raise self._wrong(f"<{element} {attribute[:40]}=...> is not known; {hint}")
            texts[attribute] = value
        needed = _REQUIRED.get(element)
        if needed and needed not in texts:
            raise self._wrong(f'<{element}> lacks {needed}; write <{element} {needed}="{_EXAMPLES[needed]}">')
        return texts

    def _entry(self, terminal: _Terminal) -> tuple[Place, Entry | str]:
        place = terminal.place
        try:
            address = MailAddress.parse(terminal.address, self._default_domain)
            if address.key in self._lines:
                return place, (
                    f"<terminal> {address} is in line {self._lines[address.key]} already; make one of the two"
                )
            if len(self._lines) >= MAX_ENTRIES:
                raise self._wrong(
                    f"more than {MAX_ENTRIES} terminals; a chart as large as that belongs into SQLite"
                )
            self._lines[address.key] = place.line
            details = Details.of(terminal.details)
            if terminal.endpoint is None:
                return place, Entry(address, None, details)
        except InvalidValue as error:
            return place, f"<terminal>: {error}"
        place, texts = terminal.endpoint
        try:
            return place, Entry(address, self._binding(address, texts), details)
        except InvalidValue as error:
            return place, f"<endpoint>: {error}"

    def _binding(self, address: MailAddress, texts: dict[str, str]) -> Binding:
        endpoint = _endpoint(texts)
        expires = _time("expires", texts)
        source = Source.ADMINISTRATOR
        if "source" in texts:
            if texts["source"] not in _SOURCES:
                hint = _nearest(texts["source"], _SOURCES)
                raise InvalidBinding(f"source={texts['source'][:40]!r} is not known; {hint}")
            source = _SOURCES[texts["source"]]
        owner = texts.get("owner", "")
        if not owner.isprintable() or ("owner" in texts and not owner):
            raise InvalidBinding(f"owner={owner[:40]!r}; write the address of an account, or leave it out")
        updated = _time("updated", texts)
        if updated is None:
            updated = self._since(address.key, endpoint, expires, source, owner)
        proof = Proof.parse(texts["proof"]) if "proof" in texts else None
        return Binding(address, endpoint, updated, expires, source, owner, proof)

    def _since(
        self, key: str, endpoint: Endpoint, expires: datetime | None, source: Source, owner: str
    ) -> datetime:
        """When such a binding was written whose `updated` is left out: when it was first seen."""
        former = self._former(key)
        if former and (was := former.binding):
            same = (was.endpoint, was.expires, was.source, was.owner) == (endpoint, expires, source, owner)
            if same:
                return was.updated
        # What has expired meanwhile must not become an error at a later reading.
        return min(self._now, expires - _LEAST) if expires else self._now

    def _wrong(self, text: str) -> InvalidValue:
        return InvalidValue(f"{self._place()}: {text}")


def _endpoint(texts: dict[str, str]) -> Endpoint:
    host, port, zone = texts["host"], texts.get("port", str(SMTP_PORT)), texts.get("zone", "")
    if "%" in host:
        address, _, zone = host.partition("%")
        raise InvalidEndpoint(f'host={host[:80]!r}; write host="{address[:40]}" zone="{zone[:32]}"')
    if not (_PORT.match(port) and int(port) < 65536):
        raise InvalidEndpoint(f"port={port[:40]!r}; write a number from 1 to 65535, or leave it out")
    if "zone" in texts and not zone:
        raise InvalidEndpoint("zone=''; write the interface, as zone=\"eth0\", or leave it out")
    if not zone and ":" not in host and host == host.strip():
        return Endpoint.parse(f"{host}:{port}")  # it has a short way for the commonest form
    return Endpoint.of(host, int(port), zone)


def _time(name: str, texts: dict[str, str]) -> datetime | None:
    text = texts.get(name)
    if text is None:
        return None
    if not _TIME.match(text):
        raise InvalidBinding(
            f"{name}={text[:40]!r}; write a time with its zone, as 2026-11-23T20:15:00Z, or leave it out"
        )
    return time_of(name, text)


def _nearest(word: str, known: Iterable[str], before: str = "", after: str = "") -> str:
    choices = [*known]
    near = difflib.get_close_matches(word, choices, n=1)
    if near:
        return f"did you mean {before}{near[0]}{after}?"
    if not choices:
        return "nothing may be here: take it out"
    return f"known here: {', '.join(f'{before}{choice}{after}' for choice in choices)}"
