"""Documents to fax: PDFs and pictures, made here and the same each time."""

from __future__ import annotations

import os
from io import BytesIO

import pikepdf
from PIL import Image, ImageDraw

A4 = (595.276, 841.89)  # points
LETTER = (612.0, 792.0)
TEXT = "The quick brown fox jumps over the lazy dog"


def pdf(*drawings: bytes, size: tuple[float, float] = A4, image: Image.Image | None = None) -> bytes:
    """A PDF with a page for each drawing, in PDF's own language; /F1 is Helvetica, /Im the image if any."""
    document = pikepdf.new()
    font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
    resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    if image is not None:
        resources.XObject = pikepdf.Dictionary(Im=_picture(document, image))
    for drawing in drawings:
        page = document.add_blank_page(page_size=size)
        page.Resources = resources
        page.Contents = document.make_stream(drawing)
    written = BytesIO()
    document.save(written)
    return written.getvalue()


def _picture(document: pikepdf.Pdf, image: Image.Image) -> pikepdf.Stream:
    stream = pikepdf.Stream(document, image.tobytes())
    stream.Type, stream.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
    stream.ColorSpace = {"L": pikepdf.Name.DeviceGray, "RGB": pikepdf.Name.DeviceRGB}[image.mode]
    stream.Width, stream.Height, stream.BitsPerComponent = image.width, image.height, 8
    return stream


def scans(count: int, side: int) -> bytes:
    """A PDF of pages with a picture each, none like another, that compress no more: side x side octets each."""
    document = pikepdf.new()
    for _ in range(count):
        page = document.add_blank_page(page_size=A4)
        page.Resources = pikepdf.Dictionary(
            XObject=pikepdf.Dictionary(
                Im=_picture(document, Image.frombytes("L", (side, side), os.urandom(side**2)))
            )
        )
        page.Contents = document.make_stream(PHOTO_PAGE)
    written = BytesIO()
    document.save(written, compress_streams=False)
    return written.getvalue()


def lines_of_text(count: int = 55, text: str = TEXT, points: int = 11) -> bytes:
    """A page of print, for `pdf`."""
    lines = b" T* ".join(b"(%d: %s) Tj" % (number, text.encode()) for number in range(count))
    return b"BT /F1 %d Tf %d TL 60 780 Td " % (points, points + 2) + lines + b" ET"


def photograph(size: tuple[int, int] = (600, 450)) -> Image.Image:
    """Soft tones from black to white, with shapes, as a camera sees them."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    picture = Image.blend(across, Image.radial_gradient("L").resize(size), 0.5)
    ImageDraw.Draw(picture).ellipse((size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2), fill=120)
    return picture


PHOTO_PAGE = b"q 400 0 0 300 90 400 cm /Im Do Q"  # for `pdf` with an image: 5.6 by 4.2 inches
