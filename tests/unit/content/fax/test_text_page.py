"""Plain text becomes pages that hold all of it, and nothing runs off the paper."""

from __future__ import annotations

import pytest

from lanpost.content.fax.page import FINE, STANDARD, FaxPage
from lanpost.content.fax.picture import image_of
from lanpost.content.fax.text_page import MARGIN, pages_of_text, wrapped


def ink(page: FaxPage) -> int:
    return int.from_bytes(page.raster, "big").bit_count()


@pytest.mark.parametrize(("fine", "rows", "y_dpi"), [(False, 1146, STANDARD), (True, 2292, FINE)])
def test_a_page_is_a4_at_both_resolutions(fine: bool, rows: int, y_dpi: int) -> None:
    (page,) = pages_of_text("Hello, fax!\n", fine)
    assert (page.width, page.height, page.x_dpi, page.y_dpi) == (1728, rows, 204, y_dpi)
    assert 100 < ink(page) < 20_000  # black letters on white paper, not the other way round


def test_the_first_line_is_at_the_top_left_and_inside_the_margins() -> None:
    (page,) = pages_of_text("W" * 500, True)
    left, top, right, bottom = image_of(page).point(lambda dot: 255 - dot).getbbox() or (0, 0, 0, 0)
    assert left >= MARGIN
    assert right <= 1728 - MARGIN
    assert 130 <= top <= 150
    assert bottom < 500


def test_long_text_goes_on_on_further_pages_and_a_form_feed_begins_one() -> None:
    lines = "".join(f"line {number}\n" for number in range(100))
    assert len(list(pages_of_text(lines, False))) == 3
    assert len(list(pages_of_text("one\f two\f", False))) == 2
    assert len(list(pages_of_text("", False))) == 1


def test_lines_break_at_words_and_long_words_anywhere_and_no_letter_is_lost() -> None:
    assert list(wrapped("the quick brown fox", 10)) == ["the quick", "brown fox"]
    assert list(wrapped("abcdefghij", 4)) == ["abcd", "efgh", "ij"]
    assert list(wrapped("日本語の", 4)) == ["日本", "語の"]  # each takes two columns
    assert list(wrapped("a\tb\n\nc", 20)) == ["a       b", "", "c"]


@pytest.mark.parametrize("text", ["Grüße, ελληνικά, русский", "日本語", "\x00\x1b[31m", "e\u0301", "\ud800"])
def test_any_character_can_be_on_a_page(text: str) -> None:
    (page,) = pages_of_text(text, False)
    assert ink(page) > 0


def test_letters_beyond_ascii_differ_from_each_other() -> None:
    first, second = (next(pages_of_text(text, True)).raster for text in ("ж", "я"))
    assert first != second
