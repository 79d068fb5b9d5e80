"""A PDF of fax pages, without loss, at the size that they were scanned at: around a page's bits as they came where
these are whole, else around the page's dots as MMR.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pikepdf

from lanpost.content.fax.bits import Coding, encode
from lanpost.content.fax.reading import Sheet

POINTS = 72  # an inch


class PdfPages:
    """Add the pages, then `save`. Holds their compressed bits, not the pages."""

    def __init__(self) -> None:
        self._pdf = pikepdf.new()

    def add(self, sheet: Sheet) -> None:
        page = sheet.page
        width, height = page.width * POINTS / page.x_dpi, page.height * POINTS / page.y_dpi
        data, parameters = _coded(sheet)
        image = pikepdf.Stream(self._pdf, data)
        image.stream_dict = pikepdf.Dictionary(
            Type=pikepdf.Name.XObject,
            Subtype=pikepdf.Name.Image,
            Width=page.width,
            Height=page.height,
            ColorSpace=pikepdf.Name.DeviceGray,
            BitsPerComponent=1,
            Filter=pikepdf.Name.CCITTFaxDecode,
            DecodeParms=pikepdf.Dictionary(Columns=page.width, Rows=page.height, **parameters),
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


def _coded(sheet: Sheet) -> tuple[bytes, dict[str, Any]]:
    """The page's bits, and how they are coded (ISO 32000-1 §7.4.6, table 11)."""
    if sheet.strip is None:
        return encode(sheet.page, Coding.MMR), {"K": -1}
    bits = sheet.strip.bits
    # EncodedByteAlign stays false for MH and MR: zeros before an EOL are fill to every reader, and what "aligned"
    # means where there are EOLs, too, is a matter of opinion. The rows are counted, as RTC and EOFB may be missing.
    return bits.data, {
        "K": {Coding.MR: 4, Coding.MMR: -1}.get(bits.coding, 0),
        "EndOfLine": bits.coding in (Coding.MH, Coding.MR),
        "EncodedByteAlign": bits.coding is Coding.UNMARKED,
        "EndOfBlock": False,
        "BlackIs1": sheet.strip.is_inverse,
    }
