"""The chart as XML: what is written is read again and is valid; what is refused says where and why."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from lanpost.content.chart_record import BadRecord
from lanpost.content.chart_xml import MAX_DOCUMENT, read, read_changed, read_document
from lanpost.content.chart_xml_text import HEAD, NAMESPACE, TAIL, XmlWriter, line_of
from lanpost.errors import InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import DETAIL_NAMES, Details
from lanpost.model.endpoint import Endpoint

NOW = datetime(2026, 11, 23, 20, 15, 0, 123456, tzinfo=UTC)
ROOT = Path(__file__).parent.parent.parent.parent
SCHEMA = etree.RelaxNG(etree.parse(str(ROOT / "schemas" / "chart.rng")))


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def bound(name: str, endpoint: str = "10.0.0.7", details: Details | None = None) -> Entry:
    binding = Binding(named(name), Endpoint.parse(endpoint), NOW)
    return Entry(named(name), binding, details or Details())


def document(inside: str) -> bytes:
    return f'<chart xmlns="{NAMESPACE}">\n{inside}\n</chart>'.encode()


def entries(inside: str) -> list[Entry]:
    return list(read_document(document(inside), "office.lan", NOW).values())


def written(*chart: Entry) -> bytes:
    parts: list[str] = []
    writer = XmlWriter(parts.append)
    for entry in chart:
        writer.put(entry)
    writer.end()
    return "".join(parts).encode()


def is_valid(data: bytes) -> bool:
    try:
        return bool(SCHEMA.validate(etree.fromstring(data)))
    except etree.XMLSyntaxError:
        return False


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidValue) as refused:
        read_document(data, "office.lan", NOW)
    return str(refused.value)


# --- what is written --------------------

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda text: text.isprintable() and text.strip()
)
TIMES = st.integers(0, 2 * 10**17).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)
ADDRESSES = st.sampled_from(
    ["fax1", '"a <b> & c\\""@büro.lan', "ファクス@office.lan", "fax@[IPv6:2001:db8::7]", "o'x&y@a.lan"]
)
ENDPOINTS = st.sampled_from(["10.0.0.7", "[2001:db8::7]:1", "[fe80::7%br-lan.1]:65535"]).map(Endpoint.parse)


@st.composite
def any_entry(draw: st.DrawFn) -> Entry:
    address = named(draw(ADDRESSES))
    details = Details.of(draw(st.lists(st.tuples(st.sampled_from(DETAIL_NAMES), WORDS), max_size=4)))
    if draw(st.booleans()):
        return Entry(address, None, details)
    updated = draw(TIMES)
    expires = draw(st.none() | st.integers(1, 10**12).map(lambda micros: updated + timedelta(microseconds=micros)))
    source, owner = draw(st.sampled_from(Source)), draw(st.just("") | WORDS)
    return Entry(address, Binding(address, draw(ENDPOINTS), updated, expires, source, owner), details)


@given(any_entry())
def test_what_is_written_is_read_again_and_valid(entry: Entry) -> None:
    data = written(entry)
    (again,) = read_document(data, "office.lan", NOW).values()
    assert again == entry
    assert str(again.address) == str(entry.address)
    assert is_valid(data)


def test_an_empty_chart_is_valid_and_empty() -> None:
    assert is_valid(written())
    assert read_document(written(), "office.lan", NOW) == {}


def test_an_owner_that_nobody_could_read_again_is_not_written() -> None:
    entry = Entry(named("fax1"), Binding(named("fax1"), Endpoint("10.0.0.7"), NOW, owner="a\x01b"))
    with pytest.raises(InvalidValue, match="cannot hold"):
        line_of(entry)


# --- what is read --------------------


def test_the_example_of_the_documentation_is_valid_and_means_what_it_says() -> None:
    page = (ROOT / "docs" / "chart-xml.md").read_text("utf-8")
    (example,) = re.findall(r"```xml\n(.*?)```", page, re.DOTALL)
    assert is_valid(example.encode())
    printer, fax1, fax2 = read_document(example.encode(), "office.lan", NOW).values()
    assert printer == bound("printer@office.lan", "10.0.0.9")
    assert fax1.binding == Binding(
        named("fax1"), Endpoint("fe80::7", 2525, "eth0"), NOW, datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC)
    )
    assert fax1.details.values("facsimileTelephoneNumber") == ("+81 3 1234 5678",)
    assert fax2 == Entry(named("fax2@office.lan"))


@pytest.mark.parametrize(
    "data",
    [
        document('<terminal address="fax1"><endpoint host="10.0.0.7"/></terminal>'),
        f"<c:chart xmlns:c='{NAMESPACE}'><c:terminal address='fax1'><c:endpoint host='10.0.0.7'></c:endpoint>"
        "</c:terminal></c:chart>".encode(),
        b"\xef\xbb\xbf"
        + document('<!-- x --><terminal\n address="&#102;ax1"\n><?x y?><endpoint host="10.0.0.7"/></terminal>'),
        document('<terminal address="fax1"><endpoint host="10.0.0.7"/></terminal>').decode().encode("utf-16"),
        b"<?xml version='1.0' encoding='ISO-8859-1'?>"
        + document('<terminal address="fax1"><endpoint host="10.0.0.7" port="25"/></terminal>'),
    ],
)
def test_every_way_to_write_the_same_is_read(data: bytes) -> None:
    assert list(read_document(data, "office.lan", NOW).values()) == [bound("fax1")]
    assert is_valid(data)


def test_a_binding_without_its_time_keeps_the_one_it_was_first_seen_at() -> None:
    text = '<terminal address="fax1"><endpoint host="10.0.0.7" expires="2026-12-01T00:00:00Z"/></terminal>'
    former = read_document(document(text), "office.lan", NOW)
    later = NOW + timedelta(days=365)
    assert read_document(document(text), "office.lan", later, former.get) == former
    moved = read_document(document(text.replace("0.7", "0.8")), "office.lan", later, former.get)
    (entry,) = moved.values()
    assert entry.binding
    assert not entry.binding.is_live(later)  # expired long ago, and no error for that


REFUSED = {  # what is inside <chart>: where, what, and what to write instead
    '<terminl address="a"/>': ("line 2, column 1", "<terminl>", "did you mean <terminal>?"),
    '\n  <terminal adress="a"/>': ("line 3, column 3", "adress", "did you mean address?"),
    "<terminal/>": ("line 2, column 1", "lacks address", '<terminal address="fax1@office.lan">'),
    '<terminal address=""/>': ("line 2, column 1", "<terminal>", ""),
    '<terminal address="a" xml:lang="en"/>': ("line 2", "lang", "known here: address"),
    '<endpoint host="10.0.0.7"/>': ("line 2, column 1", "<endpoint> is not known inside <chart>", "<terminal>"),
    '<terminal address="a"><terminal address="b"/></terminal>': ("line 2, column 23", "<terminal>", ""),
    '<terminal address="a"><endpoint/></terminal>': ("line 2, column 23", "lacks host", "10.0.0.7"),
    '<terminal address="a"><endpoint host="printer"/></terminal>': ("line 2, column 23", "'printer", "IP address"),
    '<terminal address="a"><endpoint host="fe80::7%eth0"/></terminal>': ("", "%eth0", 'zone="eth0"'),
    '<terminal address="a"><endpoint host="10.0.0.7" port="0"/></terminal>': ("", "port='0'", "1 to 65535"),
    '<terminal address="a"><endpoint host="10.0.0.7" port=" 25"/></terminal>': ("", "port", "1 to 65535"),
    '<terminal address="a"><endpoint host="10.0.0.7" zone=""/></terminal>': ("", "zone", "leave it out"),
    '<terminal address="a"><endpoint host="10.0.0.7" expires="tomorrow"/></terminal>': (
        "",
        "expires",
        "T20:15:00Z",
    ),
    '<terminal address="a"><endpoint host="10.0.0.7" updated="2026-01-01T00:00:00"/></terminal>': (
        "",
        "updated",
        "zone",
    ),
    '<terminal address="a"><endpoint host="10.0.0.7" expires=""/></terminal>': ("", "expires", "leave it out"),
    '<terminal address="a"><endpoint host="10.0.0.7" source="agnt"/></terminal>': (
        "",
        "agnt",
        "did you mean agent?",
    ),
    '<terminal address="a"><endpoint host="10.0.0.7" owner=""/></terminal>': ("", "owner", "leave it out"),
    '<terminal address="a"><endpoint host="10.0.0.7"/><endpoint host="10.0.0.8"/></terminal>': (
        "",
        "one <endpoint>",
        "",
    ),
    '<terminal address="a"><detail name="fax">1</detail></terminal>': ("", "fax", "known here: description"),
    '<terminal address="a"><detail name="O">1</detail></terminal>': ("", "'O'", "o"),
    '<terminal address="a"><detail name="o"> </detail></terminal>': ("", "o is", "printable"),
    '<terminal address="a"><detail name="o">1\n2</detail></terminal>': ("", "o is", "printable"),
    '<terminal address="a"><detail name="o"><b/></detail></terminal>': ("", "<b>", "take it out"),
    "fax1 10.0.0.7": ("line 2, column 1", "'fax1 10.0.0.7'", "take it out"),
    '<terminal address="a" address="b"/>': ("line 2", "duplicate attribute", "mend it"),
    '<terminal address="a">': ("line 3", "mismatched tag", "mend it"),
    "&unknown;": ("line 2", "undefined entity", "mend it"),
    '<terminal xmlns="" address="a"/>': ("line 2, column 1", "namespace ''", NAMESPACE),
    '<terminal xmlns="urn:lanpost:chart:2" address="a"/>': (
        "line 2",
        "chart is of version 2, from another",
        "version 1: install",
    ),
}


@pytest.mark.parametrize("inside", REFUSED)
def test_what_is_wrong_is_named_with_its_place_and_the_remedy_and_is_not_valid(inside: str) -> None:
    said = refusal(document(inside))
    assert re.match(r"line \d+, column \d+: ", said)
    assert all(part in said for part in REFUSED[inside]), said
    assert not is_valid(document(inside))


@pytest.mark.parametrize(
    "data", [b"", b"<chart/>", b"fax1,10.0.0.7\n", b"<html/>", b"\xff\xfe<", document("") + b"<x/>"]
)
def test_what_is_no_chart_is_refused(data: bytes) -> None:
    assert refusal(data).startswith("line 1") or data.endswith(b"<x/>")
    assert not is_valid(data)


def test_an_address_that_stands_twice_is_named_with_both_lines() -> None:
    said = refusal(document('<terminal address="fax1"/>\n\n<terminal address="FAX1@Office.lan"/>'))
    assert said.startswith("line 4, column 1: ")
    assert "in line 2 already" in said


def test_a_binding_that_ends_before_it_begins_is_refused() -> None:
    times = 'updated="2026-01-02T00:00:00Z" expires="2026-01-01T00:00:00Z"'
    assert "is not after updated" in refusal(
        document(f'<terminal address="a"><endpoint host="10.0.0.7" {times}/></terminal>')
    )


# --- bombs --------------------

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
BOMBS = {
    "billion laughs": f'<!DOCTYPE chart [<!ENTITY l0 "ha">{LAUGHS}]>' + document("&l11;").decode(),
    "quadratic": f'<!DOCTYPE chart [<!ENTITY a "{"x" * 100_000}">]>' + document("&a;" * 10_000).decode(),
    "external": '<!DOCTYPE chart [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + document("&x;").decode(),
    "in an attribute": '<!DOCTYPE chart [<!ENTITY x "y">]>' + document('<terminal address="&x;"/>').decode(),
    "parameter": '<!DOCTYPE chart [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]>' + document("").decode(),
    "external DTD": '<!DOCTYPE chart SYSTEM "file:///etc/passwd">' + document("").decode(),
    "public DTD": '<!DOCTYPE chart PUBLIC "-//x" "http://127.0.0.1:9/x.dtd">' + document("").decode(),
    "empty DTD": "<!DOCTYPE chart>" + document("").decode(),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_nothing_is_expanded_or_fetched(bomb: str, encoding: str) -> None:
    declaration = (
        "" if encoding.startswith("utf-8") else f"<?xml version='1.0' encoding='{encoding.removesuffix('-le')}'?>"
    )
    said = refusal((declaration + BOMBS[bomb]).encode(encoding))
    assert re.match(r"line 1, column \d+: a chart has no document type declaration", said), said


def test_depth_is_refused_where_it_begins() -> None:
    said = refusal(document("<terminal address='a'>" + "<x>" * 1_000_000))
    assert said.startswith("line 2, column 23: <x> is not known inside <terminal>")


def test_a_huge_attribute_is_no_address() -> None:
    said = refusal(document(f'<terminal address="{"a" * 10_000_000}"/>'))
    assert len(said) < 500


def test_a_document_too_large_is_refused() -> None:
    assert "64 MiB" in refusal(HEAD.encode() + b" " * MAX_DOCUMENT)


def test_a_million_terminals_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanpost.content.chart_xml.MAX_ENTRIES", 2)
    assert len(entries('<terminal address="a"/><terminal address="b"/>')) == 2
    assert "more than 2 terminals" in refusal(document("".join(f'<terminal address="{c}"/>' for c in "abc")))


# --- in pieces, and by changed lines --------------------


def test_a_file_is_read_with_its_bad_entries_named() -> None:
    text = document(
        '<terminal address="a"/>\n<terminal address="b"><endpoint host="x"/></terminal>\n<terminal address="c"/>\n'
        '<terminal address="A"/>'
    )
    found = list(read(text.decode().splitlines(keepends=True), "office.lan", NOW))
    assert found[0] == Entry(named("a"))
    assert isinstance(found[1], BadRecord)
    assert found[1].place == "line 3, column 23"
    assert found[2] == Entry(named("c"))
    assert "already" in str(found[3])


def test_a_file_in_another_encoding_is_read_as_declared() -> None:
    data = b"<?xml version='1.0' encoding='ISO-8859-1'?>\n" + document("").replace(
        b"\n\n", '<terminal address="büro"/>'.encode("latin-1")
    )
    assert list(read([data.decode("utf-8", "surrogateescape")], "office.lan", NOW)) == [Entry(named("büro"))]


CHART = [bound(f"fax{number}", "10.0.0.7") for number in range(5)]
LINES = [line_of(entry) for entry in CHART]
ODD_LINES = st.sampled_from(
    [
        *LINES,
        *(
            "",
            " ",
            "<!--",
            "-->",
            "<!-- x -->",
            "]]>",
            "<![CDATA[",
            "<![CDATA[ ]]>",
            "\r",
            "&#32;",
            "x",
            "<?x",
            "?>",
        ),
        *('<terminal address="new"/>', '<terminal address="x">', "</terminal>", "<terminal", 'address="y"/>'),
        *("</chart>", f'</chart><chart xmlns="{NAMESPACE}">'),
        *(LINES[0] + LINES[1], LINES[2] + "<!--", "--> " + LINES[3]),
    ]
)


@given(st.lists(ODD_LINES, max_size=8))
def test_reading_by_changed_lines_gives_what_reading_the_whole_gives(lines: list[str]) -> None:
    data = (HEAD + "".join(f"{line}\n" for line in lines) + TAIL).encode()
    known = dict(zip(LINES, CHART, strict=True))
    try:
        whole = read_document(data, "office.lan", NOW)
    except InvalidValue as error:
        with pytest.raises(InvalidValue, match=re.escape(str(error))):
            read_changed(data, known, "office.lan", NOW)
        return
    assert read_changed(data, known, "office.lan", NOW) == whole


@given(st.binary(max_size=300) | st.text(alphabet='<>/"= \n&;!-[]chartnsemil:urp1x', max_size=300).map(str.encode))
def test_any_octets_are_a_chart_or_refused(data: bytes) -> None:
    for attempt in (data, document("") + data, document(data.decode("latin-1"))):
        said = ""
        try:
            read_document(attempt, "office.lan", NOW)
        except InvalidValue as error:
            said = str(error)
        assert re.match(r"line \d+, column \d+: ", said) if said else is_valid(attempt)
