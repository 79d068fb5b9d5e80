"""What an entry may say for address books."""

from __future__ import annotations

import pytest

from lanpost.errors import InvalidDetails
from lanpost.model.details import MAX_VALUES, NO_DETAILS, Details


def test_names_are_canonical_and_pairs_are_sorted_and_told_once() -> None:
    details = Details.of([("O", "Acme"), ("facsimiletelephonenumber", "+81 3"), ("o", "Acme"), ("o", "AB")])
    assert list(details) == [("facsimileTelephoneNumber", "+81 3"), ("o", "AB"), ("o", "Acme")]
    assert details.values("o") == ("AB", "Acme")
    assert details.values("l") == ()


def test_no_details_are_false() -> None:
    assert Details.of([]) is NO_DETAILS
    assert not NO_DETAILS
    assert Details.of([("l", "x")])


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("userPassword", "x")], "is no detail; there are description,"),
        ([("o", " ")], "o is ' '; write 1 to 1024"),
        ([("o", "a\nb")], "printable"),
        ([("o", "x" * 1025)], "1024"),
        ([("o", str(number)) for number in range(MAX_VALUES + 1)], "at most 64 details, not 65"),
    ],
)
def test_what_is_no_detail_is_refused(pairs: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(InvalidDetails, match=said):
        Details.of(pairs)
