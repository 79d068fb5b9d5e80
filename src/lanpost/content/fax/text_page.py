"""Plain text as fax pages: wrapped at words, as many lines as fit a page of A4, a form feed begins a new one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from PIL import Image, ImageDraw

from lanpost.content.fax.page import FINE, STANDARD, WIDTH, FaxPage
from lanpost.content.fax.picture import HEIGHTS, page_of
from lanpost.content.fax.typeface import typeface

SIZE = 34  # dots an em at 204 dots an inch: 12 points, which a standard fax still shows well
MARGIN = 110  # dots on the left and right; 14 mm
TOP = 130  # rows at fine resolution: below a header line
LINE = 43  # rows at fine resolution from one line to the next
TAB = 8  # columns
# Of 255: strokes that standard resolution halves must stay.
INK = {FINE: 150, STANDARD: 185}


def pages_of_text(text: str, fine: bool) -> Iterator[FaxPage]:
    """At least one page, one at a time. Characters that no typeface has are drawn as boxes."""
    y_dpi = FINE if fine else STANDARD
    for lines in _sheets(text):
        yield page_of_lines(lines, y_dpi)


def page_count(text: str) -> int:
    """How many pages that text takes."""
    return sum(1 for _ in _sheets(text))


def _sheets(text: str) -> Iterator[list[str]]:
    per_page = (HEIGHTS[FINE] - 2 * TOP) // LINE
    columns = int((WIDTH - 2 * MARGIN) / typeface(SIZE).column)
    for sheet in text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\f").split("\f"):
        page: list[str] = []
        for line in wrapped(sheet.removesuffix("\n"), columns):
            if len(page) == per_page:
                yield page
                page = []
            page.append(line)
        yield page


def page_of_lines(lines: Iterable[str], y_dpi: int) -> FaxPage:
    """Lines from the top; what does not fit is cut off."""
    image = Image.new("L", (WIDTH, HEIGHTS[FINE]), 255)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        typeface(SIZE).write(draw, (MARGIN, TOP + number * LINE), line)
    return page_of(inked(image, y_dpi), y_dpi)


def inked(image: Image.Image, y_dpi: int) -> Image.Image:
    """Greys at fine resolution, made black and white at `y_dpi`."""
    if y_dpi != FINE:
        image = image.resize((image.width, image.height * HEIGHTS[y_dpi] // HEIGHTS[FINE]), Image.Resampling.BOX)
    return image.point(_ink(INK[y_dpi]), "1")


def _ink(level: int) -> list[int]:
    return [0 if grey < level else 255 for grey in range(256)]


def wrapped(text: str, columns: int) -> Iterator[str]:
    """Lines of at most that many columns, broken at spaces where there are any."""
    for line in text.split("\n"):
        yield from _wrap(_cleaned(line), columns)


def _wrap(line: str, columns: int) -> Iterator[str]:
    start, space, used = 0, -1, 0
    for number, char in enumerate(line):
        used += width(char)
        if used > columns and char != " ":
            if space > start:
                yield line[start:space].rstrip(" ")
                start = space + 1
            else:
                yield line[start:number]
                start = number
            space = -1
            used = sum(map(width, line[start : number + 1]))
        if char == " ":
            space = number
    yield line[start:].rstrip(" ")


def width(char: str) -> int:
    """Columns: two for the wide ones of East Asia, none for marks upon others."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cleaned(line: str) -> str:
    """Tabs as spaces; other controls as the sign for what cannot be shown."""
    line = line.expandtabs(TAB)
    return line if line.isprintable() else "".join(map(_shown, line))


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if category in ("Cc", "Cs") else char
