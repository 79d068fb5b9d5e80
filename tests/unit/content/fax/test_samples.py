"""Samples of other projects: each is read dot by dot as libtiff reads it, or refused with a reason.

tests/samples/fax/README.md tells what they are.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageOps

from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.reading import read_pages, read_sheets
from lanpost.errors import InvalidFax

SAMPLES = Path(__file__).parents[3] / "samples" / "fax"
REFUSED = {
    "libtiff/test_ifd_loop_subifd.tif": "in a circle",
    "libtiff/test_ifd_loop_to_first.tif": "in a circle",
    "libtiff/test_ifd_loop_to_self.tif": "in a circle",
    "pillow/multipage_multiple_frame_loop.tiff": "in a circle",
    "pillow/multipage_single_frame_loop.tiff": "in a circle",
    "pillow/oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": "ends within its directory",
    "pillow/seek_too_large.tif": "not a TIFF",
}
READ = sorted(
    str(file.relative_to(SAMPLES))
    for file in SAMPLES.glob("*/*.tif*")
    if str(file.relative_to(SAMPLES)) not in REFUSED
)


def by_libtiff(file: Path) -> list[tuple[int, int, bytes]]:
    """The pages as libtiff alone reads them, as a reader holds them; black is 1."""
    pages = []
    with Image.open(file) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            grey = ImageOps.exif_transpose(image).convert("L")
            dots = grey.point([255] * 128 + [0] * 128, "1")
            pages.append((dots.width, dots.height, dots.tobytes()))
    return pages


def as_tuple(page: FaxPage) -> tuple[int, int, bytes]:
    return page.width, page.height, page.raster


@pytest.mark.parametrize("name", READ)
def test_a_sample_is_read_as_libtiff_reads_it(name: str) -> None:
    sheets = list(read_sheets((SAMPLES / name).read_bytes()))
    assert [as_tuple(sheet.page) for sheet in sheets] == by_libtiff(SAMPLES / name)
    assert [sheet.damaged_lines for sheet in sheets] == [0] * len(sheets)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_sample_that_is_no_fax_is_refused(name: str, reason: str) -> None:
    with pytest.raises(InvalidFax, match=reason):
        list(read_pages((SAMPLES / name).read_bytes()))


@pytest.mark.parametrize("share", [10, 50, 90])
def test_a_sample_that_is_cut_off_is_refused(share: int) -> None:
    data = (SAMPLES / "pillow" / "total-pages-zero.tif").read_bytes()
    with pytest.raises(InvalidFax):
        list(read_pages(data[: len(data) * share // 100]))


@pytest.mark.parametrize("at", range(3000, 30_000, 3000))
def test_a_damaged_sample_tells_its_damaged_lines_and_keeps_the_others(at: int) -> None:
    data = (SAMPLES / "pillow" / "total-pages-zero.tif").read_bytes()
    whole = list(read_pages(data))
    damaged = data[:at] + bytes(octet ^ 0x55 for octet in data[at : at + 3]) + data[at + 3 :]
    first, *others = read_sheets(damaged)
    assert 1 <= first.damaged_lines <= 6
    assert [sheet.page for sheet in others] == whole[1:]
