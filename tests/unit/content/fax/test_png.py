"""The picture of a page."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.png import png_of


@pytest.mark.parametrize(("y_dpi", "repeats"), [(98, 2), (100, 2), (196, 1), (391, 1)])
def test_dots_are_square_and_black_is_black(y_dpi: int, repeats: int) -> None:
    page = FaxPage(12, 2, 204, y_dpi, bytes([0b1000_0000, 0, 0, 0b0001_0000]))
    with Image.open(io.BytesIO(png_of(page))) as picture:
        assert (picture.mode, picture.size) == ("1", (12, 2 * repeats))
        black = {(x, y) for x in range(12) for y in range(2 * repeats) if not picture.getpixel((x, y))}
    assert black == {(0, y) for y in range(repeats)} | {(11, repeats + y) for y in range(repeats)}
