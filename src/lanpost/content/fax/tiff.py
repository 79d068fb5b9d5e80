"""TIFF's structure: header, directories and their entries, read without trusting it (RFC 3949 §2.2, TIFF 6.0 §2).

Every count and offset is checked before it is followed, so that hostile octets cost bounded time and memory.
Nothing is decoded here. Raises InvalidFax.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from lanpost.errors import InvalidFax

MAX_DIRECTORIES = 2000  # pages of one file; a box of paper holds 2500 sheets
MAX_ENTRIES = 512  # tags of one page; a fax has about 20
MAX_COUNT = 65_536  # values of one tag: a strip for each row, and more

HEADER = 8  # octets
BYTE, ASCII, SHORT, LONG, RATIONAL = 1, 2, 3, 4, 5
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # octets, by type
IFD = 13  # an offset of a directory, a LONG by another name
UNSIGNED = {BYTE: "B", SHORT: "H", LONG: "I", IFD: "I"}

# The tags that we look at or write.
NEW_SUBFILE_TYPE = 254
IMAGE_WIDTH = 256
IMAGE_LENGTH = 257
BITS_PER_SAMPLE = 258
COMPRESSION = 259
PHOTOMETRIC = 262
FILL_ORDER = 266
STRIP_OFFSETS = 273
ORIENTATION = 274
SAMPLES_PER_PIXEL = 277
ROWS_PER_STRIP = 278
STRIP_BYTE_COUNTS = 279
X_RESOLUTION = 282
Y_RESOLUTION = 283
T4_OPTIONS = 292
T6_OPTIONS = 293
RESOLUTION_UNIT = 296
PAGE_NUMBER = 297
TILE_OFFSETS = 324
GLOBAL_PARAMETERS = 400
FAX_PROFILE = 401
IMAGE_LAYER = 34732

ByteOrder = Literal["<", ">"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag: its type, its number of values, and these as they stand in the file."""

    tag: int
    type: int
    count: int
    raw: memoryview | None  # None: beyond the end of the file, or absurdly many
    at: int  # where they stand in the file


@dataclass(frozen=True, slots=True)
class Directory:
    """One image file directory (IFD). It is within the file; what its entries point to may not be."""

    data: memoryview  # the whole file
    order: ByteOrder
    at: int
    entries: Mapping[int, Entry]  # by tag, in the file's order; of a tag that comes twice the first
    next: int  # offset of the next directory; 0: this was the last
    sorted: bool  # ascending, and no tag twice

    @property
    def end(self) -> int:
        """The octet behind the directory itself."""
        return self.at + 2 + 12 * len(self.entries) + 4

    def integers(self, tag: int) -> tuple[int, ...]:
        """The values of a tag of unsigned integers; none if it is not there.

        Raises InvalidFax where it holds something else.
        """
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        if entry.type not in UNSIGNED:
            raise InvalidFax(f"tag {tag} of the TIFF has type {entry.type}, where a number should be")
        return struct.unpack(f"{self.order}{entry.count}{UNSIGNED[entry.type]}", within(entry))

    def integer(self, tag: int, default: int) -> int:
        """The first value of such a tag."""
        return next(iter(self.integers(tag)), default)

    def required(self, tag: int, name: str) -> int:
        """The same, of a tag that must be there."""
        if not (values := self.integers(tag)):
            raise InvalidFax(f"the TIFF does not tell its {name} (tag {tag})")
        return values[0]

    def rational(self, tag: int) -> float | None:
        """The first value of a tag of fractions; None where it is missing, no fraction, or divided by zero."""
        entry = self.entries.get(tag)
        if entry is None or not entry.count:
            return None
        if entry.type in UNSIGNED:
            return float(self.integers(tag)[0])  # some machines write a plain number
        if entry.type != RATIONAL:
            return None
        above, below = struct.unpack_from(f"{self.order}II", within(entry))
        return above / below if below else None


def within(entry: Entry) -> memoryview:
    """The entry's octets. Raises InvalidFax where the file does not hold them."""
    if entry.raw is None:
        raise InvalidFax(f"tag {entry.tag} of the TIFF leads beyond the end of the file, or has too many values")
    return entry.raw


def is_tiff(data: bytes | memoryview) -> bool:
    """Whether the octets begin as a TIFF does (the magic of octet-stream attachments)."""
    return bytes(data[:4]) in (b"II*\0", b"MM\0*")


def byte_order(data: bytes | memoryview) -> ByteOrder:
    """The order of the file's header."""
    if not is_tiff(data):
        raise InvalidFax("not a TIFF: it does not begin with II or MM and 42")
    return "<" if data[0] == ord("I") else ">"


