"""PDFs and pictures on fax pages: at their real size, the right way up, letters crisp, photographs in tones."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pikepdf
import pytest
from PIL import Image, ImageFilter
from tests.fax_documents import A4, LETTER, PHOTO_PAGE, lines_of_text, pdf, photograph, scans

from lanpost.content.fax import tones
from lanpost.content.fax.arrays import np
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.picture import image_of
from lanpost.content.fax.reach import A3 as A3_PAPER
from lanpost.content.fax.reach import A4 as A4_PAPER
from lanpost.content.fax.reach import B4 as B4_PAPER
from lanpost.content.fax.reach import Drawing
from lanpost.content.fax.rendering import image_count, pages_of_image, pages_of_pdf, pdf_page_count
from lanpost.content.fax.tones import THRESHOLD, dithered
from lanpost.errors import InvalidFax


def box(page: FaxPage) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is black."""
    found = image_of(page).convert("L").point(lambda grey: 255 - grey).getbbox()
    assert found, "the page is white"
    return found


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    written = BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


@pytest.mark.parametrize(("fine", "y_dpi"), [(False, 98), (True, 196)])
@pytest.mark.parametrize("size", [A4, LETTER])
def test_an_inch_is_an_inch_on_a4_and_letter(size: tuple[float, float], fine: bool, y_dpi: int) -> None:
    # A square of two inches, one inch from the left and from the top.
    square = f"72 {size[1] - 216:.1f} 144 144 re f".encode()
    (page,) = pages_of_pdf(pdf(square, size=size), fine)
    left, top, right, bottom = box(page)
    margin = (1728 - size[0] / 72 * 204) / 2
    assert (page.width, page.y_dpi) == (1728, y_dpi)
    assert left == pytest.approx(204 + margin, abs=2)
    assert top == pytest.approx(y_dpi, abs=2)
    assert right - left == pytest.approx(408, abs=2)
    assert bottom - top == pytest.approx(2 * y_dpi, abs=2)


def test_a_page_wider_than_high_is_turned_and_a_larger_one_shrunk() -> None:
    bar = b"0 0 1190 100 re f"  # along the lower edge of A3 in landscape
    (page,) = pages_of_pdf(pdf(bar, size=(1190.55, 841.89)), True)
    left, top, right, bottom = box(page)
    assert bottom - top > 2200
    assert right - left == pytest.approx(100 / 72 * 204 * 0.7071, abs=4)


def test_pages_come_one_at_a_time_in_their_order() -> None:
    document = pdf(*(f"{100 * number} 100 50 50 re f".encode() for number in range(1, 6)))
    assert pdf_page_count(document) == 5
    lefts = [box(page)[0] for page in pages_of_pdf(document, False)]
    assert lefts == sorted(lefts)
    assert len(set(lefts)) == 5


