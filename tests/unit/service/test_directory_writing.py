"""What is written into the directory, by whom, and what the chart holds afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.directory_running import BASE, NOW, SECRET, SUFFIX, Directory, address, binding
from tests.memory_stores import MemoryChart

from lanpost.errors import ChartUnavailable, DirectoryRefused
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.details import Details
from lanpost.model.endpoint import Endpoint
from lanpost.service.directory_writing import MAX_TIME_TO_LIVE, Writer
from lanpost.wire.ldap_messages import Modification, ModificationKind, ResultCode

ADD, DELETE, REPLACE = ModificationKind.ADD, ModificationKind.DELETE, ModificationKind.REPLACE
FAX1 = f"cn=fax1,{BASE}"
ADMINISTRATOR = Writer(None, Endpoint("10.0.0.99", 40000))
DEVICE = ("objectClass", (b"top", b"device", b"lanpostTerminal"))
HERE = ("ipHostNumber", (b"10.0.0.7",))


@pytest.fixture
def directory() -> Directory:
    return Directory()


def known(directory: Directory, name: str = "fax1") -> Entry | None:
    chart: Any = directory.chart
    found: Entry | None = chart.known.get(address(name))
    return found


def bound(directory: Directory, name: str = "fax1") -> Binding:
    entry = known(directory, name)
    assert entry is not None
    assert entry.binding is not None
    return entry.binding


def terminal(directory: Directory, name: str = "fax1", host: str = "10.0.0.7", **options: bool) -> Writer:
    return Writer(directory.enrol(name, SECRET, **options), Endpoint(host, 40000))


def replaced(attribute: str, *values: bytes) -> list[Modification]:
    return [Modification(REPLACE, attribute, values)]


async def code_of(change: Coroutine[Any, Any, Any]) -> int:
    with pytest.raises(DirectoryRefused) as refusal:
        await change
    return int(refusal.value.code)


# -- add


async def test_a_terminal_becomes_known_and_bound(directory: Directory) -> None:
    add = directory.writer.add
    await add(ADMINISTRATOR, FAX1, [DEVICE], NOW)
    assert known(directory) == Entry(address("fax1"))
    told = ("description", (b"Floor 2",))
    await add(ADMINISTRATOR, f"cn=fax2,{BASE}", [DEVICE, HERE, ("lanpostPort", (b"2525",)), told], NOW)
    assert bound(directory, "fax2") == Binding(address("fax2"), Endpoint("10.0.0.7", 2525), NOW, None, Source.LDAP)
    entry = known(directory, "fax2")
    assert entry is not None
    assert entry.details == Details.of([("description", "Floor 2")])


async def test_it_has_a_lease_where_it_says_so(directory: Directory) -> None:
    dynamic = ("objectClass", (b"device", b"dynamicObject"))
    await directory.writer.add(ADMINISTRATOR, FAX1, [dynamic, HERE], NOW)
    assert bound(directory).expires == NOW + timedelta(hours=24)
    until = ("lanpostExpires", (b"20261124130000Z",))
    await directory.writer.add(ADMINISTRATOR, f"cn=fax2,{BASE}", [dynamic, HERE, until], NOW)
    assert bound(directory, "fax2").expires == NOW + timedelta(hours=1)
    last = ("lanpostUpdated", (b"99991231235958Z",))
    await directory.writer.add(ADMINISTRATOR, f"cn=fax3,{BASE}", [dynamic, HERE, last], NOW)
    assert bound(directory, "fax3").expires is not None


@pytest.mark.parametrize(
    ("name", "attributes", "code"),
    [
        (f"cn=anna,{BASE}", [DEVICE], ResultCode.CONSTRAINT_VIOLATION),  # a person's mailbox
        (f"cn=known,{BASE}", [DEVICE], ResultCode.ENTRY_ALREADY_EXISTS),
        (f"mail=KNOWN@office.lan,{BASE}", [DEVICE, HERE], ResultCode.ENTRY_ALREADY_EXISTS),
        (BASE, [DEVICE], ResultCode.ENTRY_ALREADY_EXISTS),
        ("", [DEVICE], ResultCode.ENTRY_ALREADY_EXISTS),
        (f"uid=fax1,{BASE}", [DEVICE], ResultCode.NAMING_VIOLATION),
        (f"cn=a+o=b,{BASE}", [DEVICE], ResultCode.NAMING_VIOLATION),
        (f"cn=fax1,{SUFFIX}", [DEVICE], ResultCode.UNWILLING_TO_PERFORM),
        ("no name", [DEVICE], ResultCode.INVALID_DN_SYNTAX),
        (FAX1, [("objectClass", (b"organization",))], ResultCode.OBJECT_CLASS_VIOLATION),
        (FAX1, [DEVICE, ("cn", (b"fax2",))], ResultCode.NOT_ALLOWED_ON_RDN),
        (FAX1, [DEVICE, ("mail", (b"fax2@office.lan",))], ResultCode.UNWILLING_TO_PERFORM),
        (FAX1, [DEVICE, ("ipHostNumber", (b"printer",))], ResultCode.INVALID_ATTRIBUTE_SYNTAX),
        (FAX1, [DEVICE, HERE, ("description", (b"\n",))], ResultCode.CONSTRAINT_VIOLATION),
        (FAX1, [DEVICE, HERE, ("lanpostExpires", (b"20200101000000Z",))], ResultCode.CONSTRAINT_VIOLATION),
    ],
)
async def test_additions_that_are_refused_leave_nothing(
    directory: Directory, name: str, attributes: list[Any], code: ResultCode
) -> None:
    await directory.chart.add(address("known"))
    assert await code_of(directory.writer.add(ADMINISTRATOR, name, attributes, NOW)) == code
    chart: Any = directory.chart
    assert list(chart.known) == [address("known")]


async def test_only_the_administrator_adds_and_removes(directory: Directory) -> None:
    itself = terminal(directory)
    assert await code_of(directory.writer.add(itself, FAX1, [DEVICE], NOW)) == ResultCode.INSUFFICIENT_ACCESS_RIGHTS
    await directory.chart.add(address("fax1"))
    assert await code_of(directory.writer.delete(itself, FAX1)) == ResultCode.INSUFFICIENT_ACCESS_RIGHTS
    assert known(directory) is not None


# -- modify, by the administrator


async def test_a_modify_is_made_wholly_or_not_at_all(directory: Directory) -> None:
    await directory.chart.bind(binding("fax1"))
    before = known(directory)
    good = [*replaced("description", b"New"), *replaced("ipHostNumber", b"10.0.0.8")]
    for bad in (*replaced("unheardof", b"x"), *replaced("mail", b"fax2@office.lan"), Modification(DELETE, "o")):
        await code_of(directory.writer.modify(ADMINISTRATOR, FAX1, [*good, bad], NOW))
        assert known(directory) == before
    await directory.writer.modify(ADMINISTRATOR, FAX1, good, NOW)
    entry = known(directory)
    assert entry is not None
    assert entry.details == Details.of([("description", "New")])
    assert bound(directory).endpoint == Endpoint("10.0.0.8")


async def test_it_moves_with_its_lease_and_its_port(directory: Directory) -> None:
    await directory.chart.bind(binding("fax1", "10.0.0.7:2525", updated=NOW - timedelta(minutes=50), lasts=3600))
    await directory.writer.modify(ADMINISTRATOR, FAX1, replaced("ipHostNumber", b"10.0.0.8"), NOW)
    found = bound(directory)
    assert found.endpoint == Endpoint("10.0.0.8", 2525)
    assert (found.updated, found.expires) == (NOW, NOW + timedelta(hours=1))


async def test_details_alone_leave_the_binding_as_it_is(directory: Directory) -> None:
    await directory.chart.bind(binding("fax1"))
    before = bound(directory)
    add = Modification(ADD, "telephoneNumber", (b"+43 1",))
    await directory.writer.modify(ADMINISTRATOR, FAX1, [add], NOW + timedelta(minutes=1))
    assert bound(directory) == before


async def test_a_binding_that_has_run_out_is_made_good_by_a_new_lease(directory: Directory) -> None:
    await directory.chart.bind(binding("fax1", "10.0.0.7:2525", updated=NOW - timedelta(hours=2), lasts=3600))
    await directory.writer.modify(ADMINISTRATOR, FAX1, replaced("lanpostExpires", b"20261124130000Z"), NOW)
    assert bound(directory).endpoint == Endpoint("10.0.0.7", 2525)
    assert bound(directory).is_live(NOW)


async def test_without_an_address_it_is_known_and_nowhere(directory: Directory) -> None:
    await directory.chart.bind(binding("fax1"))
    await directory.writer.modify(ADMINISTRATOR, FAX1, [Modification(DELETE, "ipHostNumber")], NOW)
    assert known(directory) == Entry(address("fax1"))


async def test_another_spelling_is_taken_over(directory: Directory) -> None:
    await directory.chart.bind(binding("fax1"))
    await directory.writer.modify(ADMINISTRATOR, FAX1, replaced("mail", b"Fax1@office.lan"), NOW)
    assert str(bound(directory).address) == "Fax1@office.lan"
    await directory.chart.unbind(address("fax1"))
    code = await code_of(directory.writer.modify(ADMINISTRATOR, FAX1, replaced("mail", b"FAX1@office.lan"), NOW))
    assert code == ResultCode.UNWILLING_TO_PERFORM


@pytest.mark.parametrize(
    ("name", "modifications", "code"),
    [
        (f"cn=nobody,{BASE}", replaced("o", b"x"), ResultCode.NO_SUCH_OBJECT),
        (BASE, replaced("o", b"x"), ResultCode.UNWILLING_TO_PERFORM),
        ("", replaced("o", b"x"), ResultCode.UNWILLING_TO_PERFORM),
        ("dc=else", replaced("o", b"x"), ResultCode.NO_SUCH_OBJECT),
        (FAX1, replaced("mail"), ResultCode.NOT_ALLOWED_ON_RDN),
        (FAX1, replaced("lanpostKey", b"other"), ResultCode.UNWILLING_TO_PERFORM),
        (FAX1, replaced("cn", b"fax2"), ResultCode.NOT_ALLOWED_ON_RDN),
        (FAX1, replaced("objectClass", b"top"), ResultCode.OBJECT_CLASS_VIOLATION),
    ],
)
async def test_modifications_that_are_refused(
    directory: Directory, name: str, modifications: list[Modification], code: ResultCode
) -> None:
    await directory.chart.bind(binding("fax1"))
    before = known(directory)
    assert await code_of(directory.writer.modify(ADMINISTRATOR, name, modifications, NOW)) == code
    assert known(directory) == before


async def test_an_address_that_has_become_a_persons_is_bound_no_more(directory: Directory) -> None:
    await directory.chart.bind(binding("anna"))
    anna = f"cn=anna,{BASE}"
    moved = directory.writer.modify(ADMINISTRATOR, anna, replaced("ipHostNumber", b"10.0.0.8"), NOW)
    assert await code_of(moved) == ResultCode.CONSTRAINT_VIOLATION
    await directory.writer.modify(ADMINISTRATOR, anna, [Modification(DELETE, "ipHostNumber")], NOW)  # is allowed


# -- modify, by a terminal


async def test_a_terminal_says_where_it_is_and_the_registrar_for_how_long(directory: Directory) -> None:
    itself = terminal(directory)  # not in the chart yet
    says = [*replaced("ipHostNumber", b"10.0.0.7"), *replaced("lanpostPort", b"2525")]
    await directory.writer.modify(itself, FAX1, says, NOW)
    found = bound(directory)
    assert (found.endpoint, found.expires) == (Endpoint("10.0.0.7", 2525), NOW + timedelta(hours=24))
    assert (found.source, found.owner) == (Source.AGENT, "fax1@office.lan")
    await directory.writer.modify(itself, FAX1, replaced("lanpostExpires", b"20261124130000Z"), NOW)
    assert bound(directory).expires == NOW + timedelta(hours=1)
    await directory.writer.modify(itself, FAX1, replaced("lanpostExpires", b"20991124130000Z"), NOW)
    assert bound(directory).expires == NOW + timedelta(hours=24)  # no longer than the rules have it
    lies = [*replaced("lanpostSource", b"administrator"), *replaced("lanpostOwner", b"somebody")]
    await directory.writer.modify(itself, FAX1, lies, NOW)
    assert (bound(directory).source, bound(directory).owner) == (Source.AGENT, "fax1@office.lan")
    await directory.writer.modify(itself, FAX1, [Modification(DELETE, "ipHostNumber")], NOW)
    assert known(directory) == Entry(address("fax1"))


@pytest.mark.parametrize(
    ("name", "modifications", "code"),
    [
        (FAX1, replaced("description", b"mine"), ResultCode.INSUFFICIENT_ACCESS_RIGHTS),
        (
            FAX1,
            [*replaced("ipHostNumber", b"10.0.0.7"), *replaced("o", b"x")],
            ResultCode.INSUFFICIENT_ACCESS_RIGHTS,
        ),
        (FAX1, replaced("ipHostNumber", b"10.0.0.8"), ResultCode.INSUFFICIENT_ACCESS_RIGHTS),  # not where it is
        (FAX1, replaced("lanpostPort", b"22"), ResultCode.CONSTRAINT_VIOLATION),
        (f"cn=fax2,{BASE}", replaced("ipHostNumber", b"10.0.0.7"), ResultCode.INSUFFICIENT_ACCESS_RIGHTS),
        (f"cn=fax2,{BASE}", [Modification(DELETE, "ipHostNumber")], ResultCode.INSUFFICIENT_ACCESS_RIGHTS),
        (f"cn=fax2,{BASE}", [], ResultCode.INSUFFICIENT_ACCESS_RIGHTS),
        (f"cn=nobody,{BASE}", replaced("ipHostNumber", b"10.0.0.7"), ResultCode.NO_SUCH_OBJECT),
    ],
)
async def test_a_terminal_writes_its_own_location_and_nothing_else(
    directory: Directory, name: str, modifications: list[Modification], code: ResultCode
) -> None:
    for each in ("fax1", "fax2"):
        await directory.chart.bind(binding(each))
    chart: Any = directory.chart
    before = dict(chart.known)
    itself = terminal(directory)
    assert await code_of(directory.writer.modify(itself, name, modifications, NOW)) == code
    assert chart.known == before


async def test_who_speaks_for_others_moves_those_that_are_known(directory: Directory) -> None:
    server = terminal(directory, "dhcp", "10.0.0.1", speaks_for_others=True)
    await directory.chart.add(address("fax2"))
    moved = replaced("ipHostNumber", b"10.0.0.50")
    await directory.writer.modify(server, f"cn=fax2,{BASE}", moved, NOW)
    assert bound(directory, "fax2").endpoint == Endpoint("10.0.0.50")
    assert bound(directory, "fax2").source is Source.DHCP
    stranger = directory.writer.modify(server, f"cn=nobody,{BASE}", moved, NOW)
    assert await code_of(stranger) == ResultCode.NO_SUCH_OBJECT


# -- delete


async def test_what_is_deleted_is_forgotten_with_its_account(directory: Directory) -> None:
    terminal(directory)
    await directory.chart.bind(binding("fax1"))
    await directory.writer.delete(ADMINISTRATOR, FAX1)
    assert known(directory) is None
    assert directory.accounts.terminal(address("fax1")) is None
    assert await code_of(directory.writer.delete(ADMINISTRATOR, FAX1)) == ResultCode.NO_SUCH_OBJECT
    terminal(directory)  # enrolled, and not in the chart
    await directory.writer.delete(ADMINISTRATOR, FAX1)
    assert directory.accounts.terminal(address("fax1")) is None
    for name in ("", BASE, SUFFIX, "cn=Subschema"):
        assert await code_of(directory.writer.delete(ADMINISTRATOR, name)) == ResultCode.UNWILLING_TO_PERFORM


# -- refresh (RFC 2589)


async def test_a_lease_is_refreshed_as_long_as_the_rules_allow(directory: Directory) -> None:
    await directory.chart.bind(binding("fax1", updated=NOW - timedelta(minutes=59)))
    refresh = directory.writer.refresh
    assert await refresh(ADMINISTRATOR, FAX1, 7200, NOW) == 7200
    assert bound(directory).expires == NOW + timedelta(hours=2)
    itself = terminal(directory)
    assert await refresh(itself, FAX1, MAX_TIME_TO_LIVE, NOW) == 24 * 3600
    elsewhere = Writer(itself.terminal, Endpoint("10.0.0.8", 40000))
    assert await code_of(refresh(elsewhere, FAX1, 7200, NOW)) == ResultCode.INSUFFICIENT_ACCESS_RIGHTS
    for seconds in (-1, 0, MAX_TIME_TO_LIVE + 1):
        assert await code_of(refresh(ADMINISTRATOR, FAX1, seconds, NOW)) == ResultCode.PROTOCOL_ERROR
    await directory.chart.bind(binding("fax2", lasts=0))
    code = await code_of(refresh(ADMINISTRATOR, f"cn=fax2,{BASE}", 60, NOW))
    assert code == ResultCode.OBJECT_CLASS_VIOLATION
    await directory.chart.add(address("fax3"))
    for name in (f"cn=fax3,{BASE}", f"cn=nobody,{BASE}"):
        assert await code_of(refresh(ADMINISTRATOR, name, 60, NOW)) == ResultCode.NO_SUCH_OBJECT


# -- a chart that is down, and anything at all


async def test_a_chart_that_cannot_be_asked_is_no_refusal() -> None:
    chart = MemoryChart()
    directory = Directory(chart)
    await chart.bind(binding("fax1"))
    chart.is_down = True
    writer = directory.writer
    for change in (
        writer.add(ADMINISTRATOR, f"cn=fax2,{BASE}", [DEVICE], NOW),
        writer.modify(ADMINISTRATOR, FAX1, replaced("o", b"x"), NOW),
        writer.delete(ADMINISTRATOR, FAX1),
        writer.refresh(ADMINISTRATOR, FAX1, 60, NOW),
    ):
        with pytest.raises(ChartUnavailable):
            await change


WRITTEN = st.sampled_from(
    [
        "ipHostNumber",
        "mailHost",
        "lanpostPort",
        "lanpostExpires",
        "lanpostUpdated",
        "lanpostExpiredEndpoint",
        "lanpostNextHop",
        "lanpostSource",
        "lanpostOwner",
        "mail",
        "cn",
        "objectClass",
        "description",
    ]
)
VALUES = st.binary(max_size=4) | st.sampled_from(
    (
        b"10.0.0.7 [10.0.0.8] ::1 10.0.0.9:2525 25 0 99991231235959Z 00010101000000Z 20261124130000Z agent "
        b"fax1@office.lan FAX1 device ipHost"
    ).split(b" ")
)


@given(
    st.lists(
        st.builds(
            Modification, st.sampled_from(ModificationKind), WRITTEN, st.lists(VALUES, max_size=2).map(tuple)
        ),
        max_size=4,
    ),
    st.sampled_from([None, 0.0, 3600.0, -3600.0]),
    st.booleans(),
)
def test_any_modify_is_done_or_refused(
    modifications: list[Modification], lasts: float | None, by_itself: bool
) -> None:
    async def run() -> None:
        directory = Directory()
        await directory.chart.add(address("fax1"))
        if lasts is not None:
            since = NOW - timedelta(hours=2) if lasts < 0 else NOW
            await directory.chart.bind(binding("fax1", updated=since, lasts=abs(lasts)))
        writer = terminal(directory) if by_itself else ADMINISTRATOR
        before = known(directory)
        try:
            await directory.writer.modify(writer, FAX1, modifications, NOW)
        except DirectoryRefused:
            assert known(directory) == before

    asyncio.run(run())
