"""A PDF of fax pages: each page's bits as MMR, without loss, at the size that it was scanned at."""

from __future__ import annotations

from pathlib import Path

import pikepdf

from lanpost.content.fax.bits import Coding, encode
from lanpost.content.fax.page import FaxPage

POINTS = 72  # an inch


class PdfPages:
    """Add the pages, then `save`. Holds their compressed bits, not the pages."""

    def __init__(self) -> None:
        self._pdf = pikepdf.new()

    def add(self, page: FaxPage) -> None:
        width, height = page.width * POINTS / page.x_dpi, page.height * POINTS / page.y_dpi
        image = pikepdf.Stream(self._pdf, encode(page, Coding.MMR))
        image.stream_dict = pikepdf.Dictionary(
            Type=pikepdf.Name.XObject,
            Subtype=pikepdf.Name.Image,
            Width=page.width,
            Height=page.height,
            ColorSpace=pikepdf.Name.DeviceGray,
            BitsPerComponent=1,
            Filter=pikepdf.Name.CCITTFaxDecode,
            DecodeParms=pikepdf.Dictionary(K=-1, Columns=page.width, Rows=page.height),
        )
        drawing = f"q {width:.3f} 0 0 {height:.3f} 0 0 cm /Page Do Q".encode("ascii")
        made = pikepdf.Dictionary(
            Type=pikepdf.Name.Page,
            MediaBox=[0, 0, round(width, 3), round(height, 3)],
            Contents=self._pdf.make_stream(drawing),
            Resources=pikepdf.Dictionary(XObject=pikepdf.Dictionary(Page=image)),
        )
        self._pdf.pages.append(pikepdf.Page(self._pdf.make_indirect(made)))

    def save(self, file: Path) -> None:
        """Write it, anew."""
        self._pdf.save(file, static_id=True)
