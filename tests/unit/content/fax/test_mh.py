"""Our own MH encoder: bit for bit what libtiff writes, and what T.4 says by the book."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import fax_encoder
from tests.fax_pages import pages, photograph, row, written_page

from lanpost.content.fax import mh
from lanpost.content.fax.bits import REVERSED, Coding, encode, encode_mh
from lanpost.content.fax.page import WIDTH, FaxPage


def coded(page: FaxPage) -> bytes:
    """Most significant bit first."""
    assert mh.can_encode(page.width)
    return mh.encode(page.raster, page.width, page.height).translate(REVERSED)


def by_the_book(page: FaxPage) -> bytes:
    return fax_encoder.mh(fax_encoder.rows_of(page.raster, page.width))


@settings(max_examples=150)
@given(page=pages(st.sampled_from([8, 64, 1728, 2560])))
def test_lines_of_any_runs(page: FaxPage) -> None:
    assert coded(page) == by_the_book(page)


@settings(max_examples=100)
@given(octets=st.binary(min_size=216, max_size=216 * 4))
def test_any_dots(octets: bytes) -> None:
    height = len(octets) // 216
    page = FaxPage(WIDTH, height, 204, 98, octets[: 216 * height])
    assert coded(page) == by_the_book(page)


def test_every_run_of_either_colour() -> None:
    width = 2616  # the widest that is taken
    rows = [row(width, runs) for dots in range(width + 1) for runs in ([dots], [0, dots])]
    page = FaxPage(width, len(rows), 204, 98, b"".join(rows))
    assert coded(page) == encode(page, Coding.MH)


@pytest.mark.parametrize("octet", [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80])
def test_a_page_of_the_same_octet(octet: int) -> None:
    page = FaxPage(WIDTH, 300, 204, 98, bytes([octet]) * 216 * 300)
    assert coded(page) == encode(page, Coding.MH)


@pytest.mark.parametrize("page", [written_page(2292), photograph(2292)], ids=["text", "photograph"])
def test_whole_pages_are_as_libtiff_writes_them(page: FaxPage) -> None:
    assert page.height > 4 * mh.BAND
    assert coded(page) == encode(page, Coding.MH)


@pytest.mark.parametrize("width", [1, 100, 1727, 2624, 4864])
def test_widths_that_it_does_not_take_are_libtiff_s(width: int) -> None:
    assert not mh.can_encode(width)
    page = FaxPage(width, 2, 204, 98, row(width, [width // 2]) * 2)
    assert encode_mh(page).translate(REVERSED) == by_the_book(page)
