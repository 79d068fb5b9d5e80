"""A page's dots as MH, MR and MMR bits and back (ITU-T T.4, T.6), by libtiff, which Pillow carries.

libtiff mends damaged lines without a word. So a page that it read is written by it again: where the same bits come
out, each line of the page is proven whole; where not, `careful` goes code by code through the lines that differ.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from enum import Enum

from PIL import Image

from lanpost.content.fax import careful, tiff
from lanpost.content.fax.careful import Patience, Rows, Unmarked
from lanpost.content.fax.codes import EOL
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.silence import silence_libtiff

silence_libtiff()

REVERSED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
INVERTED = bytes(255 - octet for octet in range(256))

TAIL = 4096  # octets behind the last line that are looked at: fill, and RTC
_BEHIND = re.compile("0*$|0{11,}1")

TWO_DIMENSIONAL, UNCOMPRESSED, ALIGNED = 1, 2, 4  # bits of T4Options (TIFF 6.0 §11)


class Coding(Enum):
    """How the dots are coded."""

    MH = "MH"  # lines with EOL, each by itself
    MR = "MR"  # lines with EOL, most by their difference to the one above
    MMR = "MMR"  # all by their difference, without EOL
    UNMARKED = "MH without EOL"  # TIFF's own: each line begins at an octet


@dataclass(frozen=True, slots=True)
class Bits:
    """Coded rows, most significant bit first; 1 is black once decoded."""

    data: bytes
    coding: Coding
    width: int
    height: int
    aligned: bool = False  # each EOL ends at an octet's end (MH, MR)


_COMPRESSION = {Coding.UNMARKED: 2, Coding.MH: 3, Coding.MR: 3, Coding.MMR: 4}
_KINDS = {
    Coding.MH: (Unmarked.BARE, Unmarked.ALIGNED),  # some machines write no EOL
    Coding.UNMARKED: (Unmarked.ALIGNED,),
    Coding.MMR: (Unmarked.BY_REFERENCE, Unmarked.BY_RUNS),
}
_PILLOWS_NAME = {
    Coding.UNMARKED: "tiff_ccitt",
    Coding.MH: "group3",
    Coding.MR: "group3",
    Coding.MMR: "group4",
}


def encode_mh(page: FaxPage) -> bytes:
    """As profile S has it: FillOrder 2, an EOL before each line, no RTC (RFC 3949 §3)."""
    from lanpost.content.fax import mh  # loads numpy, which who only reads faxes needs not

    if mh.can_encode(page.width):
        return mh.encode(page.raster, page.width, page.height)
    return encode(page, Coding.MH).translate(REVERSED)


def encode_mmr(page: FaxPage) -> bytes:
    """As `lanpost` writes profile F: FillOrder 2, EOFB at the end."""
    return encode(page, Coding.MMR).translate(REVERSED)


def encode(page: FaxPage, coding: Coding, *, aligned: bool = False) -> bytes:
    """Most significant bit first. MR: every second line by itself at up to 150 rows an inch, else every fourth."""
    dots = Image.frombytes("1", (page.width, page.height), page.raster)
    tags: dict[int, int] = {tiff.ROWS_PER_STRIP: page.height}
    if coding in (Coding.MH, Coding.MR):
        tags[tiff.T4_OPTIONS] = _t4_options(coding, aligned=aligned)
    written = io.BytesIO()
    # A black dot is 1 both here and in the coding; that Pillow takes it for white concerns only a tag we never see.
    dots.save(written, "TIFF", compression=_PILLOWS_NAME[coding], tiffinfo=tags, dpi=(page.x_dpi, page.y_dpi))
    data = written.getvalue()
    directory = next(tiff.directories(data))
    at, octets = directory.required(tiff.STRIP_OFFSETS, "strip"), directory.required(tiff.STRIP_BYTE_COUNTS, "size")
    return data[at : at + octets]


def decode(bits: Bits, patience: Patience) -> Rows:
    """Every row, in the layout of FaxPage.raster. A damaged line is the one above it again, and counted.

    Raises InvalidFax when `patience` is spent.
    """
    raster = _by_libtiff(bits)
    again = {} if raster is None else _known(bits, raster)
    if raster is not None and again is None:
        return Rows(raster, 0, is_plain=True)
    if bits.coding is Coding.MR:
        return careful.read_tagged_lines(bits.data, bits.width, bits.height, patience)
    if bits.coding is Coding.MH and careful.has_eol(bits.data):
        return careful.read_lines(bits.data, bits.width, bits.height, again or {}, patience)
    return _without_eol(bits, patience)


def _without_eol(bits: Bits, patience: Patience) -> Rows:
    """By the book; where that fails, as encoders write it that have not read the book."""
    best: Rows | None = None
    for kind in _KINDS[bits.coding]:
        found = careful.read_unmarked_lines(bits.data, bits.width, bits.height, kind, patience)
        if best is None or found.damaged < best.damaged:
            best = found
        if not best.damaged:
            break
    assert best
    return best


def _known(bits: Bits, raster: bytes) -> dict[str, bytes] | None:
    """None: written again, the raster gives the same bits. Else (MH) the rows by the bits of their lines."""
    for y_dpi in _resolutions_of_k(bits):
        page = FaxPage(bits.width, bits.height, 204, y_dpi, raster)
        written = encode(page, bits.coding, aligned=bits.aligned)
        if _same(bits, written):
            return None
    if bits.coding is not Coding.MH:
        return {}
    stride = page.stride
    lines = careful.lines_of(careful.bits_of(written))
    return {line: raster[at * stride : (at + 1) * stride] for at, line in enumerate(lines)}


def _resolutions_of_k(bits: Bits) -> tuple[int, ...]:
    """Lines an inch at which libtiff's MR has as many lines by reference as the data seems to have."""
    if bits.coding is not Coding.MR:
        return (196,)
    first = careful.lines_of(careful.bits_of(bits.data[:TAIL]))
    if len(first) < 4:
        return (98, 196)
    return (98,) if first[2].startswith("1") else (196,)


