"""Every document that a mail brings as pages, one at a time. Raises InvalidFax, naming the part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lanpost.content.fax.mail import Document, Kind
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.reading import Damage, read_pages
from lanpost.errors import InvalidFax


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page, and how many of its lines were damaged on the way: each shows the line above it instead."""

    page: FaxPage
    damaged_lines: int = 0


def sheets(documents: Iterable[Document]) -> Iterator[Sheet]:
    """All pages of all documents. At least one for each."""
    for document in documents:
        try:
            count = 0
            for sheet in _sheets_of(document):
                count += 1
                yield sheet
        except InvalidFax as error:
            raise InvalidFax(f"{document.where}: {error}") from None
        if not count:
            raise InvalidFax(f"{document.where} has no page")


def _sheets_of(document: Document) -> Iterator[Sheet]:
    match document.kind:
        case Kind.TIFF:
            yield from _of_tiff(document.data)
        case Kind.PDF:
            from lanpost.content.fax.rendering import pages_of_pdf  # loads a PDF engine

            for page in pages_of_pdf(document.data, fine=True):
                yield Sheet(page)
        case Kind.TEXT:
            from lanpost.content.fax.text_page import pages_of_text

            for page in pages_of_text(document.text, fine=True):
                yield Sheet(page)


def _of_tiff(data: bytes) -> Iterator[Sheet]:
    told: list[Damage] = []
    for page in read_pages(data, told.append):
        yield Sheet(page, told.pop().lines if told else 0)
