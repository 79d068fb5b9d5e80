"""The report tells what became of a fax, as text and as a page; cover and header lines tell whose it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from PIL import ImageChops

from lanpost.content.fax.furniture import Heading, cover_text, titled, with_header
from lanpost.content.fax.page import FINE, STANDARD, FaxPage
from lanpost.content.fax.picture import image_of
from lanpost.content.fax.text_page import pages_of_text
from lanpost.content.fax.transmission_report import Result, TransmissionReport

HEADING = Heading(
    "anna@office.lan", ("fax1@office.lan", "fax2@office.lan"), datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
)
(FIRST,) = pages_of_text("W" * 3000, False)
REPORT = TransmissionReport(
    HEADING,
    3,
    STANDARD,
    "S",
    120_000,
    1.25,
    [
        Result("fax1@office.lan", True, "10.0.0.7:25", "250 2.0.0 Ok", ("delivered: 250 2.0.0 Ok",)),
        Result("fax2@office.lan", False, "10.0.0.8:25", "554 5.6.1 cannot read " + "this fax " * 20),
    ],
    FIRST,
)


def test_the_text_tells_time_endpoint_pages_result_and_the_far_server_s_words() -> None:
    lines = list(REPORT.lines())
    text = "\n".join(lines)
    assert lines[0] == "TRANSMISSION REPORT: NOT OK"
    for told in (
        "2026-11-27 12:00, 1.2 s",
        "3 (standard, profile S, 120 kB)",
        "10.0.0.7:25",
        "250 2.0.0 Ok",
        "FAILED",
    ):
        assert told in text
    assert max(map(len, lines)) <= 70
    assert text.count("this fax") >= 18  # nothing of a long answer is lost


def test_all_good_is_ok() -> None:
    good = replace(REPORT, results=REPORT.results[:1])
    assert good.good
    assert next(good.lines()) == "TRANSMISSION REPORT: OK"


@pytest.mark.parametrize(("y_dpi", "rows"), [(FINE, 2292), (STANDARD, 1146)])
def test_the_page_holds_the_text_and_the_first_page_in_small(y_dpi: int, rows: int) -> None:
    page = REPORT.page(y_dpi)
    assert (page.width, page.height, page.y_dpi) == (1728, rows, y_dpi)
    image = image_of(page)
    below = image.crop((0, rows // 2, 1728, rows)).convert("L").point(lambda grey: 255 - grey)
    assert below.getbbox()
    assert page != replace(REPORT, first=None).page(y_dpi)


def test_the_preview_shows_where_there_is_print() -> None:
    rows = list(REPORT.preview())
    assert len(rows) == 28
    assert max(map(len, rows)) <= 40
    assert any("\u28ff" in row or "\u2836" in row or row.strip("\u2800") for row in rows[:20])
    assert not any(rows[-3:])


def test_each_page_has_its_number_at_the_top_and_keeps_what_is_below() -> None:
    pages = list(with_header([FIRST, FIRST], HEADING, 2))
    tops = [image_of(page).crop((0, 0, 1728, 22)).tobytes() for page in pages]
    assert tops[0] != tops[1]  # 1/2 and 2/2
    for page in pages:
        assert image_of(page).crop((0, 22, 1728, 1146)) == image_of(FIRST).crop((0, 22, 1728, 1146))


def test_a_wider_page_gets_its_header_across_its_width() -> None:
    wide = FaxPage(2592, 100, 300, 300, bytes(324 * 100))
    (page,) = with_header([wide], HEADING, 1)
    box = image_of(page).convert("L").point(lambda grey: 255 - grey).getbbox()
    assert (page.width, page.x_dpi, page.y_dpi) == (2592, 300, 300)
    assert box is not None
    assert box[2] > 2300


@pytest.mark.parametrize("fine", [False, True])
def test_a_cover_page_has_its_title_in_the_room_that_its_text_leaves(fine: bool) -> None:
    text = cover_text(HEADING, "Please read. " * 400, 3)
    plain = list(pages_of_text(text, fine))
    first, *others = titled(plain)
    assert others == plain[1:]
    assert (first.width, first.height, first.y_dpi) == (plain[0].width, plain[0].height, plain[0].y_dpi)
    changed = image_of(first).convert("L").point(lambda grey: 255 - grey)
    before = image_of(plain[0]).convert("L").point(lambda grey: 255 - grey)
    title = ImageChops.subtract(changed, before).getbbox()
    assert title is not None
    assert ImageChops.subtract(before, changed).getbbox() is None
    assert title[3] < before.getbbox()[1]  # type: ignore[index]
    assert title[3] - title[1] > 60 * first.y_dpi // 196


def test_the_cover_page_names_everybody_and_counts_itself() -> None:
    text = cover_text(HEADING, "Please read.", 3)
    for told in (
        "anna@office.lan",
        "fax1@office.lan",
        "fax2@office.lan",
        "2026-11-27",
        "3, with this one",
        "Please read.",
    ):
        assert told in text
