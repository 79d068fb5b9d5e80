"""Pages out of TIFFs: every form that a fax may have, office machines' too, and each refusal with its reason."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests import fax_encoder
from tests.fax_files import Tags, fax_tags, rows_of, tiff_file
from tests.fax_pages import written_page

from lanpost.content.fax import tiff
from lanpost.content.fax.bits import INVERTED, REVERSED
from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.profile_s import write_profile_f, write_profile_s
from lanpost.content.fax.reading import Damage, read_pages
from lanpost.content.fax.tiff import Value, longs, shorts
from lanpost.errors import InvalidFax

PAGE = written_page(48)
ROWS = rows_of(PAGE)
MH, MR, MMR = fax_encoder.mh(ROWS), fax_encoder.mr(ROWS, 2), fax_encoder.mmr(ROWS)
UNMARKED = b"".join(fax_encoder.octets(fax_encoder.line(row)) for row in ROWS)
T4 = tiff.T4_OPTIONS


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidFax) as caught:
        list(read_pages(data))
    return str(caught.value)


@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize(
    ("compression", "data", "tags"),
    [
        (2, UNMARKED, {}),
        (3, MH, {}),
        (3, MH + fax_encoder.octets(6 * fax_encoder.EOL), {T4: longs(0)}),
        (3, fax_encoder.mh(ROWS, aligned=True), {T4: longs(4)}),
        (3, MR, {T4: longs(1)}),
        (3, fax_encoder.mr(ROWS, 2, aligned=True), {T4: longs(5)}),
        (4, MMR, {}),
        (4, MMR, {tiff.T6_OPTIONS: longs(0), tiff.NEW_SUBFILE_TYPE: longs(2)}),
    ],
    ids=["MH without EOL", "MH", "MH with RTC", "MH aligned", "MR", "MR aligned", "MMR", "MMR, more tags"],
)
def test_every_coding_of_s_and_f_is_read(compression: int, data: bytes, tags: Tags, fill_order: int) -> None:
    octets = data if fill_order == 1 else data.translate(REVERSED)
    file = tiff_file((fax_tags(PAGE, compression, {tiff.FILL_ORDER: shorts(fill_order), **tags}), [octets]))
    damages: list[Damage] = []
    assert list(read_pages(file, damages.append)) == [PAGE]
    assert list(read_pages(memoryview(file))) == [PAGE]
    assert not damages


def test_pages_of_profiles_s_and_f_come_back() -> None:
    pages = [written_page(40, seed=seed, y_dpi=y_dpi) for seed, y_dpi in ((1, 98), (2, 196), (3, 98))]
    assert list(read_pages(b"".join(write_profile_s(pages, 3)))) == pages
    pages = [written_page(40, width=2432), written_page(40, width=4864, x_dpi=400, y_dpi=400), written_page(9)]
    assert list(read_pages(b"".join(write_profile_f(pages, 3)))) == pages


def test_big_endian_files_are_read() -> None:
    tags = {
        256: Value(tiff.SHORT, 1, b"\x06\xc0"),
        257: Value(tiff.SHORT, 1, b"\0\x30"),
        259: Value(tiff.SHORT, 1, b"\0\4"),
        262: Value(tiff.SHORT, 1, b"\0\0"),
        279: longs(len(MMR), order=">"),
        282: Value(tiff.RATIONAL, 1, b"\0\0\0\xcc\0\0\0\1"),
        283: Value(tiff.RATIONAL, 1, b"\0\0\0\x62\0\0\0\1"),
    }
    at = 8 + len(tiff.write_directory(8, tags | {273: longs(0)}, 0, ">"))
    tags[273] = longs(at, order=">")
    file = tiff.write_header(">") + tiff.write_directory(8, tags, 0, ">") + MMR
    assert list(read_pages(file)) == [PAGE]


def test_strips_make_one_page() -> None:
    strips = [fax_encoder.mmr(ROWS[at : at + 20]) for at in (0, 20, 40)]
    file = tiff_file((fax_tags(PAGE, 4, {tiff.ROWS_PER_STRIP: shorts(20)}), strips))
    assert list(read_pages(file)) == [PAGE]


def test_a_page_that_calls_black_white_is_turned() -> None:
    rows = fax_encoder.rows_of(PAGE.raster.translate(INVERTED), PAGE.width)
    file = tiff_file((fax_tags(PAGE, 4, {tiff.PHOTOMETRIC: shorts(1)}), [fax_encoder.mmr(rows)]))
    assert list(read_pages(file)) == [PAGE]


def test_padding_stays_white_when_a_page_is_turned() -> None:
    page = FaxPage(12, 2, 204, 98, b"\xff\xf0\0\0")
    rows = ["0" * 12, "1" * 12]
    file = tiff_file((fax_tags(page, 4, {tiff.PHOTOMETRIC: shorts(1)}), [fax_encoder.mmr(rows)]))
    assert list(read_pages(file)) == [page]


def test_a_page_scanned_upside_down_is_turned() -> None:
    page = FaxPage(16, 2, 204, 98, b"\xf0\0\x0f\1")
    tags = fax_tags(page, 4, {tiff.ORIENTATION: shorts(3)})
    file = tiff_file((tags, [fax_encoder.mmr(rows_of(page))]))
    assert [each.raster for each in read_pages(file)] == [b"\x80\xf0\0\x0f"]
    tags[tiff.ORIENTATION] = shorts(6)
    assert [
        (each.width, each.height, each.x_dpi)
        for each in read_pages(tiff_file((tags, [fax_encoder.mmr(rows_of(page))])))
    ] == [(2, 16, 98)]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, (204, 98)),
        ({282: None, 283: None}, (204, 98)),
        ({282: Value(tiff.RATIONAL, 1, bytes(8))}, (204, 98)),
        ({296: shorts(3), 282: tiff.fraction(80), 283: tiff.fraction(77)}, (203, 196)),
        ({296: shorts(1), 282: tiff.fraction(1), 283: tiff.fraction(2)}, (204, 98)),
        ({282: shorts(200), 283: shorts(100)}, (200, 100)),
    ],
)
def test_resolutions_are_read_or_guessed(tags: Tags, expected: tuple[int, int]) -> None:
    (page,) = read_pages(tiff_file((fax_tags(PAGE, 4, tags), [MMR])))
    assert (page.x_dpi, page.y_dpi) == expected


def test_thumbnails_are_passed_over() -> None:
    thumbnail = (fax_tags(PAGE, 4, {tiff.NEW_SUBFILE_TYPE: longs(1)}), [MMR])
    assert list(read_pages(tiff_file(thumbnail, (fax_tags(PAGE, 4), [MMR])))) == [PAGE]
    assert "thumbnails" in refusal(tiff_file(thumbnail))


def test_damaged_lines_are_told_of_the_page_that_has_them() -> None:
    words = [fax_encoder.line(row) for row in ROWS]
    words[7] = "1" * 30
    data = fax_encoder.octets("".join(fax_encoder.EOL + each for each in words))
    damages: list[Damage] = []
    pages = list(read_pages(tiff_file((fax_tags(PAGE, 3), [MH]), (fax_tags(PAGE, 3), [data])), damages.append))
    assert pages[0] == PAGE
    assert damages == [Damage(2, 1, 48)]
    assert str(damages[0]) == "page 2: 1 of 48 lines damaged"
    assert pages[1].raster[7 * 216 : 8 * 216] == PAGE.raster[6 * 216 : 7 * 216]


def test_a_page_mostly_damaged_is_refused() -> None:
    assert "18 of its 48 lines are damaged" in refusal(tiff_file((fax_tags(PAGE, 3), [fax_encoder.mh(ROWS[:30])])))


@pytest.mark.parametrize(
    ("tags", "profile"),
    [
        ({tiff.COMPRESSION: shorts(9)}, "profile J"),
        ({tiff.COMPRESSION: shorts(34661)}, "profile J"),
        ({tiff.COMPRESSION: shorts(10), tiff.PHOTOMETRIC: shorts(10)}, "profile L"),
        ({tiff.COMPRESSION: shorts(7), tiff.PHOTOMETRIC: shorts(10)}, "profile C"),
        ({tiff.IMAGE_LAYER: longs(2, 1)}, "profile M"),
    ],
)
def test_the_other_profiles_are_refused_by_name(tags: Tags, profile: str) -> None:
    said = refusal(tiff_file((fax_tags(PAGE, 4, tags), [MMR])))
    assert profile in said
    assert "send profile S or F" in said
    assert said.isascii()


def test_a_profile_told_in_the_global_parameters_is_refused() -> None:
    file = tiff_file((fax_tags(PAGE, 4, {tiff.GLOBAL_PARAMETERS: longs(0)}), [MMR]))
    place = file.index(b"\x90\x01\x04\0\1\0\0\0") + 8
    for profile, name in ((6, "M"), (3, "J")):
        parameters = tiff.write_directory(0, {tiff.FAX_PROFILE: Value(tiff.BYTE, 1, bytes([profile]))}, 0)
        data = file[:place] + len(file).to_bytes(4, "little") + file[place + 4 :] + parameters
        assert f"profile {name}" in refusal(data)
    parameters = tiff.write_directory(0, {tiff.FAX_PROFILE: Value(tiff.BYTE, 1, b"\2")}, 0)
    data = file[:place] + len(file).to_bytes(4, "little") + file[place + 4 :] + parameters
    assert list(read_pages(data)) == [PAGE]


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({tiff.COMPRESSION: shorts(3), T4: longs(2)}, "uncompressed mode"),
        ({tiff.T6_OPTIONS: longs(2)}, "uncompressed mode"),
        ({tiff.COMPRESSION: shorts(6)}, "JPEG of the old kind"),
        ({tiff.COMPRESSION: shorts(50013)}, "compression 50013"),
        ({tiff.IMAGE_WIDTH: None}, "width"),
        ({tiff.IMAGE_LENGTH: shorts(0)}, "no dots"),
        ({tiff.IMAGE_LENGTH: longs(0xFFFFFFFF)}, "too large"),
        ({tiff.IMAGE_WIDTH: longs(5000)}, "5000 x 48"),
        ({tiff.STRIP_OFFSETS: None}, "where its page is"),
        ({tiff.STRIP_OFFSETS: longs(1 << 30)}, "beyond the end"),
        ({tiff.IMAGE_WIDTH: Value(tiff.ASCII, 4, b"1728")}, "tag 256"),
        ({tiff.COMPRESSION: shorts(1), tiff.BITS_PER_SAMPLE: shorts(16)}, "16 bits"),
    ],
)
def test_each_refusal_has_its_reason(tags: Tags, reason: str) -> None:
    assert reason in refusal(tiff_file((fax_tags(PAGE, 4, tags), [MMR])))


def picture() -> Image.Image:
    grey = Image.new("L", (200, 100), 255)
    grey.paste(0, (20, 10, 60, 90))
    grey.paste(100, (100, 10, 140, 90))
    grey.paste(150, (150, 10, 190, 90))
    return grey


def saved(image: Image.Image, **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, "TIFF", dpi=(150, 150), **options)
    return written.getvalue()


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey": lambda image: image,
    "bilevel": lambda image: image.point([0] * 128 + [255] * 128, "1"),
    "colour": lambda image: image.convert("RGB"),
    "alpha": lambda image: image.convert("RGBA"),
    "palette": lambda image: image.convert("P"),
    "cmyk": lambda image: image.convert("CMYK"),
    "colours": lambda image: image.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE),
}
PICTURES = [
    (kind, compression)
    for kind in KINDS
    for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg")
    if compression != "jpeg" or kind in ("grey", "colour", "cmyk")
]


@pytest.mark.parametrize(("kind", "compression"), PICTURES)
def test_office_machines_tiffs_are_read(kind: str, compression: str) -> None:
    image = KINDS[kind](picture())
    (page,) = read_pages(saved(image, compression=compression))
    assert (page.width, page.height, page.x_dpi, page.y_dpi) == (200, 100, 150, 150)
    dots = fax_encoder.rows_of(page.raster, page.width)[50]
    for at, dot in ((40, "1"), (120, "1"), (170, "0"), (5, "0"), (80, "0")):
        assert dots[at] == dot, at


def test_what_is_transparent_is_paper() -> None:
    image = Image.new("RGBA", (100, 10), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (10, 0, 30, 10))
    (page,) = read_pages(saved(image))
    assert fax_encoder.rows_of(page.raster, 100)[5] == "0" * 10 + "1" * 20 + "0" * 70


def test_a_page_wider_than_any_fax_is_made_smaller() -> None:
    image = Image.new("L", (9000, 60), 255)
    image.paste(0, (0, 0, 4500, 60))
    (page,) = read_pages(saved(image, compression="packbits"))
    assert (page.width, page.height, page.x_dpi) == (4500, 30, 75)
    assert fax_encoder.rows_of(page.raster, page.width)[9] == "1" * 2250 + "0" * 2250


def test_a_picture_that_is_cut_off_is_refused() -> None:
    data = saved(picture(), compression="tiff_lzw")
    directory = next(tiff.directories(data))
    at = directory.required(tiff.STRIP_OFFSETS, "strip")
    end = at + directory.required(tiff.STRIP_BYTE_COUNTS, "size")
    assert "LZW" in refusal(data[:at] + b"\xff" * (end - at) + data[end:])


def why_not(data: bytes) -> str:
    """Empty: there are pages."""
    try:
        assert list(read_pages(data))
    except InvalidFax as error:
        return str(error)
    return ""


FILE = b"".join(write_profile_s([written_page(12, seed=5), written_page(12, seed=6)], 2))
PICTURE = saved(picture().convert("RGB"), compression="jpeg")


@settings(max_examples=300)
@given(
    file=st.sampled_from([FILE, PICTURE, saved(picture(), compression="packbits")]),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=4)), max_size=4),
    end=st.integers(0, 1 << 16),
)
def test_any_octets_are_pages_or_refused(file: bytes, changes: list[tuple[int, bytes]], end: int) -> None:
    data = bytearray(file)
    for at, octets in changes:
        at %= min(len(data), 600)  # the directories are there, or the beginning of the strips
        data[at : at + len(octets)] = octets
    if end % 4 == 0:
        del data[end % len(data) :]
    reason = why_not(bytes(data))
    assert reason.isprintable()
    assert len(reason) < 200  # it is to stand in an SMTP reply
