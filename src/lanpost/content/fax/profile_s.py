"""TIFF files of profile S, exactly (RFC 3949 §3), and of profile F (§4), page by page.

One page is in memory at a time: whoever writes the pieces away holds no more, however long the fax is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lanpost.content.fax import tiff
from lanpost.content.fax.ahead import ahead
from lanpost.content.fax.bits import encode_mh, encode_mmr
from lanpost.content.fax.page import WIDTH, FaxPage
from lanpost.errors import InvalidFax

X_DPIS = (200, 204)  # taken for the same, as are 98 and 100, 196 and 200 (§3)
Y_DPIS = (98, 100, 196, 200)
MAX_PAGES = 65_535  # PageNumber has 16 bits

# Of profile F (§4): the width of A4 or Letter, B4 and A3 by the dots an inch across.
F_WIDTHS = {200: (1728, 2048, 2432), 204: (1728, 2048, 2432), 300: (2592, 3072, 3648), 400: (3456, 4096, 4864)}
F_WIDTHS[408] = F_WIDTHS[400]
F_Y_DPIS = {
    200: (100, 200),
    204: (98, 196, 391),
    300: (300,),
    400: (400,),
    408: (391,),
}


def write_profile_s(pages: Iterable[FaxPage], total: int) -> Iterator[bytes]:
    """The file in pieces, one a page and the header. `total`: how many pages there will be.

    InvalidFax: a page is none of profile S, or there are more or fewer of them.
    """
    return _write(pages, total, in_profile_s, "profile S cannot hold it")


def write_profile_f(pages: Iterable[FaxPage], total: int) -> Iterator[bytes]:
    """The same, MMR, with finer resolutions and larger papers: for a terminal that is known to read it."""
    return _write(pages, total, in_profile_f, "profile F cannot hold it", mmr=True)


def write_mmr(pages: Iterable[FaxPage], total: int) -> Iterator[bytes]:
    """The same of whatever measures the pages are: for keeping, not for sending."""
    return _write(pages, total, mmr=True)


def in_profile_s(page: FaxPage) -> str:
    """Why the page is none of profile S; empty: it is one."""
    if page.width != WIDTH:
        return f"{page.width} dots wide, not {WIDTH}"
    if page.x_dpi not in X_DPIS or page.y_dpi not in Y_DPIS:
        return f"of {page.x_dpi} x {page.y_dpi} dots an inch, not 204 x 98 or 204 x 196"
    return ""


def in_profile_f(page: FaxPage) -> str:
    """The same of profile F."""
    if page.y_dpi not in F_Y_DPIS.get(page.x_dpi, ()):
        return f"of {page.x_dpi} x {page.y_dpi} dots an inch, not 204 x 98, 204 x 196, 300 x 300 or 400 x 400"
    if page.width not in F_WIDTHS[page.x_dpi]:
        return f"{page.width} dots wide, not one of {', '.join(map(str, F_WIDTHS[page.x_dpi]))}"
    return ""


def _write(
    pages: Iterable[FaxPage],
    total: int,
    fault_of: Callable[[FaxPage], str] = lambda _: "",
    consequence: str = "",
    *,
    mmr: bool = False,
) -> Iterator[bytes]:
    if not 1 <= total <= MAX_PAGES:
        raise InvalidFax(f"a fax of {total} pages (1 to {MAX_PAGES} can be written)")

    def coded(page: FaxPage) -> tuple[FaxPage, bytes]:
        return page, encode_mmr(page) if mmr else encode_mh(page)

    def fitting() -> Iterator[FaxPage]:
        for number, page in enumerate(pages):
            if number == total:
                raise InvalidFax(f"the fax has more pages than the {total} that were told")
            if wrong := fault_of(page):
                raise InvalidFax(f"page {number + 1} is {wrong}: {consequence}")
            yield page

    yield tiff.write_header()
    at, number = tiff.HEADER, 0
    for page, strip in ahead(coded, fitting()):
        piece = _page(page, strip, at, number, total, mmr=mmr)
        at += len(piece)
        number += 1
        yield piece
    if number != total:
        raise InvalidFax(f"the fax has {number} pages, not the {total} that were told")


def _page(page: FaxPage, strip: bytes, at: int, number: int, total: int, *, mmr: bool) -> bytes:
    """Directory, resolutions, the one strip: in that order (§3.5), for a file whose octets before it are `at`."""
    strip += bytes(len(strip) % 2)  # directories begin at even octets
    values = {
        tiff.NEW_SUBFILE_TYPE: tiff.longs(2),  # a page of several
        tiff.IMAGE_WIDTH: tiff.longs(page.width),
        tiff.IMAGE_LENGTH: tiff.longs(page.height),
        tiff.BITS_PER_SAMPLE: tiff.shorts(1),
        tiff.COMPRESSION: tiff.shorts(4 if mmr else 3),
        tiff.PHOTOMETRIC: tiff.shorts(0),
        tiff.FILL_ORDER: tiff.shorts(2),
        tiff.STRIP_OFFSETS: tiff.longs(0),
        tiff.SAMPLES_PER_PIXEL: tiff.shorts(1),
        tiff.ROWS_PER_STRIP: tiff.longs(page.height),
        tiff.STRIP_BYTE_COUNTS: tiff.longs(len(strip)),
        tiff.X_RESOLUTION: tiff.fraction(page.x_dpi),
        tiff.Y_RESOLUTION: tiff.fraction(page.y_dpi),
        tiff.T6_OPTIONS if mmr else tiff.T4_OPTIONS: tiff.longs(0),
        tiff.RESOLUTION_UNIT: tiff.shorts(2),
        tiff.PAGE_NUMBER: tiff.shorts(number, total),
    }
    begin = at + len(tiff.write_directory(at, values, 0))
    values[tiff.STRIP_OFFSETS] = tiff.longs(begin)
    following = begin + len(strip) if number + 1 < total else 0
    if begin + len(strip) >= 1 << 32:
        raise InvalidFax(f"page {number + 1} would stand beyond 4 GiB, where no TIFF reaches; send it in parts")
    return tiff.write_directory(at, values, following) + strip
