from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.chart_csv import CsvWriter, cell_of, read, values_of
from lanpost.content.chart_record import BadRecord
from lanpost.errors import InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)


def entries(text: str) -> Sequence[Entry | BadRecord]:
    return list(read(text.splitlines(keepends=True), "office.lan", NOW))


def bound(address: str, endpoint: str) -> Entry:
    mail_address = MailAddress.parse(address, "office.lan")
    return Entry(mail_address, Binding(mail_address, Endpoint.parse(endpoint), NOW))


def test_a_plain_file() -> None:
    assert entries("address,endpoint\nfax1,10.0.0.7\nfax2@shop.lan,[2001:db8::7]:2525\nknown,\n") == [
        bound("fax1", "10.0.0.7:25"),
        bound("fax2@shop.lan", "[2001:db8::7]:2525"),
        Entry(MailAddress.parse("known@office.lan")),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffAddress;Endpoint\r\nfax1;10.0.0.7\r\n;\r\n",  # a spreadsheet's
        "address\tendpoint\nfax1\t10.0.0.7",
        '"address","endpoint"\n"fax1","10.0.0.7"\n',
        "\n\nroom, endpoint ,address\n\n3,10.0.0.7,fax1\n",
        "address,endpoint\nfax1,10.0.0.7,,,\n",
        "address,endpoint,room,room\nfax1,10.0.0.7\n",
    ],
)
def test_what_other_programs_write_is_read(text: str) -> None:
    assert entries(text) == [bound("fax1", "10.0.0.7")]


def test_a_bad_line_is_named_and_the_others_are_read() -> None:
    found = entries('\naddress,endpoint\nfax1,printer\n\n"fax\n2",10.0.0.7\nfax3,10.0.0.7,x\nfax4,10.0.0.7\n')
    assert [str(item).partition(":")[0] for item in found[:3]] == ["line 3", "line 6", "line 7"]
    assert all(isinstance(item, BadRecord) for item in found[:3])
    assert found[3:] == [bound("fax4", "10.0.0.7")]


def test_a_file_in_another_encoding_is_told_so() -> None:
    latin = "address,endpoint\nbüro,10.0.0.7\n".encode("latin-1").decode("utf-8", "surrogateescape")
    assert entries(latin) == [BadRecord("line 2", "not UTF-8; save the file as CSV UTF-8")]


def test_a_quotation_mark_left_open_is_told() -> None:
    text = 'address,endpoint\n"fax1,10.0.0.7\n' + "fax2,10.0.0.8\n" * 20_000
    found = entries(text)
    assert isinstance(found[0], BadRecord)
    assert "quotation mark" in found[0].reason


@pytest.mark.parametrize("text", ["", "\n", "fax1,10.0.0.7\n", "address\nfax1\n", "endpoint,place\n"])
def test_a_file_without_its_header_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="address,endpoint"):
        entries(text)


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(InvalidValue, match="endpoint twice"):
        entries("address,endpoint,endpoint\n")


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_gives_entries_or_says_why_not(text: str) -> None:
    try:
        found = entries("address,endpoint,expires\n" + text)
    except InvalidValue:
        return
    assert all(isinstance(item, Entry | BadRecord) for item in found)


VALUES = st.text(st.sampled_from("a|\\, é")).filter(str.strip)


@given(st.lists(VALUES, min_size=1))
def test_several_values_of_a_detail_share_a_cell(values: list[str]) -> None:
    assert values_of(cell_of(values)) == values


def test_a_cell_may_hold_one_value_several_or_none() -> None:
    found = entries('address,endpoint,O,displayName\nfax1,,"a|b\\|c\\\\",Fax\nfax2,, ,\nfax3,,a||b,\n')
    assert found[0] == Entry(
        MailAddress.parse("fax1@office.lan"),
        None,
        Details.of([("o", "a"), ("o", "b|c\\"), ("displayName", "Fax")]),
    )
    assert found[1] == Entry(MailAddress.parse("fax2@office.lan"))
    assert isinstance(found[2], BadRecord)
    assert "o is ''" in found[2].reason


def test_what_is_written_is_read_again() -> None:
    written: list[str] = []
    writer = CsvWriter(written.append)
    details = Details.of([("o", "Acme | Söhne"), ("o", 'a "b"'), ("l", "\\")])
    chart = [
        replace(bound('"a, b\\"c"@büro.lan', "[fe80::7%eth0]:25"), details=details),
        Entry(MailAddress.parse("known@office.lan")),
    ]
    for entry in chart:
        writer.put(entry)
    writer.end()
    assert entries("".join(written)) == chart
    assert "".join(written).startswith("address,endpoint,")
