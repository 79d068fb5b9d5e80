"""What machines read by the words in the chart, and what is drawn for them."""

from __future__ import annotations

import pytest

from lanpost.content.fax.page import FaxPage
from lanpost.content.fax.reach import A3, A4, AS_PROFILE_S, B4, NOTHING_KNOWN, Drawing, common, reach_of


def page(width: int, x_dpi: int = 204, y_dpi: int = 196) -> FaxPage:
    return FaxPage(width, 1, x_dpi, y_dpi, bytes((width + 7) // 8))


@pytest.mark.parametrize(
    ("words", "superfine", "drawing"),
    [
        ("", True, AS_PROFILE_S),
        ("a3width resolution8x15", True, AS_PROFILE_S),  # nothing of that goes without profile F
        ("twodimensional", True, AS_PROFILE_S),
        ("twodimensional b4width", False, Drawing((A4, B4))),
        ("twodimensional a3width", False, Drawing((A4, B4, A3))),
        ("twodimensional resolution8x15", True, Drawing((A4,), superfine=True)),
        ("twodimensional resolution8x15", False, AS_PROFILE_S),
    ],
)
def test_pages_are_drawn_as_large_and_fine_as_the_chart_says(words: str, superfine: bool, drawing: Drawing) -> None:
    assert reach_of(words.split()).drawing(superfine=superfine) == drawing


@pytest.mark.parametrize(
    ("words", "readable", "not_readable"),
    [
        ("", [page(1728)], [page(2048), page(1728, 204, 391)]),
        ("twodimensional", [page(1728)], [page(2048), page(1728, 204, 391), page(2592, 300, 300)]),
        ("twodimensional b4width", [page(2048)], [page(2432)]),
        ("twodimensional a3width", [page(2048), page(2432)], [page(3648, 300, 300)]),
        ("twodimensional resolution8x15", [page(1728, 204, 391)], [page(3456, 408, 391)]),
        ("twodimensional resolution300x300", [page(2592, 300, 300)], [page(3072, 300, 300)]),
        ("twodimensional resolution400x400 a3width", [page(4864, 400, 400), page(3456, 408, 391)], [page(9, 204)]),
    ],
)
def test_a_fax_passes_as_it_is_where_all_of_it_is_read(
    words: str, readable: list[FaxPage], not_readable: list[FaxPage]
) -> None:
    reach = reach_of(words.split())
    assert [reach.fault(each) for each in readable] == [""] * len(readable)
    assert all(reach.fault(each) for each in not_readable)


def test_several_machines_get_what_all_of_them_read() -> None:
    one, other = (
        reach_of(words.split())
        for words in ("twodimensional a3width resolution8x15 resolution300x300", "twodimensional b4width")
    )
    assert common([one, other]) == other
    assert common([one, NOTHING_KNOWN]).drawing(superfine=True) == AS_PROFILE_S
    assert common([]) == NOTHING_KNOWN
