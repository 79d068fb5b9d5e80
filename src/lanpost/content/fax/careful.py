"""Code by code through the bits of a page, for what libtiff does not tell: which lines are damaged.

Slow (a few pages a second), and so only for lines that are not as libtiff itself would have written them; see
`bits.decode`. A damaged line is replaced by the one above it, and counted. Bits are strings of 0 and 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from lanpost.content.fax.codes import BLACK, EOL, MODE_BITS, MODES, RUN_BITS, WHITE, Mode, Run
from lanpost.errors import InvalidFax

CAREFUL_OCTETS = 8 << 20  # of one document that are read so: a hundred pages of text

_EOL = re.compile("0{11,}1")
_PADDING = "0" * (2 * RUN_BITS)  # a word at the end may lack zeros that belonged to it, taken for fill


class DamagedLineError(ValueError):
    """These bits are no line. Never leaves this package."""


@dataclass(slots=True)
class Patience:
    """How much of a document may still be read code by code. Its methods raise InvalidFax when that is too much."""

    octets: int = CAREFUL_OCTETS

    def look_at(self, data: bytes) -> None:
        """Data is taken apart; which of its lines are read is not known yet."""
        self._check(self.octets - len(data))

    def spend(self, bits: int) -> None:
        """A line is read."""
        self.octets -= bits // 8 + 1
        self._check(self.octets)

    def _check(self, left: int) -> None:
        if left < 0:
            raise InvalidFax("too much of the fax is damaged, or coded in an uncommon way; send it as profile S")


@dataclass(frozen=True, slots=True)
class Rows:
    """What could be read, every row of it, and how many of these rows are not what was sent."""

    raster: bytes
    damaged: int
    is_plain: bool = False  # the bits are just those that libtiff writes of these rows; every reader agrees on them


def bits_of(data: bytes) -> str:
    """Octets as bits, most significant first."""
    return bin(int.from_bytes(b"\1" + data, "big"))[3:]


def lines_of(bits: str) -> list[str]:
    """T.4 data cut at its EOLs. Zeros at a line's end are lost, being fill or like it; RTC gives no lines.

    Each line of two-dimensional data keeps its tag bit in front.
    """
    lines = [line.rstrip("0") for line in _EOL.split(bits)]
    if lines and not lines[0]:
        del lines[0]  # before the first EOL
    return lines


def has_eol(data: bytes) -> bool:
    """Whether there is any EOL in MH data."""
    return any(_EOL.search(bits_of(part)) for part in (data[:4096], data))  # nearly always right at the beginning


def ends_of_eols(bits: str) -> list[int]:
    """The places behind each EOL."""
    return [found.end() for found in _EOL.finditer(bits)]


def is_line(line: str, width: int) -> bool:
    """Whether it is an MH line of just so many dots."""
    try:
        _, end = one_line(line + _PADDING, 0, width)
        _nothing_behind(line, end)
    except DamagedLineError:
        return False
    return True


def one_line(bits: str, at: int, width: int) -> tuple[list[int], int]:
    """A line coded by itself (MH): where its colour changes, and the place behind it. Raises DamagedLineError."""
    changes: list[int] = []
    dots, table = 0, WHITE
    while dots < width:
        run, at = _run(bits, at, table, width - dots)
        dots += run
        changes.append(dots)
        table = BLACK if table is WHITE else WHITE
    if dots > width:
        raise DamagedLineError("longer than the page is wide")
    return _settled(changes, width), at


def line_by_reference(
    bits: str, at: int, width: int, above: list[int], *, settled: bool = True
) -> tuple[list[int], int]:
    """A line coded by its differences to the one above (MR, MMR). Raises DamagedLineError.

    `settled` False: the line keeps its runs of no dots, so that the next one can lean on them.
    """
    reference = [*above, width, width, width]
    changes: list[int] = []
    begun, black, index = -1, 0, 0  # a0, its colour, and where b1 is to be sought
    while begun < width:
        while index > 0 and reference[index - 1] > begun:
            index -= 1
        while reference[index] < width and (reference[index] <= begun or index % 2 != black):
            index += 1
        if index < len(above) and bits.startswith("11", at):
            # Changes right below those above, a bit each: one by one, a page of them would take half a minute.
            end = bits.find("0", at, at + len(above) - index)
            below = above[index:] if end < 0 else above[index : index + end - at]
            if not settled:
                del below[_ascending(below) :]
            changes += below
            begun, black = changes[-1], black ^ len(below) & 1
            index, at = index + len(below) - 1, at + len(below)
            continue
        word = MODES[int(bits[at : at + MODE_BITS] or "0", 2)]
        if word is None:
            raise DamagedLineError("no mode of two-dimensional coding")
        at += word.bits
        if word.mode is Mode.PASS:
            begun = reference[index + 1]  # b2
        elif word.mode is Mode.HORIZONTAL:
            first, at = _run(bits, at, BLACK if black else WHITE, width)
            second, at = _run(bits, at, WHITE if black else BLACK, width)
            begun = max(begun, 0) + first
            changes.append(begun)
            begun += second
            changes.append(begun)
        else:
            there = reference[index] + word.mode
            if there < max(begun, 0):
                raise DamagedLineError("a change before the last")
            begun = there
            changes.append(begun)
            black = 1 - black
    if begun > width:
        raise DamagedLineError("longer than the page is wide")
    return (_settled(changes, width) if settled else changes), at


def _ascending(changes: list[int]) -> int:
    """How many there are before a run of no dots."""
    return next((at for at, (one, other) in enumerate(pairwise(changes), 1) if one >= other), len(changes))


def _run(bits: str, at: int, table: list[Run | None], left: int) -> tuple[int, int]:
    total = 0
    while True:
        word = table[int(bits[at : at + RUN_BITS] or "0", 2)]
        if word is None and total == left:
            return total, at  # some machines leave out the word for no more dots at the edge
        if word is None or at >= len(bits):
            raise DamagedLineError("no code word")
        at += word.bits
        total += word.dots
        if word.dots < 64:
            return total, at


def _settled(changes: list[int], width: int) -> list[int]:
    """Without runs of no dots, and without the end of the line."""
    settled: list[int] = []
    for change in changes:
        if settled and settled[-1] == change:
            settled.pop()
        else:
            settled.append(change)
    while settled and settled[-1] >= width:
        settled.pop()
    return settled


def row_of(changes: list[int], width: int) -> bytes:
    """A row of dots, padded to whole octets."""
    row = 0
    for change in changes:
        row ^= (1 << (width - change)) - 1
    return (row << (-width % 8)).to_bytes((width + 7) // 8, "big")


def changes_of(row: bytes, width: int) -> list[int]:
    """Where the colour changes in a row: of white into black first."""
    bits = bits_of(row)[:width]
    return [at for at in range(width) if bits[at] != (bits[at - 1] if at else "0")]


def read_lines(data: bytes, width: int, height: int, known: Mapping[str, bytes], patience: Patience) -> Rows:
    """MH: each line stands by itself. `known`: rows by the bits of their lines, as `lines_of` gives them."""
    patience.look_at(data)
    rows: list[bytes] = []
    blank = bytes((width + 7) // 8)
    damaged = 0
    for line in _first(lines_of(bits_of(data)), height):
        row = known.get(line)
        if row is None:
            patience.spend(len(line))
            try:
                changes, end = one_line(line + _PADDING, 0, width)
                _nothing_behind(line, end)
                row = row_of(changes, width)
            except DamagedLineError:
                damaged += 1
                row = rows[-1] if rows else blank
        rows.append(row)
    return _filled(rows, damaged, blank, height)


def read_tagged_lines(data: bytes, width: int, height: int, patience: Patience) -> Rows:
    """MR: a bit behind EOL tells whether a line stands by itself. What leans on a damaged line is lost too."""
    patience.look_at(data)
    rows: list[bytes] = []
    blank = bytes((width + 7) // 8)
    damaged = 0
    above: list[int] | None = None  # None: damaged
    for line in _first([each for each in lines_of(bits_of(data)) if each != "1"], height):
        patience.spend(len(line))
        try:
            if line.startswith("1"):
                above, end = one_line(line + _PADDING, 1, width)
            else:
                above, end = line_by_reference(line + _PADDING, 1, width, _whole(above))
            _nothing_behind(line, end)
            rows.append(row_of(above, width))
        except DamagedLineError:
            damaged += 1
            above = None
            rows.append(rows[-1] if rows else blank)
    return _filled(rows, damaged, blank, height)


class Unmarked(Enum):
    """How lines follow each other where there are no EOLs."""

    BY_REFERENCE = auto()  # MMR
    BY_RUNS = (
        auto()
    )  # MMR of an encoder that takes a run of no dots for a change of colour, against T.6 (ImageGear)
    ALIGNED = auto()  # MH, each line from an octet on
    BARE = auto()  # MH, each line right behind the last


def read_unmarked_lines(data: bytes, width: int, height: int, kind: Unmarked, patience: Patience) -> Rows:
    """Lines without EOL: all behind a damaged one is lost."""
    patience.spend(8 * len(data))
    bits = bits_of(data)
    end = len(bits)
    bits += _PADDING
    rows: list[bytes] = []
    blank = bytes((width + 7) // 8)
    above: list[int] = []
    at = 0
    while (
        len(rows) < height and at < end and not bits.startswith(EOL, at)
    ):  # EOFB begins with an EOL (T.6 §2.4.1.1)
        try:
            if kind in (Unmarked.BY_REFERENCE, Unmarked.BY_RUNS):
                above, at = line_by_reference(bits, at, width, above, settled=kind is Unmarked.BY_REFERENCE)
            else:
                above, at = one_line(bits, at, width)
            if kind is Unmarked.ALIGNED:
                at += -at % 8
        except DamagedLineError:
            break
        rows.append(row_of(above, width))
    return _filled(rows, 0, blank, height)


def _whole(above: list[int] | None) -> list[int]:
    if above is None:
        raise DamagedLineError("leans on a damaged line")
    return above


def _nothing_behind(line: str, end: int) -> None:
    if "1" in line[end:]:
        raise DamagedLineError("more of it behind the page's edge")


def _first(lines: list[str], height: int) -> list[str]:
    """Those of the page: RTC's, and what else stands behind it, are none."""
    lines = lines[:height]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _filled(rows: list[bytes], damaged: int, blank: bytes, height: int) -> Rows:
    missing = height - len(rows)
    return Rows(b"".join(rows) + blank * missing, damaged + missing)
