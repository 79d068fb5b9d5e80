"""The validator of profile S: a right file with one field changed has just that fault."""

from __future__ import annotations

import struct

import pytest
from tests import fax_encoder
from tests.fax_files import Tags, rows_of, tiff_file
from tests.fax_pages import written_page

from lanpost.content.fax import tiff
from lanpost.content.fax.bits import REVERSED, encode_mh
from lanpost.content.fax.profile_s import write_profile_s
from lanpost.content.fax.profile_s_faults import faults
from lanpost.content.fax.tiff import Value, longs, shorts

PAGES = [written_page(30, seed=seed) for seed in (1, 2)]
PAGE = PAGES[0]
FILE = b"".join(write_profile_s(PAGES, 2))
ROWS = rows_of(PAGE)
SECOND = struct.unpack_from("<I", FILE, 8 + 2 + 16 * 12)[0]  # where the second directory is
STRIP = encode_mh(PAGE)


def test_the_file_to_be_changed_is_right() -> None:
    assert faults(FILE) == ()
    assert faults(file()) == ()


def with_entry(
    tag: int, *, kind: int | None = None, count: int | None = None, value: int | None = None, at: int = 8
) -> bytes:
    """FILE with one field of one entry changed."""
    data = bytearray(FILE)
    (number,) = struct.unpack_from("<H", data, at)
    place = next(p for p in range(at + 2, at + 2 + 12 * number, 12) if struct.unpack_from("<H", data, p)[0] == tag)
    for offset, form, new in ((2, "<H", kind), (4, "<I", count), (8, "<I", value)):
        if new is not None:
            struct.pack_into(form, data, place + offset, new)
    return bytes(data)


def file(tags: Tags | None = None, strips: list[bytes] | None = None) -> bytes:
    """One page, written tag by tag."""
    strips = [STRIP] if strips is None else strips
    right: Tags = {
        254: longs(2), 256: longs(1728), 257: longs(30), 258: shorts(1), 259: shorts(3), 262: shorts(0),
        266: shorts(2), 277: shorts(1), 278: longs(30), 282: tiff.fraction(204), 283: tiff.fraction(98),
        292: longs(0), 296: shorts(2), 297: shorts(0, 1),
    }  # fmt: skip
    return tiff_file((right | (tags or {}), strips))


VALUES = [
    (254, 0, "NewSubFileType (254) is 0, not 2"),
    (256, 2048, "ImageWidth (256) is 2048, not 1728"),
    (258, 8, "BitsPerSample (258) is 8, not 1"),
    (259, 4, "Compression (259) is 4, not 3"),
    (262, 1, "PhotometricInterpretation (262) is 1, not 0"),
    (266, 1, "FillOrder (266) is 1, not 2"),
    (277, 3, "SamplesPerPixel (277) is 3, not 1"),
    (292, 1, "T4Options (292) is 1, not 0 or 4"),
    (296, 3, "ResolutionUnit (296) is 3, not 2"),
    (297, 1, "PageNumber (297) is 1, 0, not 0, 2"),
    (278, 29, "RowsPerStrip (278) is not ImageLength: 30"),
]


@pytest.mark.parametrize(("tag", "value", "fault"), VALUES)
def test_a_wrong_value_is_named(tag: int, value: int, fault: str) -> None:
    assert faults(with_entry(tag, value=value)) == (f"page 1: {fault}",)


NAMES = {
    254: "NewSubFileType", 256: "ImageWidth", 257: "ImageLength", 258: "BitsPerSample", 259: "Compression",
    262: "PhotometricInterpretation", 266: "FillOrder", 273: "StripOffsets", 277: "SamplesPerPixel",
    278: "RowsPerStrip", 279: "StripByteCounts", 282: "XResolution", 283: "YResolution", 292: "T4Options",
    296: "ResolutionUnit", 297: "PageNumber",
}  # fmt: skip


@pytest.mark.parametrize("tag", NAMES)
def test_a_missing_tag_is_named(tag: int) -> None:
    assert faults(file({tag: None})) == (f"page 1: {NAMES[tag]} ({tag}) is missing",)


@pytest.mark.parametrize("tag", NAMES)
@pytest.mark.parametrize("at", [8, SECOND], ids=["first", "second"])
def test_a_wrong_type_is_named(tag: int, at: int) -> None:
    page = 1 if at == 8 else 2
    (fault,) = faults(with_entry(tag, kind=2, at=at))
    assert fault.startswith(f"page {page}: {NAMES[tag]} ({tag}) has type 2, not ")


@pytest.mark.parametrize("tag", sorted(set(NAMES) - {273, 279, 257, 278, 297}))
def test_a_wrong_count_is_named(tag: int) -> None:
    (fault,) = faults(with_entry(tag, count=0))
    assert fault == f"page 1: {NAMES[tag]} ({tag}) has no value"
    assert faults(with_entry(tag, count=1 << 24)) == (
        f"page 1: {NAMES[tag]} ({tag}) leads beyond the end of the file",
    )


