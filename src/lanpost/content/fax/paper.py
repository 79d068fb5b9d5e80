"""Every document that a mail brings as pages, one at a time. Raises InvalidFax, naming the part."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator

from lanpost.content.fax.mail import Document, Kind
from lanpost.content.fax.reading import Sheet, read_sheets
from lanpost.errors import InvalidFax


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
            yield from read_sheets(document.data)
        case Kind.PDF:
            importlib.import_module(
                "lanpost.content.fax.tones"
            )  # a PDF may leave no room to load it when it is needed
            from lanpost.content.fax.rendering import pages_of_pdf  # loads a PDF engine

            for page in pages_of_pdf(document.data, fine=True):
                yield Sheet(page)
        case Kind.TEXT:
            from lanpost.content.fax.text_page import pages_of_text

            for page in pages_of_text(document.text, fine=True):
                yield Sheet(page)
