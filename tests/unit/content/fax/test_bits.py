"""MH, MR and MMR: the bits are those of T.4 and T.6, and give the same dots again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import fax_encoder
from tests.fax_pages import pages, photograph, row, written_page

from lanpost.content.fax import careful
from lanpost.content.fax.bits import REVERSED, Bits, Coding, decode, encode, encode_mh, encode_mmr
from lanpost.content.fax.careful import Patience
from lanpost.content.fax.page import FaxPage
from lanpost.errors import InvalidFax

CODINGS = list(Coding)


def by_the_book(page: FaxPage, coding: Coding, *, aligned: bool = False) -> bytes:
    rows = fax_encoder.rows_of(page.raster, page.width)
    if coding is Coding.MH:
        return fax_encoder.mh(rows, aligned=aligned)
    if coding is Coding.MR:
        return fax_encoder.mr(rows, 4 if page.y_dpi > 150 else 2, aligned=aligned)
    if coding is Coding.MMR:
        return fax_encoder.mmr(rows)
    return b"".join(fax_encoder.octets(fax_encoder.line(each)) for each in rows)


def read_carefully(data: bytes, page: FaxPage, coding: Coding) -> careful.Rows:
    if coding is Coding.MH:
        return careful.read_lines(data, page.width, page.height, {}, Patience())
    if coding is Coding.MR:
        return careful.read_tagged_lines(data, page.width, page.height, Patience())
    kind = careful.Unmarked.BY_REFERENCE if coding is Coding.MMR else careful.Unmarked.ALIGNED
    return careful.read_unmarked_lines(data, page.width, page.height, kind, Patience())


@settings(max_examples=150)
@given(page=pages(), coding=st.sampled_from(CODINGS), aligned=st.booleans())
def test_the_bits_are_those_of_an_independent_encoder(page: FaxPage, coding: Coding, aligned: bool) -> None:
    assert encode(page, coding, aligned=aligned) == by_the_book(page, coding, aligned=aligned)


def test_every_length_of_a_run_has_its_code_word() -> None:
    width = 4864
    rows = [row(width, [dots]) for dots in range(0, 2700, 3)] + [
        row(width, [0, dots]) for dots in range(1, 2700, 3)
    ]
    page = FaxPage(width, len(rows), 204, 196, b"".join(rows))
    data = by_the_book(page, Coding.MH)
    assert encode(page, Coding.MH) == data
    assert read_carefully(data, page, Coding.MH) == careful.Rows(page.raster, 0)


@settings(max_examples=100)
@given(page=pages(), coding=st.sampled_from(CODINGS), aligned=st.booleans())
def test_dots_come_back_as_they_were(page: FaxPage, coding: Coding, aligned: bool) -> None:
    data = encode(page, coding, aligned=aligned)
    found = decode(Bits(data, coding, page.width, page.height, aligned), Patience())
    assert (found.raster, found.damaged) == (page.raster, 0)
    assert read_carefully(data, page, coding) == careful.Rows(page.raster, 0)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("page", [written_page(), photograph(100)], ids=["text", "photograph"])
def test_a_whole_page_needs_no_reading_code_by_code(page: FaxPage, coding: Coding) -> None:
    data = encode(page, coding)
    patience = Patience(0)  # would be spent by one line
    assert decode(Bits(data, coding, page.width, page.height), patience).raster == page.raster


def test_profile_s_begins_each_line_with_eol_and_ends_without_rtc() -> None:
    page = written_page(20)
    bits = careful.bits_of(encode_mh(page).translate(REVERSED))
    assert bits.startswith(fax_encoder.EOL)
    lines = careful.lines_of(bits)
    assert len(lines) == 20
    assert all(lines)


def test_mmr_is_written_least_significant_bit_first() -> None:
    page = written_page(20)
    assert encode_mmr(page).translate(REVERSED) == by_the_book(page, Coding.MMR)


@given(page=pages(st.sampled_from([100, 1728])), k=st.integers(1, 9), aligned=st.booleans())
def test_any_k_of_mr_is_read(page: FaxPage, k: int, aligned: bool) -> None:
    data = fax_encoder.mr(fax_encoder.rows_of(page.raster, page.width), k, aligned=aligned)
    found = decode(Bits(data, Coding.MR, page.width, page.height, aligned), Patience())
    assert (found.raster, found.damaged) == (page.raster, 0)


@pytest.mark.parametrize(("coding", "behind"), [
    (Coding.MH, 6 * fax_encoder.EOL),
    (Coding.MH, "0" * 200 + 6 * fax_encoder.EOL),
    (Coding.MH, "0" * 77),
    (Coding.MR, 6 * (fax_encoder.EOL + "1")),
])  # fmt: skip
def test_rtc_and_fill_are_no_lines(coding: Coding, behind: str) -> None:
    page = written_page(60)
    data = fax_encoder.octets(careful.bits_of(by_the_book(page, coding)).rstrip("0") + "0000" + behind)
    for height in (60, 64):
        found = decode(Bits(data, coding, page.width, height), Patience(0 if height == 60 else 1 << 20))
        assert found.raster[: len(page.raster)] == page.raster
        assert found.damaged == height - 60


def test_mmr_without_eofb_is_whole() -> None:
    page = written_page(60)
    bits = careful.bits_of(by_the_book(page, Coding.MMR)).rstrip("0").removesuffix(2 * fax_encoder.EOL)
    found = decode(Bits(fax_encoder.octets(bits), Coding.MMR, page.width, 60), Patience(0))
    assert found == careful.Rows(page.raster, 0, is_plain=True)


def test_fill_between_lines_is_no_damage() -> None:
    page = written_page(60)
    rows = fax_encoder.rows_of(page.raster, page.width)
    data = fax_encoder.octets("".join("0" * 31 + fax_encoder.EOL + fax_encoder.line(each) for each in rows))
    assert decode(Bits(data, Coding.MH, page.width, 60), Patience()) == careful.Rows(page.raster, 0)


def damaged(page: FaxPage, lines: dict[int, str], *, k: int = 0) -> bytes:
    """MH, or MR with k, in which these lines' bits are others."""
    rows = fax_encoder.rows_of(page.raster, page.width)
    bits = ""
    for number, each in enumerate(rows):
        if not k:
            words = fax_encoder.line(each)
        elif number % k:
            words = "0" + fax_encoder.line_by_reference(each, rows[number - 1])
        else:
            words = "1" + fax_encoder.line(each)
        bits += fax_encoder.EOL + lines.get(number, words)
    return fax_encoder.octets(bits)