def directories(data: bytes | memoryview) -> Iterator[Directory]:
    """The file's directories as they are chained, from the first.

    InvalidFax where one is met that is cut off, was met before, or overlaps another.
    """
    whole = memoryview(data).toreadonly()
    order = byte_order(whole)
    at = _number(whole, order, 4)
    if not at:
        raise InvalidFax("the TIFF has no page")
    taken: list[tuple[int, int]] = []  # from where to where, sorted
    while at:
        if len(taken) == MAX_DIRECTORIES:
            raise InvalidFax(f"the TIFF has more than {MAX_DIRECTORIES} pages")
        directory = read_directory(whole, order, at)
        place = bisect.bisect(taken, (at, directory.end))
        beside = taken[max(place - 1, 0) : place + 1]
        if any(begin < directory.end and at < end for begin, end in beside):
            raise InvalidFax(f"the TIFF's directories go in a circle, or overlap (octet {at})")
        taken.insert(place, (at, directory.end))
        yield directory
        at = directory.next


def read_directory(data: memoryview, order: ByteOrder, at: int) -> Directory:
    """The directory at that octet."""
    if at + 2 > len(data):
        raise InvalidFax(f"the TIFF ends before its directory at octet {at}")
    (count,) = struct.unpack_from(f"{order}H", data, at)
    if not 0 < count <= MAX_ENTRIES:
        raise InvalidFax(f"the TIFF's directory at octet {at} has {count} entries (1 to {MAX_ENTRIES} are read)")
    if at + 2 + 12 * count + 4 > len(data):
        raise InvalidFax(f"the TIFF ends within its directory at octet {at}")
    entries: dict[int, Entry] = {}
    ascending, last = True, -1
    for place in range(at + 2, at + 2 + 12 * count, 12):
        entry = _entry(data, order, place)
        ascending = ascending and entry.tag > last
        last = entry.tag
        entries.setdefault(entry.tag, entry)
    if len(entries) != count:
        raise InvalidFax(f"the TIFF's directory at octet {at} has a tag twice")
    return Directory(data, order, at, entries, _number(data, order, at + 2 + 12 * count), ascending)


def strips(directory: Directory) -> Iterator[memoryview]:
    """The octets of a page's strips. A length that is missing, or 0, reaches to the end of the file."""
    data = directory.data
    places = directory.integers(STRIP_OFFSETS)
    if not places:
        raise InvalidFax(f"the TIFF does not tell where its page is (tag {STRIP_OFFSETS})")
    sizes = directory.integers(STRIP_BYTE_COUNTS)
    total = 0
    for number, at in enumerate(places):
        size = sizes[number] if number < len(sizes) else 0
        if at >= len(data):
            raise InvalidFax("a strip of the TIFF is beyond the end of the file; perhaps the file was cut off")
        strip = data[at : at + size] if size else data[at:]
        total += len(strip)
        if total > len(data):
            raise InvalidFax("the strips of the TIFF overlap")
        yield strip


def _entry(data: memoryview, order: ByteOrder, place: int) -> Entry:
    tag, kind, count = struct.unpack_from(f"{order}HHI", data, place)
    size = SIZES.get(kind)
    if size is None:
        return Entry(
            tag, kind, 0, data[0:0], place + 8
        )  # of a type to come: readers are to pass over it (TIFF 6.0)
    octets = size * count
    at = place + 8 if octets <= 4 else _number(data, order, place + 8)
    if at + octets > len(data) or (count > MAX_COUNT and kind in UNSIGNED):
        return Entry(tag, kind, count, None, at)  # many a file has such among the tags that nobody needs
    return Entry(tag, kind, count, data[at : at + octets], at)


def _number(data: memoryview, order: ByteOrder, at: int) -> int:
    if at + 4 > len(data):
        raise InvalidFax("the TIFF is cut off in its header")
    (number,) = struct.unpack_from(f"{order}I", data, at)
    return int(number)


@dataclass(frozen=True, slots=True)
class Value:
    """What a tag holds, to be written: its type, its number of values, and these in the file's byte order."""

    type: int
    count: int
    raw: bytes | memoryview


def shorts(*numbers: int) -> Value:
    """Little-endian numbers of 16 bits."""
    return Value(SHORT, len(numbers), struct.pack(f"<{len(numbers)}H", *numbers))


def longs(*numbers: int, order: ByteOrder = "<") -> Value:
    """Numbers of 32 bits."""
    return Value(LONG, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers))


def fraction(number: int) -> Value:
    """A whole number as a fraction, little-endian."""
    return Value(RATIONAL, 1, struct.pack("<II", number, 1))


def write_header(order: ByteOrder = "<") -> bytes:
    """A file's first eight octets, its first directory right behind them."""
    return (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, HEADER)


def write_directory(at: int, values: Mapping[int, Value], following: int, order: ByteOrder = "<") -> bytes:
    """A directory to stand at that octet, what does not fit in it right behind; `following`: the next one."""
    behind = at + 2 + 12 * len(values) + 4
    head, tail = [struct.pack(f"{order}H", len(values))], bytearray()
    for tag, value in sorted(values.items()):
        if len(value.raw) > 4:
            field = struct.pack(f"{order}I", behind + len(tail))
            tail += value.raw
            tail += bytes(len(tail) % 2)  # values begin at even octets
        else:
            field = bytes(value.raw).ljust(4, b"\0")
        head.append(struct.pack(f"{order}HHI", tag, value.type, value.count) + field)
    return b"".join([*head, struct.pack(f"{order}I", following), tail])
