"""What keeps a TIFF from being profile S exactly (RFC 3949 §3): every fault that is found, in words.

A reader forgives most of them, a cheap terminal none: this is for what we write, and for the makers of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from lanpost.content.fax import careful, tiff
from lanpost.content.fax.page import WIDTH
from lanpost.content.fax.tiff import LONG, RATIONAL, SHORT, Directory
from lanpost.errors import InvalidFax

ALIGNED_EOL = 4  # the one option that §3 has
_REVERSED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
_WORD = (SHORT, LONG)

# Each tag that must be there, with its name, the types that it may have and its values; None: seen to below.
_TAGS: dict[int, tuple[str, tuple[int, ...], tuple[int, ...] | None]] = {
    tiff.NEW_SUBFILE_TYPE: ("NewSubFileType", (LONG,), (2,)),
    tiff.IMAGE_WIDTH: ("ImageWidth", _WORD, (WIDTH,)),
    tiff.IMAGE_LENGTH: ("ImageLength", _WORD, None),
    tiff.BITS_PER_SAMPLE: ("BitsPerSample", (SHORT,), (1,)),
    tiff.COMPRESSION: ("Compression", (SHORT,), (3,)),
    tiff.PHOTOMETRIC: ("PhotometricInterpretation", (SHORT,), (0,)),
    tiff.FILL_ORDER: ("FillOrder", (SHORT,), (2,)),
    tiff.STRIP_OFFSETS: ("StripOffsets", _WORD, None),
    tiff.SAMPLES_PER_PIXEL: ("SamplesPerPixel", (SHORT,), (1,)),
    tiff.ROWS_PER_STRIP: ("RowsPerStrip", _WORD, None),
    tiff.STRIP_BYTE_COUNTS: ("StripByteCounts", _WORD, None),
    tiff.X_RESOLUTION: ("XResolution", (RATIONAL,), (200, 204)),
    tiff.Y_RESOLUTION: ("YResolution", (RATIONAL,), (98, 100, 196, 200)),
    tiff.T4_OPTIONS: ("T4Options", (LONG,), (0, ALIGNED_EOL)),
    tiff.RESOLUTION_UNIT: ("ResolutionUnit", (SHORT,), (2,)),
    tiff.PAGE_NUMBER: ("PageNumber", (SHORT,), None),
}

# What has to be right for the strip to be read as lines.
_OF_LINES = {tiff.IMAGE_WIDTH, tiff.IMAGE_LENGTH, tiff.COMPRESSION, tiff.FILL_ORDER, tiff.T4_OPTIONS}


def faults(data: bytes | memoryview) -> tuple[str, ...]:
    """Each begins with `page N: `, or `file: `; none: it is profile S. Raises nothing."""
    return tuple(_faults(data))


def _faults(data: bytes | memoryview) -> Iterator[str]:
    pages: list[Directory] = []
    try:
        if tiff.byte_order(data) != "<":
            yield "file: its octets are in the order MM, not II"
        pages.extend(tiff.directories(data))
    except InvalidFax as error:
        yield f"file: {error}"
    if pages and pages[0].at != tiff.HEADER:
        yield f"file: its first directory is at octet {pages[0].at}, not {tiff.HEADER}"
    for number, page in enumerate(pages):
        for fault in _of_page(page, number, len(pages)):
            yield f"page {number + 1}: {fault}"
    for number, (one, other) in enumerate(pairwise(pages), 1):
        if other.at < one.at:
            yield f"page {number + 1}: its directory stands before page {number}'s"


def _of_page(page: Directory, number: int, total: int) -> Iterator[str]:
    if not page.sorted:
        yield "its tags are not in ascending order"
    if page.at % 2:
        yield f"its directory is at octet {page.at}, which is odd"
    wrong: set[int] = set()
    for tag, (name, types, allowed) in _TAGS.items():
        for fault in _of_tag(page, tag, types, allowed):
            yield f"{name} ({tag}) {fault}"
            wrong.add(tag)
    counted, height = (() if tag in wrong else page.integers(tag) for tag in (tiff.PAGE_NUMBER, tiff.IMAGE_LENGTH))
    if counted and counted != (number, total):
        yield f"PageNumber ({tiff.PAGE_NUMBER}) is {_listed(counted)}, not {number}, {total}"
    if height and tiff.ROWS_PER_STRIP not in wrong and page.integers(tiff.ROWS_PER_STRIP) != height:
        yield f"RowsPerStrip ({tiff.ROWS_PER_STRIP}) is not ImageLength: {height[0]}"
    if {tiff.STRIP_OFFSETS, tiff.STRIP_BYTE_COUNTS} & wrong:
        return
    strips = page.integers(tiff.STRIP_OFFSETS)
    if len(strips) != 1 or len(page.integers(tiff.STRIP_BYTE_COUNTS)) != 1:
        yield f"it has {len(strips)} strips, not one"
        return
    yield from _of_layout(page, wrong)
    if not _OF_LINES & wrong:
        yield from _of_lines(page, height[0])


def _of_tag(page: Directory, tag: int, types: tuple[int, ...], allowed: tuple[int, ...] | None) -> Iterator[str]:
    entry = page.entries.get(tag)
    if entry is None:
        yield "is missing"
        return
    if entry.type not in types:
        yield f"has type {entry.type}, not {' or '.join(map(str, types))}"
        return
    try:
        found = (page.rational(tag),) if entry.type == RATIONAL else page.integers(tag)
    except InvalidFax:
        yield "leads beyond the end of the file"
        return
    if not found or not entry.count:
        yield "has no value"
    elif allowed and (entry.count != 1 or found[0] not in allowed):
        yield f"is {_listed(found)}, not {' or '.join(map(str, allowed))}"


def _of_layout(page: Directory, wrong: set[int]) -> Iterator[str]:
    """§3.5: the directory, then what its tags point to, then the strip, then the next directory."""
    (begin,), (size,) = page.integers(tiff.STRIP_OFFSETS), page.integers(tiff.STRIP_BYTE_COUNTS)
    if begin + size > len(page.data):
        yield f"its strip reaches to octet {begin + size}, beyond the end of the file"
    if begin < page.end:
        yield f"its strip is at octet {begin}, before the end of its directory"
    for tag in (tiff.X_RESOLUTION, tiff.Y_RESOLUTION):
        if tag not in wrong and not page.end <= page.entries[tag].at < begin:
            yield f"{_TAGS[tag][0]} ({tag}) does not stand between its directory and its strip"
    if page.next and page.at < page.next < begin + size:
        yield f"the next directory is at octet {page.next}, before the end of its strip"


def _of_lines(page: Directory, height: int) -> Iterator[str]:
    (begin,), (size,) = page.integers(tiff.STRIP_OFFSETS), page.integers(tiff.STRIP_BYTE_COUNTS)
    data = bytes(page.data[begin : begin + size]).translate(_REVERSED)
    bits = careful.bits_of(data)
    lines = careful.lines_of(bits)
    if not bits.startswith(("000000000001", "0000000000000001")):
        yield "no EOL stands before its first line"
    aligned = page.integer(tiff.T4_OPTIONS, 0) == ALIGNED_EOL
    if aligned and any(end % 8 for end in careful.ends_of_eols(bits)):
        yield f"T4Options ({tiff.T4_OPTIONS}) is {ALIGNED_EOL}, but not every EOL ends at an octet's end"
    rtc = len(lines) > 1 and not lines[-1]
    while lines and not lines[-1]:
        lines.pop()
    if rtc and aligned:
        yield f"an RTC ends it, which T4Options ({tiff.T4_OPTIONS}) {ALIGNED_EOL} forbids"
    if len(lines) != height:
        yield f"it has {len(lines)} lines, where ImageLength ({tiff.IMAGE_LENGTH}) is {height}"
    wrong = {line for line in set(lines) if not careful.is_line(line, WIDTH)}
    if damaged := sum(line in wrong for line in lines):
        yield f"{damaged} of its lines are no MH of {WIDTH} dots"


def _listed(values: tuple[float | None, ...]) -> str:
    return ", ".join("unreadable" if value is None else f"{value:g}" for value in values[:8])