def _same(bits: Bits, written: bytes) -> bool:
    """Whether the data is what was written, but for what may stand behind the last line: fill, RTC, EOFB."""
    if bits.coding is Coding.MMR:
        written = _without_eofb(written)
    written = written.rstrip(b"\0")
    whole, last = written[:-1], written[-1:]
    if not last or not bits.data.startswith(whole):
        return False
    head = careful.bits_of(last).rstrip("0")
    tail = careful.bits_of(bits.data[len(whole) : len(whole) + TAIL])
    if not tail.startswith(head):
        return False
    return bits.coding in (Coding.MMR, Coding.UNMARKED) or _BEHIND.match(tail, len(head)) is not None


def _without_eofb(written: bytes) -> bytes:
    tail = careful.bits_of(written[-8:]).rstrip("0").removesuffix(2 * EOL)
    return written[:-8] + int(tail.ljust(64, "0"), 2).to_bytes(8, "big")


def _by_libtiff(bits: Bits) -> bytes | None:
    """None: it could not."""
    values = {
        tiff.IMAGE_WIDTH: tiff.longs(bits.width),
        tiff.IMAGE_LENGTH: tiff.longs(bits.height),
        tiff.BITS_PER_SAMPLE: tiff.shorts(1),
        tiff.COMPRESSION: tiff.shorts(_COMPRESSION[bits.coding]),
        tiff.PHOTOMETRIC: tiff.shorts(1),  # 1 stays 1
        tiff.SAMPLES_PER_PIXEL: tiff.shorts(1),
        tiff.ROWS_PER_STRIP: tiff.longs(bits.height),
        tiff.STRIP_BYTE_COUNTS: tiff.longs(len(bits.data)),
        tiff.STRIP_OFFSETS: tiff.longs(0),
    }
    if bits.coding in (Coding.MH, Coding.MR):
        values[tiff.T4_OPTIONS] = tiff.longs(_t4_options(bits.coding, aligned=bits.aligned))
    begin = tiff.HEADER + len(tiff.write_directory(tiff.HEADER, values, 0))
    values[tiff.STRIP_OFFSETS] = tiff.longs(begin)
    file = b"".join([tiff.write_header(), tiff.write_directory(tiff.HEADER, values, 0), bits.data])
    try:
        with Image.open(io.BytesIO(file), formats=["TIFF"]) as dots:
            return dots.tobytes()
    except (OSError, ValueError, SyntaxError):
        return None


def _t4_options(coding: Coding, *, aligned: bool) -> int:
    return (TWO_DIMENSIONAL if coding is Coding.MR else 0) | (ALIGNED if aligned else 0)