def test_print_stays_crisp_and_a_photograph_beside_it_keeps_its_tones() -> None:
    document = pdf(PHOTO_PAGE + b" BT /F1 11 Tf 60 780 Td (crisp letters) Tj ET", image=photograph())
    (page,) = pages_of_pdf(document, True)
    image = image_of(page).convert("L")
    (words_only,) = pages_of_pdf(pdf(b"BT /F1 11 Tf 60 780 Td (crisp letters) Tj ET"), True)
    assert image.crop((0, 0, 1728, 300)) == image_of(words_only).convert("L").crop((0, 0, 1728, 300))
    # In the photograph the share of black dots follows the tones of the picture.
    photo = image.crop((300, 400, 1300, 1150)).reduce(50)
    wanted = photograph().resize((1133, 817)).crop((1133 // 2 - 500, 50, 1133 // 2 + 500, 800)).reduce(50)
    assert photo.histogram() != wanted.histogram()
    assert len(set(photo.tobytes())) > 20


def crisp(greys: bytes | memoryview, width: int) -> bytes:
    """By the threshold alone."""
    return np.packbits(np.frombuffer(greys, np.uint8).reshape(-1, width) < THRESHOLD, axis=1).tobytes()


@pytest.mark.parametrize("points", [5, 6, 8, 11])
def test_print_however_small_is_no_photograph(points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    document = pdf(lines_of_text(points=points))
    pages = [*pages_of_pdf(document, False), *pages_of_pdf(document, True)]
    monkeypatch.setattr(tones, "black_and_white", crisp)
    assert pages == [*pages_of_pdf(document, False), *pages_of_pdf(document, True)]


def test_photographs_are_where_pillow_s_filters_find_them() -> None:
    """Held against the same rules in another's words, on pages of rectangles, specks and a noisy edge."""
    chance = np.random.default_rng(7)
    found = 0
    for height in (40, 300, 1146):
        for _ in range(8):
            greys = np.full((height, 1728), 255, np.uint8)
            for _ in range(12):
                top, left = chance.integers(height), chance.integers(1728)
                down, right = chance.integers(1, 250, 2)
                greys[top : top + down, left : left + right] = chance.choice([0, 20, 128, 230])
            greys[chance.random(greys.shape) < 0.1] = 255
            expected = _by_pillow(Image.fromarray(greys))
            found += expected != crisp(greys.tobytes(), 1728)
            assert tones.black_and_white(greys.tobytes(), 1728) == expected
    assert found > 10


def _by_pillow(image: Image.Image) -> bytes:
    share = image.point([255 if 16 <= grey <= 244 else 0 for grey in range(256)]).reduce(16)
    blocks = share.point([255 if each >= 170 else 0 for each in range(256)])
    region = Image.new("L", blocks.size)
    if blocks.histogram()[255] >= 6:
        region = blocks.filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.MaxFilter(5))
        region = region.filter(ImageFilter.MinFilter(3))
    mask = np.asarray(region).repeat(16, 0)[: image.height].repeat(2, 1)
    greys = np.asarray(image)
    return np.where(mask, dithered(greys), np.packbits(greys < THRESHOLD, axis=1)).tobytes()


def test_a_picture_in_colour_is_drawn_in_its_greys() -> None:
    colours = Image.merge("RGB", [photograph(), photograph().rotate(90, expand=False), Image.new("L", (600, 450))])
    (page,) = pages_of_pdf(pdf(PHOTO_PAGE, image=colours.convert("L")), True)
    (coloured,) = pages_of_pdf(pdf(PHOTO_PAGE, image=colours), True)
    shown, expected = (image_of(each).convert("L").reduce(50) for each in (coloured, page))
    assert max(abs(one - other) for one, other in zip(shown.tobytes(), expected.tobytes(), strict=True)) <= 3
    assert len(set(expected.tobytes())) > 20


def test_a_pdf_of_scans_is_not_kept_in_memory() -> None:
    """pdfium keeps what it has read of a document; a process draws 40 pages of half a megabyte, then 100."""
    code = (
        "import sys; from lanpost.content.fax.rendering import pages_of_pdf\n"
        "for number, page in enumerate(pages_of_pdf(sys.stdin.buffer.read(), False), 1):\n"
        "    if number in (40, 100): print(*(line for line in open('/proc/self/status') if 'VmHWM' in line))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=scans(100, 700), capture_output=True, check=True)
    early, late = (int(line.split()[1]) for line in done.stdout.splitlines() if line)
    assert late - early < 12 * 1024  # KiB; the 60 pages between have 30 MiB


def test_what_a_received_pdf_needs_is_loaded_before_it_takes_memory() -> None:
    """A library that finds no room ends the process, or is taken for one that is not installed."""
    code = (
        "import sys; from lanpost.content.fax import paper, rendering\n"
        "from lanpost.content.fax.mail import Document, Kind\n"
        "assert 'numpy' not in sys.modules\n"
        "rendering.pages_of_pdf = lambda *_, **__: [print('numpy' in sys.modules)]\n"
        "list(paper.sheets([Document(Kind.PDF, 'part 1', b'%PDF-')]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize("tone", [0, 32, 64, 128, 200, 255])
def test_a_grey_becomes_that_share_of_white_dots(tone: int) -> None:
    dots = np.unpackbits(dithered(np.full((320, 640), tone, np.uint8)))
    assert 255 * (1 - dots.mean()) == pytest.approx(tone, abs=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"])
def test_a_picture_fills_the_page_within_its_margins(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"picture.{kind.lower()}"
    file.write_bytes(encoded(Image.new("RGB", (300, 400), "black"), kind))
    (page,) = pages_of_image(file, False)
    left, top, right, bottom = box(page)
    assert (left, right) == (80, 1648)
    assert top == 40
    assert bottom - top == pytest.approx(1568 / 3 * 4 / 2, abs=8)


def test_a_scanned_sheet_keeps_its_size_and_its_dots() -> None:
    sheet = Image.new("1", (1687, 2292), 1)
    sheet.paste(0, (204, 196, 612, 588))
    (page,) = pages_of_image(encoded(sheet, "PNG", dpi=(204, 196)), True)
    left, top, right, bottom = box(page)
    assert (right - left, bottom - top) == (408, 392)
    assert (left, top) == pytest.approx((204 + 20, 196), abs=2)


def test_the_camera_s_orientation_is_heeded() -> None:
    picture = Image.new("L", (300, 400), 255)
    picture.paste(0, (0, 0, 300, 100))  # black above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    (page,) = pages_of_image(encoded(picture, "JPEG", exif=exif), False)
    assert box(page)[1] > 700


def test_what_is_transparent_is_paper_and_sixteen_bits_are_greys() -> None:
    ghost = Image.new("RGBA", (30, 40), (0, 0, 0, 0))
    ghost.paste((0, 0, 0, 255), (10, 10, 20, 20))
    (page,) = pages_of_image(encoded(ghost, "PNG"), False)
    assert box(page)[1] > 200
    deep = Image.new("I;16", (30, 40), 65535)
    (white,) = pages_of_image(encoded(deep, "PNG"), False)
    assert not any(white.raster)


def test_each_page_of_a_tiff_is_one_and_of_an_animation_the_first_frame_alone() -> None:
    frames = [Image.new("L", (30, 40), tone) for tone in (0, 90, 200)]
    tiff = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert image_count(tiff) == len(list(pages_of_image(tiff, False))) == 3
    assert image_count(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == 1


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7 nothing", b"\x89PNG\r\n\x1a\n broken"])
def test_what_cannot_be_read_is_said_so(data: bytes) -> None:
    with pytest.raises(InvalidFax):
        list(pages_of_pdf(data, False))
    with pytest.raises(InvalidFax):
        list(pages_of_image(data, False))


def test_a_picture_cut_off_half_way_is_refused() -> None:
    with pytest.raises(InvalidFax, match="cannot be read"):
        list(pages_of_image(encoded(photograph(), "PNG")[:4000], False))


def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(InvalidFax):
        list(pages_of_image(bomb, False))


A3_SIZE = (841.89, 1190.55)
WIDE = Drawing((A4_PAPER, B4_PAPER, A3_PAPER))


def test_pages_of_several_sizes_are_each_drawn_on_the_smallest_paper_that_holds_them() -> None:
    ink = b"0 0 m 20 20 l 4 w S"
    sizes = [A4, (728.5, 1031.8), A3_SIZE, (1190.55, 841.89), LETTER, (2000.0, 3000.0)]
    document = BytesIO()
    with pikepdf.new() as made:
        for size in sizes:
            with pikepdf.open(BytesIO(pdf(ink, size=size))) as one:
                made.pages.extend(one.pages)
        made.save(document)
    pages = list(pages_of_pdf(document.getvalue(), True, WIDE))
    assert [(page.width, page.height) for page in pages] == [
        *((1728, 2292), (2048, 2804), (2432, 3234), (2432, 3234), (1728, 2292), (2432, 3234))
    ]
    assert all(any(page.raster) for page in pages)


def test_a_page_of_a3_keeps_its_size_on_a3() -> None:
    square = b"200 200 200 200 re f"  # 200 points a side
    (page,) = pages_of_pdf(pdf(square, size=A3_SIZE), False, WIDE)
    left, top, right, bottom = box(page)
    assert (right - left, bottom - top) == pytest.approx((200 * 204 / 72, 200 * 98 / 72), abs=2)


def test_superfine_pages_have_twice_the_rows_of_fine_ones() -> None:
    fine, superfine = (
        next(pages_of_pdf(pdf(lines_of_text()), True, Drawing((A4_PAPER,), superfine=each)))
        for each in (False, True)
    )
    assert (superfine.y_dpi, superfine.height, superfine.width) == (391, 2 * fine.height, fine.width)
    assert sum(map(int.bit_count, superfine.raster)) == pytest.approx(
        2 * sum(map(int.bit_count, fine.raster)), rel=0.1
    )


def test_a_scanned_sheet_of_a3_keeps_its_size_too() -> None:
    sheet = Image.new("L", (1654, 2339), 255)  # A3 at 141 dots an inch
    (page,) = pages_of_image(encoded(sheet, "PNG", dpi=(141.4, 141.4)), False, WIDE)
    assert page.width == 2432
