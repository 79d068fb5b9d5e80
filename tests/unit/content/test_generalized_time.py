"""GeneralizedTime, read and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.generalized_time import time_of, time_text
from lanpost.errors import InvalidValue


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_comes_back_exactly(time: datetime) -> None:
    assert time_of(time_text(time)) == time


def test_decimals_are_as_many_as_needed_and_the_zone_is_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert time_text(datetime(2026, 11, 24, 5, 15, tzinfo=tokyo)) == "20261123201500Z"
    assert time_text(datetime(2026, 11, 23, 20, 15, 0, 500_000, UTC)) == "20261123201500.5Z"
    assert time_text(datetime(999, 1, 2, tzinfo=UTC)) == "09990102000000Z"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026112320Z", datetime(2026, 11, 23, 20, tzinfo=UTC)),
        ("2026112320.5Z", datetime(2026, 11, 23, 20, 30, tzinfo=UTC)),
        ("202611232015,5Z", datetime(2026, 11, 23, 20, 15, 30, tzinfo=UTC)),
        ("20261123201500.1234567Z", datetime(2026, 11, 23, 20, 15, 0, 123456, UTC)),
        ("20261123201500+0900", datetime(2026, 11, 23, 11, 15, tzinfo=UTC)),
        ("20261123201500-01", datetime(2026, 11, 23, 21, 15, tzinfo=UTC)),
        ("20161231235960Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_every_form_is_read(text: str, time: datetime) -> None:
    assert time_of(text) == time


@pytest.mark.parametrize("text", ["", "2026", "20261123201500", "20261332201500Z", "20261123201500.Z", "x" * 99])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="is no time"):
        time_of(text)
