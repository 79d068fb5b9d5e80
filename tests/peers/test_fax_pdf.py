"""The PDF of a received fax, as poppler reads it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from PIL import Image
from tests import fax_encoder
from tests.fax_files import fax_tags, rows_of, tiff_file
from tests.fax_pages import written_page
from tests.fax_receiving import mail_of, page_of, receiving, tiff_of

from lanpost.content.fax import tiff
from lanpost.content.fax.bits import REVERSED
from lanpost.content.fax.pdf import PdfPages
from lanpost.content.fax.reading import read_sheets
from lanpost.content.fax.tiff import longs, shorts

pytestmark = pytest.mark.peer


def poppler(program: str, *arguments: str | Path) -> str:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


async def test_poppler_finds_the_dots_that_were_sent_at_their_size(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        assert (await machine.take(mail_of(tiff_of(2))))[0] == 250
        folder, _ = machine.fax()
    listed = poppler("pdfimages", "-list", folder / "fax.pdf").splitlines()[2:]
    assert [line.split()[2:9] for line in listed] == [["image", "1728", "300", "gray", "1", "1", "ccitt"]] * 2
    assert [line.split()[12:14] for line in listed] == [["204", "196"]] * 2
    poppler("pdfimages", "-png", folder / "fax.pdf", tmp_path / "dots")
    for number in range(2):
        with Image.open(tmp_path / f"dots-00{number}.png") as dots:
            assert bytes(255 - octet for octet in dots.convert("1").tobytes()) == page_of(number).raster


PAGE = written_page(98)
ROWS = rows_of(PAGE)
RTC, RTC_MR = 6 * fax_encoder.EOL, 6 * (fax_encoder.EOL + "1")
UNMARKED = b"".join(fax_encoder.octets(fax_encoder.line(row)) for row in ROWS)
CODED: dict[str, tuple[int, int, bytes]] = {  # compression, T4Options, the bits
    "MH": (3, 0, fax_encoder.mh(ROWS)),
    "MH with RTC": (3, 0, fax_encoder.mh(ROWS) + fax_encoder.octets(RTC)),
    "MH aligned": (3, 4, fax_encoder.mh(ROWS, aligned=True)),
    "MH aligned with RTC": (3, 4, fax_encoder.mh(ROWS, aligned=True) + fax_encoder.octets(RTC)),
    "MR": (3, 1, fax_encoder.mr(ROWS, 2)),
    "MR with RTC": (3, 1, fax_encoder.mr(ROWS, 2) + fax_encoder.octets(RTC_MR)),
    "MR aligned": (3, 5, fax_encoder.mr(ROWS, 2, aligned=True)),
    "MMR": (4, 0, fax_encoder.mmr(ROWS)),
    "MMR without EOFB": (4, 0, fax_encoder.mmr(ROWS).rstrip(b"\0")[:-3]),
    "MH without EOL": (2, 0, UNMARKED),
}
K = {"MR": 4, "MMR": -1}


def coded(fill_order: int, *, is_inverse: bool = False) -> dict[str, bytes]:
    """A TIFF for each coding."""
    files = {}
    for name, (compression, options, bits) in CODED.items():
        tags = {tiff.FILL_ORDER: shorts(fill_order), tiff.PHOTOMETRIC: shorts(int(is_inverse))}
        if compression == 3:
            tags[tiff.T4_OPTIONS] = longs(options)
        octets = bits.translate(REVERSED) if fill_order == 2 else bits
        files[name] = tiff_file((fax_tags(PAGE, compression, tags), [octets]))
    return files


def pdf_of(files: Iterable[bytes], folder: Path) -> Path:
    """All their pages in one PDF."""
    pages = PdfPages()
    for file in files:
        for sheet in read_sheets(file):
            pages.add(sheet)
    pages.save(folder / "pages.pdf")
    return folder / "pages.pdf"


def black(images: Iterable[Path]) -> list[bytes]:
    """Rows as FaxPage.raster has them, of black-and-white pictures."""
    found = []
    for file in images:
        with Image.open(file) as dots:
            assert dots.size == (PAGE.width, PAGE.height)
            found.append(dots.convert("1").tobytes("raw", "1;I"))
    return found


def by_poppler(pdf: Path, folder: Path) -> list[bytes]:
    poppler("pdfimages", "-png", pdf, folder / "poppler")  # the dots themselves; pdftoppm would scale them
    return black(sorted(folder.glob("poppler*")))


def by_ghostscript(pdf: Path, folder: Path) -> list[bytes]:
    words = ("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pbmraw", "-r204x98")
    assert poppler("gs", *words, f"-sOutputFile={folder}/ghostscript%03d", pdf) == ""
    return black(sorted(folder.glob("ghostscript*")))


def by_pdfium(pdf: Path, folder: Path) -> list[bytes]:
    with closing(pypdfium2.PdfDocument(pdf)) as document:
        for number, page in enumerate(document):
            (image,) = page.get_objects()
            image.get_bitmap().to_pil().save(folder / f"pdfium{number:03}.png")
    return black(sorted(folder.glob("pdfium*")))


@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("is_inverse", [False, True])
def test_bits_are_in_the_pdf_as_they_came_and_every_reader_finds_their_dots(
    tmp_path: Path, fill_order: int, is_inverse: bool
) -> None:
    files = coded(fill_order, is_inverse=is_inverse)
    made = pdf_of(files.values(), tmp_path)
    with pikepdf.open(made) as opened:
        for page, (name, (_, _, bits)) in zip(opened.pages, CODED.items(), strict=True):
            image = page.obj.Resources.XObject.Page
            assert image.read_raw_bytes() == bits
            assert K.get(name.split()[0], 0) == image.DecodeParms.K
    white_for_black = bytes(255 - octet for octet in PAGE.raster)
    expected = white_for_black if is_inverse else PAGE.raster
    for read in (by_poppler, by_ghostscript, by_pdfium):
        found = zip(files, read(made, tmp_path), strict=True)
        assert [name for name, raster in found if raster != expected] == [], read.__name__


def test_tiff2pdf_makes_the_same_dots_of_the_tiff(tmp_path: Path) -> None:
    for number, file in enumerate(coded(2).values()):
        (tmp_path / "fax.tif").write_bytes(file)
        poppler("tiff2pdf", "-o", tmp_path / "fax.pdf", tmp_path / "fax.tif")
        (tmp_path / str(number)).mkdir()
        assert by_poppler(tmp_path / "fax.pdf", tmp_path / str(number)) == [PAGE.raster], list(CODED)[number]


def test_what_is_odd_is_coded_anew(tmp_path: Path) -> None:
    words = [fax_encoder.line(row) for row in ROWS]
    filled = fax_encoder.octets("".join(9 * "0" + fax_encoder.EOL + each for each in words))
    words[7] = "1" * 30
    damaged = fax_encoder.octets("".join(fax_encoder.EOL + each for each in words))
    strips = [fax_encoder.mmr(ROWS[:50]), fax_encoder.mmr(ROWS[50:])]
    upside_down = fax_tags(PAGE, 4, {tiff.ORIENTATION: shorts(3)})
    files = [
        tiff_file((fax_tags(PAGE, 3), [filled])),
        tiff_file((fax_tags(PAGE, 3), [damaged])),
        tiff_file((fax_tags(PAGE, 4, {tiff.ROWS_PER_STRIP: shorts(50)}), strips)),
        tiff_file((upside_down, [fax_encoder.mmr(ROWS)])),
    ]
    made = pdf_of(files, tmp_path)
    with pikepdf.open(made) as opened:
        assert [page.obj.Resources.XObject.Page.DecodeParms.K for page in opened.pages] == [-1] * 4
    assert by_poppler(made, tmp_path) == [sheet.page.raster for file in files for sheet in read_sheets(file)]
