"""The transmission report that every fax user expects: as text, and as a page with the first page in small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from lanpost.content.fax.furniture import Heading
from lanpost.content.fax.page import FINE, SUPERFINE, WIDTH, FaxPage
from lanpost.content.fax.picture import HEIGHTS, image_of, page_of
from lanpost.content.fax.text_page import LINE, MARGIN, SIZE, TOP, inked, wrapped
from lanpost.content.fax.typeface import typeface

COLUMNS = 70
PREVIEW = 40, 28  # characters across and down


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one recipient's copy so far."""

    recipient: str
    good: bool
    endpoint: str  # whom we spoke to; "": nobody
    said: str  # the far server's words, or what went wrong
    receipts: tuple[str, ...] = ()
    tries: int = 1


@dataclass(frozen=True, slots=True)
class TransmissionReport:
    heading: Heading
    pages: int
    resolution: int  # dots an inch, down the page
    profile: str  # S or F
    octets: int  # of the TIFF
    seconds: float
    results: Sequence[Result]
    first: FaxPage | None = field(default=None, repr=False)

    @property
    def good(self) -> bool:
        """All that is known is good."""
        return all(result.good for result in self.results)

    def lines(self) -> Iterator[str]:
        """As text."""
        quality = "superfine" if self.resolution >= SUPERFINE else "fine" if self.resolution >= FINE else "standard"
        yield f"TRANSMISSION REPORT: {'OK' if self.good else 'NOT OK'}"
        yield f"Time:      {self.heading.time}, {self.seconds:.1f} s"
        yield f"From:      {self.heading.sender}"
        yield f"Pages:     {self.pages} ({quality}, profile {self.profile}, {_size(self.octets)})"
        for result in self.results:
            yield f"To:        {result.recipient}"
            yield f"Endpoint:  {result.endpoint or 'none'}"
            tries = f" (after {result.tries} tries)" if result.tries > 1 else ""
            yield f"Result:    {'OK' if result.good else 'FAILED'}{tries}"
            yield from _folded("It said:   ", result.said)
            for words in result.receipts:
                yield from _folded("Receipt:   ", words)

    def preview(self) -> Iterator[str]:
        """The first page in small, in dots of Braille, for a terminal."""
        if self.first is None:
            return
        columns, rows = PREVIEW
        grey = image_of(self.first).convert("L").resize((columns * 2, rows * 4), Image.Resampling.BOX)
        # A line of print in small is a light grey: dark enough here.
        dots = grey.point([255 if value < 225 else 0 for value in range(256)]).tobytes()
        for row in range(rows):
            yield "".join(_braille(dots, columns * 2, 2 * column, 4 * row) for column in range(columns)).rstrip(
                "\u2800"
            )

    def page(self, y_dpi: int = FINE) -> FaxPage:
        """As a fax page, for the machine that sent."""
        image = Image.new("L", (WIDTH, HEIGHTS[FINE]), 255)
        draw = ImageDraw.Draw(image)
        at = TOP
        for line in self.lines():
            if at > HEIGHTS[FINE] // 2:
                break
            typeface(SIZE).write(draw, (MARGIN, at), line)
            at += LINE
        if self.first is not None:
            at += LINE
            high = HEIGHTS[FINE] - TOP - at
            wide = min(WIDTH - 2 * MARGIN, round(high * WIDTH / HEIGHTS[FINE]))
            small = image_of(self.first).convert("L").resize((wide, high), Image.Resampling.BOX)
            image.paste(small, (MARGIN, at))
            draw.rectangle((MARGIN - 3, at - 3, MARGIN + wide + 2, at + high + 2), outline=0, width=3)
        return page_of(inked(image, y_dpi), y_dpi)


def _folded(label: str, text: str) -> Iterator[str]:
    first, *others = wrapped(text, COLUMNS - len(label))
    yield label + first
    yield from (" " * len(label) + each for each in others)


def _size(octets: int) -> str:
    return f"{octets / 1000:.0f} kB" if octets < 1_000_000 else f"{octets / 1e6:.1f} MB"


_BRAILLE = ((0, 0, 1), (0, 1, 2), (0, 2, 4), (1, 0, 8), (1, 1, 16), (1, 2, 32), (0, 3, 64), (1, 3, 128))


def _braille(dots: bytes, stride: int, x: int, y: int) -> str:
    return chr(0x2800 + sum(bit for across, down, bit in _BRAILLE if dots[(y + down) * stride + x + across]))
