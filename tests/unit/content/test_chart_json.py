from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content import chart_json
from lanpost.content.chart_json import JsonWriter, json_of, read
from lanpost.content.chart_record import BadRecord
from lanpost.errors import InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)
FAX1 = MailAddress.parse("fax1@office.lan")
BOUND = Entry(FAX1, Binding(FAX1, Endpoint("10.0.0.7"), NOW))
OBJECT = '{"address": "fax1", "endpoint": "10.0.0.7"}'


def entries(text: str) -> Sequence[Entry | BadRecord]:
    return list(read(text.splitlines(keepends=True), "office.lan", NOW))


@pytest.mark.parametrize(
    "text",
    [
        f"[\n{OBJECT},\n{OBJECT}\n]\n",  # ours
        f"{OBJECT}\n\n{OBJECT}\n",  # JSON Lines
        f"[{OBJECT}, {OBJECT}]",
        f"\ufeff[{OBJECT}, {OBJECT}]",
        f"\ufeff[\n{OBJECT},\n{OBJECT}]\n"[:-2] + "\n]",
        json.dumps([json.loads(OBJECT)] * 2, indent=4),
        json.dumps([{**json.loads(OBJECT), "room": 3, "expires": None}] * 2, indent=4),
    ],
)
def test_every_layout_is_read(text: str) -> None:
    assert entries(text) == [BOUND, BOUND]


@pytest.mark.parametrize("text", ["", "[]", "[\n]\n", "\n\n[\n\n]"])
def test_no_entries(text: str) -> None:
    assert entries(text) == []


def test_a_bad_entry_is_named_and_the_others_are_read() -> None:
    found = entries(f'[\n{OBJECT},\n{{"address": "fax1", "endpoint": 7}},\n"fax1",\n{{"address":\n{OBJECT}\n]\n')
    assert [str(item).partition(":")[0] for item in found if isinstance(item, BadRecord)] == [
        "line 3",
        "line 4",
        "line 5",
    ]
    assert [item for item in found if isinstance(item, Entry)] == [BOUND, BOUND]
    assert isinstance(entries('[{"address": "fax1", "endpoint": "printer"}]')[0], BadRecord)


@pytest.mark.parametrize("text", ["fax1,10.0.0.7", "{", "3", '[{"address": "fax1"\n}, ', "[" * 100_000])
def test_what_is_no_json_array_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"JSON|array"):
        entries(text)


def test_a_whole_document_is_read_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart_json, "MAX_DOCUMENT", 1000)
    with pytest.raises(InvalidValue, match="one entry a line"):
        entries(json.dumps([json.loads(OBJECT)] * 100, indent=4))
    assert len(entries(f"{OBJECT}\n" * 100)) == 100


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["address", "endpoint", "owner", "x"]), x)))  # fmt: skip
def test_any_json_gives_entries_or_says_why_not(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=1), f"[\n{json.dumps(value)},\n]"):
        try:
            found = entries(text)
        except InvalidValue:
            continue
        assert all(isinstance(item, Entry | BadRecord) for item in found)


def test_what_is_written_is_read_again_and_is_json() -> None:
    for chart in ([], [BOUND], [BOUND, Entry(MailAddress.parse("büro@office.lan"))]):
        written: list[str] = []
        writer = JsonWriter(written.append)
        for entry in chart:
            writer.put(entry)
        writer.end()
        assert entries("".join(written)) == chart
        assert json.loads("".join(written)) == [json_of(entry) for entry in chart]


def test_what_an_entry_lacks_is_null() -> None:
    assert json_of(Entry(FAX1)) == {
        "address": "fax1@office.lan",
        "endpoint": None,
        "updated": None,
        "expires": None,
        "source": None,
        "owner": None,
        "proof": None,
    }


def test_details_stand_under_their_names() -> None:
    details = Details.of([("o", "b"), ("o", "a"), ("l", "Room 3")])
    told = json_of(Entry(FAX1, None, details))
    assert (told["o"], told["l"]) == (["a", "b"], "Room 3")
    assert entries(json.dumps(told)) == [Entry(FAX1, None, details)]
    (bad,) = entries('{"address": "fax1", "o": ["a", 7]}')
    assert "o is 7; write a text in quotes, or a list of texts" in str(bad)
