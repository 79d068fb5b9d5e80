"""PDFs and pictures as fax pages, one at a time: never more than one page is in memory.

Raises InvalidFax for what cannot be read as what it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path

import pypdfium2
from PIL import Image, ImageOps
from pypdfium2 import raw as pdfium

from lanpost.content.fax.ahead import ahead
from lanpost.content.fax.page import FINE, WIDTH, X_DPI, FaxPage
from lanpost.content.fax.reach import A4, AS_PROFILE_S, Drawing, Paper
from lanpost.errors import InvalidFax

MAX_PAGES = 2000
TOGETHER = 25  # pages drawn before the PDF is opened anew: pdfium keeps what it has read, each page's scan too
MAX_PIXELS = 120_000_000  # of one picture
MARGIN = 80  # dots around a picture that is no page itself; 10 mm
POINTS = 72  # an inch
OVERFLOW = 1.03  # Letter is 0.4 % wider than the page, and has no print there
SHEETS = (8.27, 11.69), (8.5, 11.0), (10.12, 14.33), (11.69, 16.54)  # inches: A4, Letter, B4, A3
SCAN = 0.05  # a picture whose measures are a sheet's by so much is a scanned page

Source = bytes | Path


def pages_of_pdf(source: Source, fine: bool, drawing: Drawing = AS_PROFILE_S) -> Iterator[FaxPage]:
    """Each page by its real size, shrunk where it is larger than all papers, turned where it is wider than high."""
    y_dpi = drawing.y_dpi(fine=fine)
    return ahead(partial(_fax_page, y_dpi=y_dpi), _drawn(source, drawing.papers, y_dpi))


def _drawn(source: Source, papers: Sequence[Paper], y_dpi: int) -> Iterator[pypdfium2.PdfBitmap]:
    """The greys of each page; they are gone when the one after the next is asked for."""
    bitmaps: dict[tuple[int, Paper], pypdfium2.PdfBitmap] = {}
    begin, total = 0, 1
    while begin < total:
        with closing(_opened(source)) as document:
            total = len(document)
            for number in range(begin, min(begin + TOGETHER, total)):
                try:
                    with closing(document[number]) as page:
                        paper = _paper_for(papers, *sorted(each / POINTS for each in page.get_size()))
                        which = number % 2, paper
                        if which not in bitmaps:
                            size = paper.width, paper.height(y_dpi)
                            bitmaps[which] = pypdfium2.PdfBitmap.new_native(*size, pdfium.FPDFBitmap_Gray)
                        bitmap = bitmaps[which]
                        _draw(page, bitmap, paper, y_dpi)
                except pypdfium2.PdfiumError as error:
                    raise InvalidFax(f"page {number + 1} of the PDF cannot be drawn: {error}") from None
                yield bitmap
        begin += TOGETHER


def _fax_page(greys: pypdfium2.PdfBitmap | Image.Image, y_dpi: int) -> FaxPage:
    from lanpost.content.fax import tones  # loads numpy, while pdfium draws the second page

    octets = greys.tobytes() if isinstance(greys, Image.Image) else memoryview(greys.buffer)
    return FaxPage(greys.width, greys.height, X_DPI, y_dpi, tones.black_and_white(octets, greys.width))


def _paper_for(papers: Sequence[Paper], width: float, height: float) -> Paper:
    """The smallest that a sheet of so many inches fits on; else the largest."""
    for paper in papers:
        wide, high = paper.inches()
        if width <= wide * OVERFLOW and height <= high * OVERFLOW:
            return paper
    return papers[-1]


def pdf_page_count(source: Source) -> int:
    with closing(_opened(source)) as document:
        return len(document)


def _opened(source: Source) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(source)
        document.init_forms()
    except pypdfium2.PdfiumError as error:
        raise InvalidFax(f"the PDF cannot be read ({error}); is it damaged, or locked by a password?") from None
    if not 1 <= len(document) <= MAX_PAGES:
        count = len(document)
        document.close()
        raise InvalidFax(f"the PDF has {count} pages; a fax has 1 to {MAX_PAGES}")
    return document


def _draw(page: pypdfium2.PdfPage, bitmap: pypdfium2.PdfBitmap, paper: Paper, y_dpi: int) -> None:
    width, height = page.get_size()
    turned = width > height
    if turned:
        width, height = height, width
    x, y, wide, high = _placed(width / POINTS, height / POINTS, paper, y_dpi)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, bitmap.width, bitmap.height)
    place = (x, y, wide, high, 1 if turned else 0)
    flags = pdfium.FPDF_ANNOT | pdfium.FPDF_PRINTING
    pdfium.FPDF_RenderPageBitmap(bitmap.raw, page.raw, *place, flags)
    if page.formenv:
        pdfium.FPDF_FFLDraw(page.formenv.raw, bitmap.raw, page.raw, *place, flags)


def _placed(width: float, height: float, paper: Paper, y_dpi: int) -> tuple[int, int, int, int]:
    """Where a sheet of so many inches comes to stand, in dots: left, top, width, height."""
    if width <= 0 or height <= 0:
        raise InvalidFax("a page without a size")
    room = paper.inches()
    shrunk = min(room[0] / width, room[1] / height, 1.0)
    if shrunk * OVERFLOW >= 1:
        shrunk = 1.0  # what runs over is its margin
    wide, high = max(1, round(width * shrunk * X_DPI)), max(1, round(height * shrunk * y_dpi))
    top = min(0, (paper.height(y_dpi) - high) // 2)
    return (paper.width - wide) // 2, top, wide, high


def pages_of_image(source: Source, fine: bool, drawing: Drawing = AS_PROFILE_S) -> Iterator[FaxPage]:
    """PNG, JPEG, TIFF, ...: each of its frames a page.

    A scanned sheet, told by its resolution, keeps its size; any other picture is made as large as the page has room
    for. Turned as its EXIF orientation says, and where it is wider than high.
    """
    y_dpi = drawing.y_dpi(fine=fine)
    with _picture(source) as picture:
        for number in range(_frames(picture)):
            try:
                picture.seek(number)
                if picture.format == "JPEG":
                    picture.draft("L", (drawing.papers[-1].width, drawing.papers[-1].height(max(y_dpi, FINE))))
                turned = ImageOps.exif_transpose(picture) or picture
                page = _sheet(turned, picture.info.get("dpi"), drawing.papers, y_dpi)
            except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
                raise InvalidFax(f"picture {number + 1} cannot be read: {error}") from None
            yield _fax_page(page, y_dpi)


def image_count(source: Source) -> int:
    with _picture(source) as picture:
        return _frames(picture)


def _frames(picture: Image.Image) -> int:
    """Of a document of several pages; of something that moves, the first alone."""
    count = int(getattr(picture, "n_frames", 1)) if picture.format in ("TIFF", "PDF") else 1
    if count > MAX_PAGES:
        raise InvalidFax(f"the picture has {count} pages; a fax has 1 to {MAX_PAGES}")
    return count


def _picture(source: Source) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(BytesIO(source) if isinstance(source, bytes) else source)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidFax(f"the picture cannot be read: {error}") from None
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width} x {picture.height}"
        picture.close()
        raise InvalidFax(
            f"a picture of {size} dots is too large; make it smaller than {MAX_PIXELS // 10**6} megapixels"
        )
    return picture


def _sheet(
    picture: Image.Image, dpi: tuple[float, float] | None, papers: Sequence[Paper], y_dpi: int
) -> Image.Image:
    grey = _grey(picture)
    if grey.width > grey.height:
        grey = grey.transpose(Image.Transpose.ROTATE_90)
        dpi = (dpi[1], dpi[0]) if dpi else None
    inches = _scanned(grey, dpi)
    paper = _paper_for(papers, *inches) if inches else A4
    sheet = Image.new("L", (paper.width, paper.height(y_dpi)), 255)
    if inches:
        x, y, wide, high = _placed(*inches, paper, y_dpi)
    else:
        room = WIDTH - 2 * MARGIN, A4.height(FINE) - 2 * MARGIN
        scale = min(room[0] / grey.width, room[1] / grey.height)
        wide, high = max(1, round(grey.width * scale)), max(1, round(grey.height * scale * y_dpi / FINE))
        x, y = (WIDTH - wide) // 2, MARGIN * y_dpi // FINE
    # A picture of black and white stays crisp where it needs no other size.
    resized = (
        grey if grey.size == (wide, high) else grey.resize((wide, high), Image.Resampling.BICUBIC, reducing_gap=2)
    )
    sheet.paste(resized, (x, y))
    return sheet


def _grey(picture: Image.Image) -> Image.Image:
    """Mode "L", on white paper where it is transparent."""
    if picture.mode.startswith("I;16"):
        picture = picture.convert("I")
    if picture.mode == "I":
        return picture.point(lambda value: value * (1 / 256) + 0).convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture).convert("L")
    return picture.convert("L")


def _scanned(picture: Image.Image, dpi: tuple[float, float] | None) -> tuple[float, float] | None:
    """Its inches, where they are those of a sheet of paper."""
    if not dpi or not (dpi[0] > 0 and dpi[1] > 0):
        return None
    inches = picture.width / float(dpi[0]), picture.height / float(dpi[1])
    for sheet in SHEETS:
        if all(abs(one / other - 1) < SCAN for one, other in zip(inches, sheet, strict=True)):
            return inches
    return None