@pytest.mark.parametrize(
    ("tags", "fault"),
    [
        ({282: tiff.fraction(300)}, "XResolution (282) is 300, not 200 or 204"),
        ({283: tiff.fraction(391)}, "YResolution (283) is 391, not 98 or 100 or 196 or 200"),
        ({283: Value(tiff.RATIONAL, 1, bytes(8))}, "YResolution (283) is unreadable, not 98 or 100 or 196 or 200"),
        ({297: shorts(0, 0)}, "PageNumber (297) is 0, 0, not 0, 1"),
        ({257: longs(31), 278: longs(31)}, "it has 30 lines, where ImageLength (257) is 31"),
        ({279: longs(1 << 20)}, f"its strip reaches to octet {(1 << 20) + 222}, beyond the end of the file"),
    ],
)
def test_a_wrong_value_beside_the_directory_is_named(tags: Tags, fault: str) -> None:
    assert faults(file(tags)) == (f"page 1: {fault}",)


def mh(words: str) -> bytes:
    return fax_encoder.octets(words).translate(REVERSED)


def no_lines(found: int) -> tuple[str, ...]:
    """The faults of bits that are coded in another way, in which by chance so many lines are found."""
    return (
        "no EOL stands before its first line",
        f"it has {found} lines, where ImageLength (257) is 30",
        f"{found} of its lines are no MH of 1728 dots",
    )


LINES = [fax_encoder.line(row) for row in ROWS]
WITH_EOL = "".join(fax_encoder.EOL + line for line in LINES)
ALIGNED = fax_encoder.mh(ROWS, aligned=True).translate(REVERSED)


@pytest.mark.parametrize(
    ("strip", "tags", "expected"),
    [
        (mh(WITH_EOL + 6 * fax_encoder.EOL), {}, ()),
        (ALIGNED, {292: longs(4)}, ()),
        (mh(WITH_EOL), {292: longs(4)}, ("T4Options (292) is 4, but not every EOL ends at an octet's end",)),
        (
            ALIGNED + 6 * b"\0\0\x80",
            {292: longs(4)},
            ("an RTC ends it, which T4Options (292) 4 forbids",),
        ),
        (mh(WITH_EOL).translate(REVERSED), {}, no_lines(22)),
        (mh("".join(LINES)), {}, no_lines(1)),
        (mh(WITH_EOL[12:]), {}, ("no EOL stands before its first line",)),
        (mh(WITH_EOL + fax_encoder.EOL + LINES[0]), {}, ("it has 31 lines, where ImageLength (257) is 30",)),
        (mh(WITH_EOL.replace(LINES[20], LINES[20] + "0111")), {}, ("1 of its lines are no MH of 1728 dots",)),
        (fax_encoder.mmr(ROWS).translate(REVERSED), {}, no_lines(1)),
    ],
    ids=["RTC", "aligned", "unaligned", "aligned RTC", "fill order", "no EOL", "first EOL", "lines", "line", "MMR"],
)  # fmt: skip
def test_faults_of_the_bits_are_named(strip: bytes, tags: Tags, expected: tuple[str, ...]) -> None:
    found = faults(file(tags, [strip]))
    assert found == tuple(f"page 1: {fault}" for fault in expected)


def test_faults_of_the_layout_are_named() -> None:
    assert faults(b"MM\0*" + FILE[4:])[0] == "file: its octets are in the order MM, not II"
    assert faults(file(strips=[STRIP[:90], STRIP[90:]])) == ("page 1: it has 2 strips, not one",)
    moved = bytearray(FILE[:8] + b"\0\0" + FILE[8:])
    struct.pack_into("<I", moved, 4, 10)
    assert "file: its first directory is at octet 10, not 8" in faults(bytes(moved))
    swapped = bytearray(FILE)
    swapped[10:22], swapped[22:34] = FILE[22:34], FILE[10:22]
    assert faults(bytes(swapped)) == ("page 1: its tags are not in ascending order",)
    apart = FILE + FILE[206:214]
    place = apart.index(struct.pack("<HHI", 282, 5, 1)) + 8
    apart = apart[:place] + struct.pack("<I", len(FILE)) + apart[place + 4 :]
    assert faults(apart) == ("page 1: XResolution (282) does not stand between its directory and its strip",)


def test_a_directory_behind_its_strip_is_named() -> None:
    one = file()
    size = len(one) - len(STRIP) - 8
    head = bytearray(one[8 : 8 + size])
    for tag, new in ((273, 8), (282, 8 + len(STRIP) + size - 16), (283, 8 + len(STRIP) + size - 8)):
        place = head.index(struct.pack("<H", tag))
        struct.pack_into("<I", head, place + 8, new)
    found = faults(b"II*\0" + struct.pack("<I", 8 + len(STRIP)) + STRIP + bytes(head))
    assert any("first directory is at octet" in fault for fault in found)
    assert any("its strip is at octet 8, before the end of its directory" in fault for fault in found)


def test_several_faults_are_all_named() -> None:
    tags: Tags = {262: shorts(1), 266: None, 283: tiff.fraction(300), 278: shorts(29), 297: shorts(1, 1)}
    assert faults(file(tags)) == (
        "page 1: PhotometricInterpretation (262) is 1, not 0",
        "page 1: FillOrder (266) is missing",
        "page 1: YResolution (283) is 300, not 98 or 100 or 196 or 200",
        "page 1: PageNumber (297) is 1, 1, not 0, 1",
        "page 1: RowsPerStrip (278) is not ImageLength: 30",
    )


def test_a_file_that_is_no_tiff_has_that_fault() -> None:
    assert faults(b"%PDF-1.7") == ("file: not a TIFF: it does not begin with II or MM and 42",)
    assert faults(FILE[:SECOND]) == (
        f"file: the TIFF ends before its directory at octet {SECOND}",
        "page 1: PageNumber (297) is 0, 2, not 0, 1",
    )
