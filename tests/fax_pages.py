"""Pages for the tests of faxes: any pages, and some that look like what is faxed."""

from __future__ import annotations

import random
from itertools import accumulate

from hypothesis import strategies as st

from lanpost.content.fax.page import WIDTH, FaxPage


def row(width: int, runs: list[int]) -> bytes:
    """White first; the last run is as long as it must be."""
    bits, black = "", False
    for dots in runs:
        bits += ("1" if black else "0") * dots
        black = not black
    bits = bits[:width].ljust(width, "1" if black else "0")
    return int(bits.ljust((width + 7) // 8 * 8, "0"), 2).to_bytes((width + 7) // 8, "big")


WIDTHS = st.sampled_from([1, 7, 8, 64, 100, 1728, 2048, 4864])


@st.composite
def pages(draw: st.DrawFn, widths: st.SearchStrategy[int] = WIDTHS) -> FaxPage:
    """Rows of runs, some like the row above, some shifted against it: what two-dimensional coding lives of."""
    width = draw(widths)
    height = draw(st.integers(1, 12))
    some_runs = st.lists(st.integers(0, width) | st.integers(0, 9), max_size=12)
    rows: list[list[int]] = []
    for _ in range(height):
        shift = draw(st.integers(-4, 5))
        if rows and shift < 5:
            above = rows[-1]
            rows.append([max(0, above[0] + shift), *above[1:]] if above else [])
        else:
            rows.append(draw(some_runs))
    raster = b"".join(row(width, runs) for runs in rows)
    return FaxPage(width, height, 204, draw(st.sampled_from([98, 196])), raster)


def written_page(
    height: int = 400, *, seed: int = 1, width: int = WIDTH, y_dpi: int = 98, x_dpi: int = 204
) -> FaxPage:
    """Lines of strokes like letters, with white between the lines."""
    chance = random.Random(seed)
    rows: list[bytes] = []
    blank = row(width, [])
    while len(rows) < height:
        rows.extend([blank] * 12)
        letters = [chance.randint(2, 12) for _ in range(width // 12)]
        for _ in range(16):
            letters = [max(1, each + chance.randint(-1, 1)) for each in letters]
            rows.append(row(width, [100, *letters]) if sum(letters) < width - 200 else row(width, letters))
    return FaxPage(width, height, x_dpi, y_dpi, b"".join(rows[:height]))


def photograph(height: int = 400, *, width: int = WIDTH) -> FaxPage:
    """Dots of a dithered photograph: as dense as a page can be."""
    chance = random.Random(2)
    octets = (width + 7) // 8
    shades = list(accumulate(chance.choice((-1, 0, 1)) for _ in range(height)))
    raster = b"".join(bytes(chance.choice((0x55, 0x11, 0xEE, 0xAA)) for _ in range(octets)) for _ in shades)
    return FaxPage(width, height, 204, 98, raster)