@pytest.mark.parametrize("words", ["", "0011010111", "1" * 40, fax_encoder.line("0" * 1728) + "0111", "0000000101"])
def test_a_damaged_line_costs_that_line(words: str) -> None:
    page = written_page(60)
    found = decode(Bits(damaged(page, {20: words}), Coding.MH, page.width, 60), Patience())
    expected = bytearray(page.raster)
    expected[20 * page.stride : 21 * page.stride] = page.raster[19 * page.stride : 20 * page.stride]
    assert found == careful.Rows(bytes(expected), 1)


def test_damaged_lines_leave_stderr_alone(capfd: pytest.CaptureFixture[str]) -> None:
    page = written_page(60)
    data = damaged(page, dict.fromkeys(range(10, 50), "0000000101"))
    assert decode(Bits(data, Coding.MH, page.width, 60), Patience()).damaged == 40
    assert capfd.readouterr() == ("", "")


def test_behind_a_damaged_line_of_mr_those_that_lean_on_it_are_lost() -> None:
    page = written_page(60)
    found = decode(Bits(damaged(page, {21: "0" + "1" * 5}, k=4), Coding.MR, page.width, 60), Patience())
    expected = bytearray(page.raster)
    expected[21 * page.stride : 24 * page.stride] = 3 * page.raster[20 * page.stride : 21 * page.stride]
    assert found == careful.Rows(bytes(expected), 3)


def test_uncompressed_mode_is_a_damage() -> None:
    page = written_page(60)
    found = decode(Bits(damaged(page, {21: "0" + "0000001111"}, k=2), Coding.MR, page.width, 60), Patience())
    assert found.damaged == 1


def test_mmr_is_lost_behind_a_damage() -> None:
    page = written_page(60)
    rows = fax_encoder.rows_of(page.raster, page.width)
    good = careful.bits_of(fax_encoder.mmr(rows[:40])).rstrip("0").removesuffix(2 * fax_encoder.EOL)
    found = decode(Bits(fax_encoder.octets(good + "0000000001111"), Coding.MMR, page.width, 60), Patience())
    assert found == careful.Rows(page.raster[: 40 * page.stride] + bytes(20 * page.stride), 20)


def test_a_black_line_may_lack_the_word_for_no_more_dots() -> None:
    black = row(1728, [0, 1728])
    page = FaxPage(1728, 10, 204, 98, row(1728, []) + 9 * black)
    words = fax_encoder.WHITE[0] + fax_encoder.BLACK[1728]
    found = decode(Bits(damaged(page, dict.fromkeys(range(1, 10), words)), Coding.MH, 1728, 10), Patience())
    assert found == careful.Rows(page.raster, 0)


@settings(max_examples=150)
@given(data=st.binary(max_size=400), coding=st.sampled_from(CODINGS), width=st.integers(1, 4864))
def test_any_octets_give_every_row(data: bytes, coding: Coding, width: int) -> None:
    found = decode(Bits(data, coding, width, 5), Patience())
    assert len(found.raster) == (width + 7) // 8 * 5
    assert 0 <= found.damaged <= 5


def test_a_document_is_not_read_code_by_code_without_end() -> None:
    page = written_page(60)
    rows = fax_encoder.rows_of(page.raster, page.width)
    common, uncommon = (Bits(fax_encoder.mr(rows, k), Coding.MR, page.width, 60) for k in (4, 60))
    patience = Patience(len(uncommon.data) * 3 // 2)
    assert decode(uncommon, patience).raster == page.raster
    with pytest.raises(InvalidFax, match="uncommon way"):
        decode(uncommon, patience)
    assert decode(common, patience).raster == page.raster


@pytest.mark.parametrize("aligned", [False, True])
def test_mh_that_should_have_eols_and_has_none_is_read(aligned: bool) -> None:
    page = written_page(60)
    lines = [fax_encoder.line(each) for each in fax_encoder.rows_of(page.raster, page.width)]
    data = b"".join(map(fax_encoder.octets, lines)) if aligned else fax_encoder.octets("".join(lines))
    found = decode(Bits(data, Coding.MH, page.width, 60), Patience())
    assert (found.raster, found.damaged) == (page.raster, 0)
