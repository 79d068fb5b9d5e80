"""Fax pages as Pillow's images, and back. An image here is mode "1", black on white."""

from __future__ import annotations

from PIL import Image

from lanpost.content.fax.page import FINE, STANDARD, WIDTH, X_DPI, FaxPage

HEIGHTS = {STANDARD: 1146, FINE: 2292}  # rows of A4, by the resolution down the page


def resolution(*, fine: bool) -> int:
    """Dots an inch, down the page."""
    return FINE if fine else STANDARD


def page_of(image: Image.Image, y_dpi: int) -> FaxPage:
    """A fax page of an image as wide as the page."""
    return FaxPage(image.width, image.height, X_DPI, y_dpi, image.convert("1").tobytes("raw", "1;I"))


def image_of(page: FaxPage) -> Image.Image:
    """The page, dot by dot, whatever its resolution."""
    return Image.frombytes("1", (page.width, page.height), page.raster, "raw", "1;I")


def blank(y_dpi: int) -> Image.Image:
    """White paper of A4, in greys, to draw on."""
    return Image.new("L", (WIDTH, HEIGHTS[y_dpi]), 255)
