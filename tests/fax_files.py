"""TIFF files for the tests of faxes, written tag by tag, so that each can be wrong in one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lanpost.content.fax import tiff
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.tiff import Value, longs, shorts
from tests import fax_encoder

Tags = dict[int, Value | None]  # None: left out


def tiff_file(*pages: tuple[Tags, Sequence[bytes]]) -> bytes:
    """Little-endian. Of each page its tags and strips, whose places and sizes are told unless others are given."""
    file = tiff.write_header()
    for number, (given, strips) in enumerate(pages):
        sizes = [len(strip) for strip in strips]
        tags: Tags = {tiff.STRIP_OFFSETS: longs(*sizes), tiff.STRIP_BYTE_COUNTS: longs(*sizes), **given}
        values = {tag: value for tag, value in tags.items() if value is not None}
        at = len(file) + len(tiff.write_directory(0, values, 0))
        following = at + sum(sizes) if number + 1 < len(pages) else 0
        if tiff.STRIP_OFFSETS not in given:
            places = [at + sum(sizes[:before]) for before in range(len(sizes))]
            values[tiff.STRIP_OFFSETS] = longs(*places)
        file += tiff.write_directory(len(file), values, following) + b"".join(strips)
    return file


def fax_tags(page: FaxPage, compression: int, others: Mapping[int, Value | None] | None = None) -> Tags:
    """The fewest tags that a fax can have, and others."""
    return {
        tiff.IMAGE_WIDTH: shorts(page.width),
        tiff.IMAGE_LENGTH: shorts(page.height),
        tiff.COMPRESSION: shorts(compression),
        tiff.PHOTOMETRIC: shorts(0),
        tiff.X_RESOLUTION: tiff.fraction(page.x_dpi),
        tiff.Y_RESOLUTION: tiff.fraction(page.y_dpi),
        **(others or {}),
    }


def rows_of(page: FaxPage) -> list[str]:
    return fax_encoder.rows_of(page.raster, page.width)
