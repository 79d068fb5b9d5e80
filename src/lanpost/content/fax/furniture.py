"""What a sender puts around a document: a cover page, and a line of print along the top of each page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from PIL import Image, ImageDraw

from lanpost.content.fax.page import FINE, WIDTH, X_DPI, FaxPage
from lanpost.content.fax.picture import page_of
from lanpost.content.fax.text_page import LINE, MARGIN, TOP, inked
from lanpost.content.fax.text_page import SIZE as TEXT_SIZE
from lanpost.content.fax.typeface import typeface

STRIP = 44  # rows at fine resolution; 5.7 mm
SIZE = 30  # dots an em
TITLE_SIZE = 100  # dots an em; 12 mm
TITLE_LINES = 4  # of a cover page, that its title takes


@dataclass(frozen=True, slots=True)
class Heading:
    """Who faxes whom, and when; the time is shown as it is given."""

    sender: str
    recipients: tuple[str, ...]
    at: datetime

    @property
    def time(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}"


def cover_text(heading: Heading, text: str, pages: int) -> str:
    """A cover page's text, below room for its title; `pages` counts it."""
    columns = int((WIDTH - 2 * MARGIN) / typeface(TEXT_SIZE).column)
    lines = [
        *("" for _ in range(TITLE_LINES)),
        f"To:    {heading.recipients[0]}",
        *(f"       {each}" for each in heading.recipients[1:]),
        f"From:  {heading.sender}",
        f"Date:  {heading.time}",
        f"Pages: {pages}, with this one",
        "",
        "_" * columns,
        "",
        text,
    ]
    return "\n".join(lines) + "\n"


def titled(pages: Iterable[FaxPage]) -> Iterator[FaxPage]:
    """A cover page, and what more there is of it, with its title."""
    for number, page in enumerate(pages):
        if number:
            yield page
            continue
        strip = Image.new("L", (WIDTH, (TITLE_LINES - 1) * LINE), 255)
        typeface(TITLE_SIZE).write(ImageDraw.Draw(strip), (MARGIN - 6, 0), "FAX")
        yield _over(page, strip, TOP)


def with_header(pages: Iterable[FaxPage], heading: Heading, total: int) -> Iterator[FaxPage]:
    """Each page with time, sender, recipient and its number, in place of its topmost 6 mm."""
    to = heading.recipients[0] + (f" +{len(heading.recipients) - 1}" if len(heading.recipients) > 1 else "")
    for number, page in enumerate(pages, 1):
        yield _headed(page, f"{heading.time}  {heading.sender} > {to}", f"{number}/{total}")


def _headed(page: FaxPage, left: str, right: str) -> FaxPage:
    face = typeface(SIZE)
    wide = round(page.width * X_DPI / page.x_dpi)  # of the page, were it as fine as others
    columns = int((wide - 2 * MARGIN) / face.column)
    room = columns - len(right) - 2
    left = left if len(left) <= room else left[: room - 3] + "..."
    strip = Image.new("L", (wide, STRIP), 255)
    face.write(ImageDraw.Draw(strip), (MARGIN, 4), left + " " * (columns - len(left) - len(right)) + right)
    return _over(page, strip, 0)


def _over(page: FaxPage, strip: Image.Image, at: int) -> FaxPage:
    """The page with a strip of greys in place of its rows from `at` on, both counted at fine resolution."""
    begin = at * page.y_dpi // FINE * page.stride
    size = page.width, max(1, strip.height * page.y_dpi // FINE)
    strip = strip.resize(size, Image.Resampling.BOX)
    rows = page_of(inked(strip, FINE), page.y_dpi).raster[: len(page.raster) - begin]
    raster = page.raster[:begin] + rows + page.raster[begin + len(rows) :]
    return FaxPage(page.width, page.height, page.x_dpi, page.y_dpi, raster)
