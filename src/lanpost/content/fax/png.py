"""A fax page as a PNG for people: black and white, in the page's proportions."""

from __future__ import annotations

import io

from PIL import Image, ImageChops

from lanpost.content.fax.page import FaxPage


def png_of(page: FaxPage) -> bytes:
    """Rows are repeated where the page was scanned with fewer of them than columns: viewers show square dots."""
    image = ImageChops.invert(Image.frombytes("1", (page.width, page.height), page.raster))
    repeats = max(1, round(page.x_dpi / page.y_dpi))
    if repeats > 1:
        image = image.resize((page.width, page.height * repeats), Image.Resampling.NEAREST)
    made = io.BytesIO()
    image.save(made, "PNG", dpi=(page.x_dpi, page.y_dpi * repeats))
    return made.getvalue()
