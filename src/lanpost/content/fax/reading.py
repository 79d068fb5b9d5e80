"""Pages out of a TIFF: profiles S and F (RFC 3949 §3, §4), and what office machines write besides.

Profiles J, C, L and M are recognised and refused. Whatever the octets are: pages, or InvalidFax, whose text may
stand behind `554 5.6.1`; in bounded time and memory, one page at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lanpost.content.fax import plain, tiff
from lanpost.content.fax.bits import (
    ALIGNED,
    INVERTED,
    REVERSED,
    TWO_DIMENSIONAL,
    UNCOMPRESSED,
    Bits,
    Coding,
    decode,
)
from lanpost.content.fax.careful import Patience
from lanpost.content.fax.page import FINE, MAX_HEIGHT, MAX_WIDTH, STANDARD, X_DPI, FaxPage
from lanpost.content.fax.tiff import Directory
from lanpost.errors import InvalidFax

MAX_DOTS = 40_000_000  # of a page: A3 at 400 dots an inch has 32 million
MAX_DOCUMENT_DOTS = 8_000_000_000  # of all pages: 2000 of A4 in fine resolution
MAX_DAMAGED = 0.1  # of a page's lines; with more it is refused, so that its sender learns
THUMBNAIL = 1  # the bit of NewSubfileType

_JBIG, _OLD_JPEG = 34661, 6
_PROFILES = {
    3: "J (JBIG)",
    4: "C (colour JPEG)",
    5: "L (colour JBIG)",
    6: "M (mixed raster content)",
}  # FaxProfile, RFC 3949 §2.2
_PROFILE_BY_COMPRESSION = {9: 3, _JBIG: 3, 10: 5}  # T.82 with T.85, the same as libtiff has it, T.43
_ITULAB = 10  # PhotometricInterpretation of profiles C and L


@dataclass(frozen=True, slots=True)
class Damage:
    """Lines of a page that are not what was sent: each is the line above it again, or white."""

    page: int  # from 1
    lines: int
    height: int

    def __str__(self) -> str:
        return f"page {self.page}: {self.lines} of {self.height} lines damaged"


@dataclass(frozen=True, slots=True)
class Strip:
    """A page's bits as they came, all of them whole: a reader other than ours finds the same dots in them."""

    bits: Bits
    is_inverse: bool  # what is black in the coding is white on paper


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page, and how many of its lines were damaged on the way: each shows the line above it instead."""

    page: FaxPage
    damaged_lines: int = 0
    strip: Strip | None = None  # None: there is no such, or several of them


def read_pages(
    data: bytes | memoryview, on_damage: Callable[[Damage], object] = lambda _: None
) -> Iterator[FaxPage]:
    """As `read_sheets`, the pages alone; of one with damaged lines `on_damage` is told before it comes."""
    for number, sheet in enumerate(read_sheets(data), 1):
        if sheet.damaged_lines:
            on_damage(Damage(number, sheet.damaged_lines, sheet.page.height))
        yield sheet.page


def read_sheets(data: bytes | memoryview) -> Iterator[Sheet]:
    """The pages in their order.

    Thumbnails are passed over. InvalidFax may come at any page: a fax is whole or refused (RFC 3965 §2.2.4).
    """
    patience = Patience()
    number = dots = 0
    for directory in tiff.directories(data):
        if directory.integer(tiff.NEW_SUBFILE_TYPE, 0) & THUMBNAIL:
            continue
        number += 1
        _refuse_other_profiles(directory)
        width = directory.required(tiff.IMAGE_WIDTH, "width")
        height = directory.required(tiff.IMAGE_LENGTH, "height")
        dots += width * height
        if not dots:
            raise InvalidFax(f"page {number} of the fax has no dots")
        if width * height > MAX_DOTS or dots > MAX_DOCUMENT_DOTS:
            raise InvalidFax(f"page {number} of the fax is too large: {width} x {height} dots")
        x_dpi, y_dpi = _resolution(directory, width, height)
        if _is_coded(directory):
            sheet = _coded_page(directory, width, height, (x_dpi, y_dpi), patience)
            damaged = sheet.damaged_lines
            if damaged > MAX_DAMAGED * height:
                raise InvalidFax(
                    f"page {number} of the fax: {damaged} of its {height} lines are damaged; send it again"
                )
            yield sheet
        else:
            yield Sheet(plain.read_page(directory, width, height, (x_dpi, y_dpi)))
    if not number:
        raise InvalidFax("the TIFF has nothing but thumbnails")


def _refuse_other_profiles(directory: Directory) -> None:
    compression = directory.integer(tiff.COMPRESSION, 1)
    profile = _PROFILE_BY_COMPRESSION.get(compression, 0)
    if at := directory.integer(tiff.GLOBAL_PARAMETERS, 0):
        profile = tiff.read_directory(directory.data, directory.order, at).integer(tiff.FAX_PROFILE, 0)
    if profile not in _PROFILES and directory.integer(tiff.PHOTOMETRIC, 0) == _ITULAB:
        profile = 4
    if tiff.IMAGE_LAYER in directory.entries:
        profile = 6
    if profile in _PROFILES:
        raise InvalidFax(
            f"TIFF-FX profile {_PROFILES[profile]} is not read here; send profile S or F, black and white"
        )
    if compression == _OLD_JPEG:
        raise InvalidFax("a TIFF with JPEG of the old kind (compression 6) is not read here; send profile S")


def _is_coded(directory: Directory) -> bool:
    return (
        directory.integer(tiff.COMPRESSION, 1) in (2, 3, 4)
        and directory.integer(tiff.SAMPLES_PER_PIXEL, 1) == 1
        and directory.integer(tiff.BITS_PER_SAMPLE, 1) == 1
        and tiff.TILE_OFFSETS not in directory.entries
    )


def _resolution(directory: Directory, width: int, height: int) -> tuple[int, int]:
    """In dots an inch; guessed where the file is silent, has no unit, or is absurd."""
    scale = {2: 1.0, 3: 2.54}.get(directory.integer(tiff.RESOLUTION_UNIT, 2), 0.0)
    x, y = (round((directory.rational(tag) or 0) * scale) for tag in (tiff.X_RESOLUTION, tiff.Y_RESOLUTION))
    if 30 <= x <= 2400 and 30 <= y <= 2400:
        return x, y
    return X_DPI, FINE if height > 0.9 * width else STANDARD


def _coded_page(directory: Directory, width: int, height: int, dpi: tuple[int, int], patience: Patience) -> Sheet:
    if width > MAX_WIDTH or height > MAX_HEIGHT:
        raise InvalidFax(f"a page of {width} x {height} dots is none of a fax")
    coding, aligned = _coding(directory)
    rows_a_strip = directory.integer(tiff.ROWS_PER_STRIP, height) or height
    least_significant_first = directory.integer(tiff.FILL_ORDER, 1) == 2
    is_inverse = directory.integer(tiff.PHOTOMETRIC, 0) == 1
    pieces: list[bytes] = []
    damaged, left = 0, height
    whole: Strip | None = None
    for strip in tiff.strips(directory):
        rows = min(rows_a_strip, left)
        if not rows:
            break
        # Fill may be as long as a slow printer wishes; more than this is neither code nor fill.
        data = bytes(strip[: rows * (width + 100) + 1024])
        if least_significant_first:
            data = data.translate(REVERSED)
        bits = Bits(data, coding, width, rows, aligned)
        found = decode(bits, patience)
        if found.is_plain and rows == height:
            whole = Strip(bits, is_inverse)
        pieces.append(found.raster)
        damaged += found.damaged
        left -= rows
    stride = (width + 7) // 8
    pieces.append(bytes(stride * left))
    raster = b"".join(pieces)
    if is_inverse:
        raster = plain.without_padding(raster.translate(INVERTED), width)
    page = FaxPage(width, height, *dpi, raster)
    upright = plain.upright(page, directory.integer(tiff.ORIENTATION, 1))
    return Sheet(upright, damaged + left, whole if upright is page else None)


def _coding(directory: Directory) -> tuple[Coding, bool]:
    compression = directory.integer(tiff.COMPRESSION, 1)
    if compression == 2:
        return Coding.UNMARKED, False
    options = directory.integer(tiff.T4_OPTIONS if compression == 3 else tiff.T6_OPTIONS, 0)
    if options & UNCOMPRESSED:
        raise InvalidFax("the fax is coded in uncompressed mode, which is not read here; send profile S")
    if compression == 4:
        return Coding.MMR, False
    return Coding.MR if options & TWO_DIMENSIONAL else Coding.MH, bool(options & ALIGNED)
