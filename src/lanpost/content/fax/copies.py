"""The forms that a received fax is kept in: TIFF, PDF and PNG, made page by page (one page in memory at a time)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lanpost.content.fax.mail import Document, Kind
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.paper import sheets
from lanpost.content.fax.pdf import PdfPages
from lanpost.content.fax.png import png_of
from lanpost.content.fax.profile_s import write_mmr
from lanpost.errors import InvalidFax

TIFF_FILE, PDF_FILE = "fax.tif", "fax.pdf"

Write = Callable[[str, Iterator[bytes]], object]  # a new file of that name in the fax's folder, on disk


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What `fax.json` says of one page."""

    width: int
    height: int
    x_dpi: int
    y_dpi: int
    damaged_lines: int
    picture: str  # file name


def make_copies(documents: list[Document], max_pages: int, folder: Path, write: Write) -> list[PageFacts]:
    """Write all forms into `folder` (the PDF by itself, the others by `write`). Raises InvalidFax."""
    facts: list[PageFacts] = []
    pdf = PdfPages()
    for number, sheet in enumerate(sheets(documents), 1):
        if number > max_pages:
            pages = "page" if max_pages == 1 else "pages"
            raise InvalidFax(f"it has more than {max_pages} {pages}, and no more are taken at once")
        page = sheet.page
        picture = f"page-{number:03}.png"
        write(picture, iter((png_of(page),)))
        pdf.add(sheet)
        facts.append(PageFacts(page.width, page.height, page.x_dpi, page.y_dpi, sheet.damaged_lines, picture))
    pdf.save(folder / PDF_FILE)
    write(TIFF_FILE, _tiff(documents, len(facts)))
    return facts


def _tiff(documents: list[Document], total: int) -> Iterator[bytes]:
    """The sender's own where it is all there is; else all pages in one, without loss."""
    if len(documents) == 1 and documents[0].kind is Kind.TIFF:
        return iter((documents[0].data,))

    def pages() -> Iterator[FaxPage]:
        for sheet in sheets(documents):  # once more, rather than to keep them all
            yield sheet.page

    return write_mmr(pages(), total)
