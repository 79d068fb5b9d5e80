"""TIFF's structure, hostile as it may be: InvalidFax at once, whatever it claims."""

from __future__ import annotations

import struct
import time
import tracemalloc

import pytest
from tests import fax_encoder
from tests.fax_files import fax_tags, rows_of, tiff_file
from tests.fax_pages import written_page

from lanpost.content.fax import reading, tiff
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.reading import read_pages
from lanpost.errors import InvalidFax

HEADER = b"II*\0\x08\0\0\0"


def directory(entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def refused(data: bytes) -> str:
    """Why, found in little time and memory."""
    tracemalloc.start()
    begun = time.process_time()
    with pytest.raises(InvalidFax) as caught:
        list(read_pages(data))
    assert time.process_time() - begun < 5
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a TIFF"),
        (b"%PDF-1.7", "not a TIFF"),
        (b"II+\0\x08\0\0\0", "not a TIFF"),
        (b"II*\0", "cut off"),
        (b"II*\0\0\0\0\0", "no page"),
        (b"II*\0\xff\xff\xff\xff", "before its directory"),
        (HEADER + b"\0\0", "0 entries"),
        (HEADER + b"\xff\xff" + bytes(900_000), "65535 entries"),
        (HEADER + b"\5\0" + bytes(20), "within its directory"),
        (HEADER + directory([(256, 3, 1, 1728), (256, 3, 1, 1)], 0), "a tag twice"),
        (HEADER + directory([(256, 3, 1 << 31, 8)], 0), "tag 256"),
        (HEADER + directory([(256, 3, 0, 8)], 0), "width"),
        (HEADER + directory([(256, 99, 1, 8)], 0), "type 99"),
        (HEADER + directory([(256, 5, 1, 0xFFFFFFF0)], 0), "type 5"),
    ],
)
def test_what_is_no_tiff_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    assert reason in refused(data)


def test_directories_in_a_circle_are_refused() -> None:
    entries = [(256, 3, 1, 8), (257, 3, 1, 1), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0), (279, 4, 1, 1)]
    size = len(directory(entries, 0))
    assert "circle" in refused(HEADER + directory(entries, 8))
    assert "circle" in refused(HEADER + directory(entries, 8 + size) + directory(entries, 8))
    overlapping = bytearray(HEADER + directory(entries, 8 + 12) + bytes(900))
    overlapping[20:22] = b"\1\0"
    assert "overlap" in refused(bytes(overlapping))


def test_more_pages_than_paper_are_refused() -> None:
    thumbnail = [(254, 4, 1, 1)]
    size = len(directory(thumbnail, 0))
    chain = b"".join(directory(thumbnail, 8 + size * (number + 1)) for number in range(3000))
    assert f"more than {tiff.MAX_DIRECTORIES}" in refused(HEADER + chain)


def test_a_page_of_absurd_measures_is_refused_before_it_is_decoded() -> None:
    for width, height in ((0xFFFFFFFF, 1), (4864, 20_000), (60_000, 60_000), (1, 0xFFFFFFFF)):
        page = written_page(4)
        tags = fax_tags(page, 4, {256: tiff.longs(width), 257: tiff.longs(height)})
        assert "too large" in refused(tiff_file((tags, [b"\xff" * 100])))


def test_a_long_page_of_few_octets_is_read() -> None:
    page = FaxPage(1728, 20_000, 204, 98, bytes(216 * 20_000))
    blank = b"\xff" * 2500  # 20,000 lines like the one above
    assert list(read_pages(tiff_file((fax_tags(page, 4), [blank])))) == [page]


def test_one_strip_for_many_pages_is_refused_before_all_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_DOCUMENT_DOTS", 100 * 1728 * 1000)
    page = FaxPage(1728, 1000, 204, 98, bytes(216 * 1000))
    blank = b"\xff" * 125
    pages = read_pages(tiff_file(*[(fax_tags(page, 4), [blank])] * 101))
    assert [next(pages) for _ in range(100)] == [page] * 100
    with pytest.raises(InvalidFax, match="page 101 of the fax is too large"):
        next(pages)


def test_strips_that_overlap_are_refused() -> None:
    page = written_page(48)
    tags = fax_tags(
        page, 4, {278: tiff.shorts(1), 273: tiff.longs(*[8] * 40_000), 279: tiff.longs(*[100_000] * 40_000)}
    )
    assert "overlap" in refused(tiff_file((tags, [fax_encoder.mmr(rows_of(page))])))


def test_tags_that_nobody_needs_may_lead_nowhere() -> None:
    page = written_page(10)
    tags = fax_tags(page, 4, {305: tiff.Value(tiff.ASCII, 1 << 30, b"abcd"), 700: tiff.Value(99, 7, b"????")})
    assert list(read_pages(tiff_file((tags, [fax_encoder.mmr(rows_of(page))])))) == [page]


def test_a_pictures_bomb_is_refused() -> None:
    tags = fax_tags(written_page(4), 8, {256: tiff.longs(30_000), 257: tiff.longs(30_000), 258: tiff.shorts(8)})
    assert "too large" in refused(tiff_file((tags, [b"x\x9c" + bytes(1000)])))
