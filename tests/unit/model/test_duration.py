"""Times with their unit."""

from __future__ import annotations

import pytest

from lanpost.errors import InvalidValue
from lanpost.model.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("20ms", 0.02), ("5s", 5), ("1.5 m", 90), ("24h", 86400), ("2w", 1209600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "0s", "-5s", "5 years", "9" * 5000 + "s", "٣s", 5, None, ["5s"]])
def test_other_things_get_the_remedy(text: object) -> None:
    with pytest.raises(InvalidValue, match="with its unit"):
        parse_duration(text)
