from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.chart_record import COLUMNS, entry_of, texts_of, time_of, time_text
from lanpost.errors import InvalidBinding, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.endpoint import Endpoint

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)
LATER = NOW + timedelta(hours=24, microseconds=1)


@pytest.mark.parametrize(
    "entry",
    [
        Entry(MailAddress.parse("fax1@office.lan")),
        Entry(
            MailAddress.parse('"a, b"@büro.lan'),
            Binding(
                MailAddress.parse('"a, b"@büro.lan'),
                Endpoint("fe80::7", 2525, "eth0"),
                NOW,
                LATER,
                Source.DHCP,
                "dhcp@office.lan",
            ),
        ),
    ],
)
def test_an_entry_comes_back_from_its_texts(entry: Entry) -> None:
    texts = texts_of(entry)
    assert tuple(texts) == COLUMNS
    assert entry_of(texts, "other.lan", LATER) == entry


def test_what_is_left_out_is_what_an_administrator_would_have_set() -> None:
    fax1 = MailAddress.parse("fax1@office.lan")
    assert entry_of({"address": " fax1 ", "endpoint": " 10.0.0.7 "}, "office.lan", NOW) == Entry(
        fax1, Binding(fax1, Endpoint("10.0.0.7"), NOW, None, Source.ADMINISTRATOR, "")
    )
    blanks = {
        "address": "fax1",
        "endpoint": "10.0.0.7",
        "updated": " ",
        "expires": " ",
        "source": " ",
        "owner": " ",
    }
    assert entry_of(blanks, "office.lan", NOW).binding == Binding(fax1, Endpoint("10.0.0.7"), NOW)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"endpoint": "10.0.0.7"}, "not a mail address"),
        ({"address": "fax1", "endpoint": "printer"}, "host names are not looked up"),
        ({"address": "fax1", "endpoint": "10.0.0.7", "expires": "2026-11-23 20:15"}, "expires .* with its zone"),
        ({"address": "fax1", "endpoint": "10.0.0.7", "updated": "yesterday"}, "updated .* with its zone"),
        ({"address": "fax1", "endpoint": "10.0.0.7", "expires": "0001-01-01T00:00:00+23:00"}, "expires"),
        ({"address": "fax1", "endpoint": "10.0.0.7", "expires": "2020-01-01T00:00:00Z"}, "not after updated"),
        ({"address": "fax1", "endpoint": "10.0.0.7", "source": "me"}, "one of agent, administrator"),
        ({"address": "fax1", "endpoint": "10.0.0.7", "owner": "\ud800"}, "owner"),
    ],
)
def test_a_wrong_text_is_named_with_its_remedy(texts: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        entry_of(texts, "office.lan", NOW)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-3))])))
def test_times_are_exact(time: datetime) -> None:
    try:
        time.astimezone(UTC)
    except OverflowError:
        return
    assert time_of("updated", time_text(time)) == time


@given(st.text())
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        time = time_of("updated", text)
    except InvalidBinding:
        return
    assert time is None or time.tzinfo is UTC
