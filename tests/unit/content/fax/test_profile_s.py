"""Files of profile S and F: their layout octet by octet, their limits, and how little memory they take."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator

import pytest
from tests.fax_pages import written_page

from lanpost.content.fax import tiff
from lanpost.content.fax.bits import encode_mh
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.profile_s import write_profile_f, write_profile_s
from lanpost.content.fax.profile_s_faults import faults
from lanpost.errors import InvalidFax


def test_a_page_is_laid_out_as_rfc_3949_has_it() -> None:
    page = written_page(30, y_dpi=196)
    strip = encode_mh(page)
    strip += bytes(len(strip) % 2)
    entries = [
        (254, 4, 1, 2),
        (256, 4, 1, 1728),
        (257, 4, 1, 30),
        (258, 3, 1, 1),
        (259, 3, 1, 3),
        (262, 3, 1, 0),
        (266, 3, 1, 2),
        (273, 4, 1, 222),
        (277, 3, 1, 1),
        (278, 4, 1, 30),
        (279, 4, 1, len(strip)),
        (282, 5, 1, 206),
        (283, 5, 1, 214),
        (292, 4, 1, 0),
        (296, 3, 1, 2),
        (297, 3, 2, 1 << 16),
    ]
    directory = b"\x10\0" + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    resolutions = struct.pack("<4I", 204, 1, 196, 1)
    assert b"".join(write_profile_s([page], 1)) == b"II*\0\x08\0\0\0" + directory + resolutions + strip


def test_what_we_write_has_no_faults() -> None:
    pages = [written_page(30, seed=number, y_dpi=98 if number % 2 else 196) for number in range(5)]
    assert faults(b"".join(write_profile_s(pages, 5))) == ()


def test_profile_f_is_mmr_and_tells_its_measures() -> None:
    page = written_page(30, width=4864, x_dpi=400, y_dpi=400)
    (directory,) = tiff.directories(b"".join(write_profile_f([page], 1)))
    assert directory.integers(tiff.COMPRESSION) == (4,)
    assert (directory.integers(256), directory.rational(282), directory.rational(283)) == ((4864,), 400, 400)
    assert tiff.T4_OPTIONS not in directory.entries


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (written_page(9, width=2048), "2048 dots wide"),
        (written_page(9, y_dpi=391), "204 x 391"),
        (written_page(9, x_dpi=300, y_dpi=196), "300 x 196"),
    ],
)
def test_a_page_beyond_profile_s_is_refused(page: FaxPage, reason: str) -> None:
    with pytest.raises(InvalidFax, match=f"page 2 is .*{reason}.*profile S cannot hold it"):
        list(write_profile_s([written_page(9), page], 2))


@pytest.mark.parametrize(
    ("width", "dpi"), [(1727, (204, 98)), (2592, (204, 196)), (1728, (300, 300)), (1728, (1, 1))]
)
def test_a_page_beyond_profile_f_is_refused(width: int, dpi: tuple[int, int]) -> None:
    page = written_page(9, width=width, x_dpi=dpi[0], y_dpi=dpi[1])
    with pytest.raises(InvalidFax, match="profile F cannot hold it"):
        list(write_profile_f([page], 1))


@pytest.mark.parametrize(
    ("total", "reason"), [(1, "more pages than the 1"), (3, "has 2 pages, not the 3"), (0, "0 pages")]
)
def test_a_wrong_number_of_pages_is_refused(total: int, reason: str) -> None:
    with pytest.raises(InvalidFax, match=reason):
        list(write_profile_s([written_page(9)] * 2, total))


def test_a_long_fax_is_written_with_one_page_in_memory() -> None:
    def pages() -> Iterator[FaxPage]:
        for _ in range(40):
            yield FaxPage(1728, 2292, 204, 196, bytes(216 * 2291) + b"\x55" * 216)

    next(write_profile_s(pages(), 40))  # Pillow's own tables are no pages
    tracemalloc.start()
    length = sum(len(piece) for piece in write_profile_s(pages(), 40))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length > 40 * 5000
    assert peak < 6 * 216 * 2292
