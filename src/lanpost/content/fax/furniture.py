"""What a sender puts around a document: a cover page, and a line of print along the top of each page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from PIL import Image, ImageDraw

from lanpost.content.fax.page import FINE, WIDTH, FaxPage
from lanpost.content.fax.picture import page_of
from lanpost.content.fax.text_page import MARGIN, inked
from lanpost.content.fax.typeface import typeface

STRIP = 44  # rows at fine resolution; 5.7 mm
SIZE = 30  # dots an em


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
    """A cover page's text; `pages` counts it."""
    lines = [
        "F A X",
        "",
        f"To:    {heading.recipients[0]}",
        *(f"       {each}" for each in heading.recipients[1:]),
        f"From:  {heading.sender}",
        f"Date:  {heading.time}",
        f"Pages: {pages}, with this one",
        "",
        "_" * 60,
        "",
        text,
    ]
    return "\n".join(lines) + "\n"


def with_header(pages: Iterable[FaxPage], heading: Heading, total: int) -> Iterator[FaxPage]:
    """Each page with time, sender, recipient and its number, in place of its topmost 6 mm."""
    to = heading.recipients[0] + (f" +{len(heading.recipients) - 1}" if len(heading.recipients) > 1 else "")
    for number, page in enumerate(pages, 1):
        yield _headed(page, f"{heading.time}  {heading.sender} > {to}", f"{number}/{total}")


def _headed(page: FaxPage, left: str, right: str) -> FaxPage:
    face = typeface(SIZE)
    columns = int((WIDTH - 2 * MARGIN) / face.column)
    room = columns - len(right) - 2
    left = left if len(left) <= room else left[: room - 3] + "..."
    strip = Image.new("L", (WIDTH, STRIP), 255)
    face.write(ImageDraw.Draw(strip), (MARGIN, 4), left + " " * (columns - len(left) - len(right)) + right)
    strip = strip.resize((page.width, max(1, STRIP * page.y_dpi // FINE)), Image.Resampling.BOX)
    top = page_of(inked(strip, FINE), page.y_dpi).raster[: len(page.raster)]
    return FaxPage(page.width, page.height, page.x_dpi, page.y_dpi, top + page.raster[len(top) :])
