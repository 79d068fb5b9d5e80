"""Searches of the directory over a socket: pages, order, limits; broken off; and changes to what they find."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.directory_running import BASE, SUFFIX, Client, Running, address, binding, running_directory

from lanpost.model.details import Details
from lanpost.net import ldap_searches
from lanpost.net.ldap import MAX_PERSISTING
from lanpost.net.ldap_searches import SearchRules
from lanpost.wire import ldap_filter as f
from lanpost.wire.ldap_controls import (
    PAGED_RESULTS_OID,
    SORT_REQUEST_OID,
    SORT_RESPONSE_OID,
    SYNC_REQUEST_OID,
    PagedResults,
    SortKey,
    SortResult,
    SyncMode,
    SyncRequest,
    encode_sort_keys,
)
from lanpost.wire.ldap_extensions import CANCEL_OID, WHO_AM_I_OID, encode_cancel
from lanpost.wire.ldap_messages import (
    AddRequest,
    Control,
    DeleteRequest,
    ExtendedRequest,
    IntermediateResponse,
    Message,
    Modification,
    ModificationKind,
    ModifyRequest,
    ResultCode,
    Scope,
    SearchDone,
    SearchEntry,
    SearchRequest,
)
from lanpost.wire.ldap_server import MAX_OPEN_OPERATIONS

NAMES = [f"scan{number:02}" for number in range(1, 13)]
FLOORS = ["2", "1", "3"]
SCANNERS = SearchRequest(BASE, Scope.SUBTREE, f.Substrings("cn", b"scan", (), b""), ("cn",))
EVERYTHING = SearchRequest(SUFFIX, Scope.SUBTREE, f.Present("objectClass"), ("cn",))
FOLLOW = Control(SYNC_REQUEST_OID, value=SyncRequest(SyncMode.REFRESH_AND_PERSIST).encode())


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_directory(tmp_path_factory.mktemp("directory")) as running:
        running.run(running.chart.bind_many([binding(name, lasts=0) for name in NAMES]))
        for number, name in enumerate(NAMES[:-1]):
            told = [("description", FLOORS[number % 3])]
            if not number % 4:
                told.append(("description", "0"))
            running.run(running.chart.describe(address(name), Details.of(told)))
        yield running


@pytest.fixture
def client(directory: Running) -> Iterator[Client]:
    with directory.client() as client:
        yield client


def named(names: Sequence[str]) -> list[str]:
    return [name.partition(",")[0].removeprefix("cn=") for name in names]


def page(size: int, cookie: bytes = b"") -> Control:
    return Control(PAGED_RESULTS_OID, value=PagedResults(size, cookie).encode())


def sorting(*keys: SortKey, critical: bool = True) -> Control:
    return Control(SORT_REQUEST_OID, critical, encode_sort_keys(keys))


def told_by(message: Message, oid: str) -> bytes | None:
    (found,) = [control.value for control in message.controls if control.oid == oid]
    return found


def pages(client: Client, request: SearchRequest, size: int, *controls: Control) -> list[list[str]]:
    """The names in each page, until there is no further one."""
    found: list[list[str]] = []
    cookie = b""
    while True:
        answers = client.ask(request, [page(size, cookie), *controls])
        done: Any = answers[-1].operation
        assert done.result.code == ResultCode.SUCCESS
        found.append([each.operation.name for each in answers if isinstance(each.operation, SearchEntry)])
        cookie = PagedResults.read(told_by(answers[-1], PAGED_RESULTS_OID)).cookie
        if not cookie:
            return found
        assert len(found) < 100


# -- pages (RFC 2696)


@pytest.mark.parametrize("request_", [SCANNERS, EVERYTHING], ids=["terminals", "the nodes above too"])
@pytest.mark.parametrize("order", [(), (sorting(SortKey("description"), SortKey("cn")),)], ids=["by key", "sorted"])
def test_pages_of_any_size_hold_each_entry_once(
    client: Client, request_: SearchRequest, order: tuple[Control, ...]
) -> None:
    whole, _ = client.names(request_, order)
    assert len(whole) >= len(NAMES)
    for size in range(1, len(whole) + 2):
        found = pages(client, request_, size, *order)
        assert [name for each in found for name in each] == whole
        assert [len(each) for each in found[:-1]] == [size] * (len(found) - 1)
        assert 0 < len(found[-1]) <= size


def test_pages_go_on_where_they_were_though_entries_come_and_go(directory: Running, client: Client) -> None:
    prefix = replace(SCANNERS, filter=f.Substrings("cn", b"go", (), b""))
    names = [f"go{number}" for number in range(1, 7)]
    directory.run(directory.chart.bind_many([binding(name) for name in names]))
    first = client.ask(prefix, [page(2)])
    cookie = PagedResults.read(told_by(first[-1], PAGED_RESULTS_OID)).cookie
    for gone in ("go1", "go2", "go4"):  # those told already, that where it stopped included, and one not told yet
        directory.run(directory.chart.remove(address(gone)))
    directory.run(directory.chart.bind(binding("go2a")))
    rest, code = client.names(prefix, [page(10, cookie)])
    assert (named(rest), code) == (["go2a", "go3", "go5", "go6"], 0)


def test_who_wants_no_further_page_is_answered_without_any(client: Client) -> None:
    cookie = PagedResults.read(told_by(client.ask(SCANNERS, [page(2)])[-1], PAGED_RESULTS_OID)).cookie
    (done,) = client.ask(SCANNERS, [page(0, cookie)])  # RFC 2696 §3
    assert PagedResults.read(told_by(done, PAGED_RESULTS_OID)) == PagedResults()


@pytest.mark.parametrize("cookie", [b"x", b":", b"-1:a", b"9999999999:a", b"\xff:", b"1", "\u0661:a".encode()])
def test_a_cookie_that_is_none_of_ours_is_refused(client: Client, cookie: bytes) -> None:
    assert client.result(SCANNERS, [page(2, cookie)])[0] == ResultCode.UNWILLING_TO_PERFORM


@given(number=st.integers(0, 10**9 - 1), key=st.text(max_size=10))
@settings(max_examples=30, deadline=None)
def test_a_cookie_that_somebody_made_up_harms_nobody(directory: Running, number: int, key: str) -> None:
    with directory.client() as client:
        found, code = client.names(EVERYTHING, [page(100, f"{number}:{key}".encode())])
        assert code == ResultCode.SUCCESS
        assert len(found) <= len(client.names(EVERYTHING)[0])


# -- order (RFC 2891)


def test_the_least_of_several_values_counts_and_who_has_none_comes_last(client: Client) -> None:
    found, _ = client.names(SCANNERS, [sorting(SortKey("description"), SortKey("cn"))])
    with_zero = NAMES[:-1:4]
    rest = [name for floor in "123" for name in NAMES[:-1] if FLOORS[NAMES.index(name) % 3] == floor]
    expected = [*with_zero, *(name for name in rest if name not in with_zero), NAMES[-1]]
    assert named(found) == expected
    downwards, _ = client.names(SCANNERS, [sorting(SortKey("description", descending=True), SortKey("cn"))])
    assert named(downwards)[0] == NAMES[-1]  # "treated as greater than any" (§2)
    assert named(downwards)[-len(with_zero) :] == with_zero


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (SortKey("unheardof"), ResultCode.NO_SUCH_ATTRIBUTE),
        (SortKey("cn", rule="noSuchRule"), ResultCode.INAPPROPRIATE_MATCHING),
    ],
)
def test_an_order_that_is_not_to_be_had(client: Client, key: SortKey, code: ResultCode) -> None:
    assert client.result(SCANNERS, [sorting(key)])[0] == ResultCode.UNAVAILABLE_CRITICAL_EXTENSION
    answers = client.ask(SCANNERS, [sorting(key, critical=False)])
    assert len(answers) == len(NAMES) + 1
    assert SortResult.read(told_by(answers[-1], SORT_RESPONSE_OID)).code == code


def test_more_entries_than_are_sorted_and_more_than_are_held(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = [sorting(SortKey("cn"))]
    monkeypatch.setattr(ldap_searches, "MAX_SORTED", len(NAMES) - 1)
    assert client.names(SCANNERS, order) == ([], ResultCode.ADMIN_LIMIT_EXCEEDED)
    monkeypatch.setattr(ldap_searches, "MAX_SORTED", len(NAMES))
    assert len(client.names(SCANNERS, order)[0]) == len(NAMES)
    monkeypatch.setattr(ldap_searches, "MAX_HELD", len(NAMES) - 1)
    assert client.names(SCANNERS, order) == ([], ResultCode.BUSY)
    monkeypatch.setattr(ldap_searches, "MAX_HELD", len(NAMES))  # what was held is let go, each time
    assert len(client.names(SCANNERS, order)[0]) == len(NAMES)


def test_an_order_that_is_wished_and_too_much_is_left_out_and_said_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wished = sorting(SortKey("cn", descending=True), critical=False)
    sorted_ = named(client.names(SCANNERS, [wished])[0])
    assert sorted_ == NAMES[::-1]
    monkeypatch.setattr(ldap_searches, "MAX_SORTED", len(NAMES) - 1)
    answers = client.ask(SCANNERS, [wished])
    found = [each.operation.name for each in answers if isinstance(each.operation, SearchEntry)]
    assert found == client.names(SCANNERS)[0]
    assert SortResult.read(told_by(answers[-1], SORT_RESPONSE_OID)).code == ResultCode.ADMIN_LIMIT_EXCEEDED
    first = client.ask(SCANNERS, [page(5), wished])
    cookie = PagedResults.read(told_by(first[-1], PAGED_RESULTS_OID)).cookie
    monkeypatch.setattr(ldap_searches, "MAX_SORTED", len(NAMES))  # by now it could be had, but for the page before
    rest, _ = client.names(SCANNERS, [page(100, cookie), wished])
    assert named(rest) == NAMES[5:]


# -- limits


@pytest.mark.parametrize("order", [(), (sorting(SortKey("cn")),)], ids=["by key", "sorted"])
def test_the_clients_size_limit_is_exact(client: Client, order: tuple[Control, ...]) -> None:
    count = len(NAMES)
    for limit in (1, count - 1):
        found, code = client.names(replace(SCANNERS, size_limit=limit), order)
        assert (named(found), code) == (NAMES[:limit], ResultCode.SIZE_LIMIT_EXCEEDED)
    for limit in (count, count + 1, 0):
        assert client.names(replace(SCANNERS, size_limit=limit), order)[1] == ResultCode.SUCCESS


def test_a_page_larger_than_the_size_limit_is_no_page(client: Client) -> None:
    found, code = client.names(replace(SCANNERS, size_limit=3), [page(5)])  # RFC 2696 §3
    assert (named(found), code) == (NAMES[:3], ResultCode.SIZE_LIMIT_EXCEEDED)


def test_the_servers_limits_bind_all_but_the_administrator(tmp_path: Path) -> None:
    with running_directory(tmp_path, rules=SearchRules(entries=3)) as directory:
        directory.run(directory.chart.bind_many([binding(name) for name in NAMES]))
        with directory.client() as client:
            assert client.names(SCANNERS)[1] == ResultCode.SIZE_LIMIT_EXCEEDED
            assert client.names(replace(SCANNERS, size_limit=100))[1] == ResultCode.SIZE_LIMIT_EXCEEDED
            assert len(client.names(replace(SCANNERS, size_limit=2))[0]) == 2
            client.bind()
            assert len(client.names(SCANNERS)[0]) == len(NAMES)


def test_a_search_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with running_directory(tmp_path, rules=SearchRules(seconds=0.0)) as directory:
        directory.run(directory.chart.bind_many([binding(name) for name in NAMES]))
        with directory.client() as client:
            assert client.names(SCANNERS) == ([], ResultCode.TIME_LIMIT_EXCEEDED)
            assert client.names(SCANNERS, [sorting(SortKey("cn"))]) == ([], ResultCode.TIME_LIMIT_EXCEEDED)
            # One look-up takes no time.
            one = replace(SCANNERS, filter=f.Equals("mail", b"scan01@office.lan"))
            assert len(client.names(one)[0]) == 1


# -- broken off


def until_it_follows(client: Client) -> int:
    """A search that goes on. Its message id."""
    (message_id,) = client.send(SCANNERS, controls=[FOLLOW])
    while not isinstance((message := client.next()) and message.operation, IntermediateResponse):
        assert message is not None
    return message_id


def tasks(directory: Running) -> int:
    return directory.call(lambda: len(directory.service.tasks))


def wait_for_tasks(directory: Running, count: int) -> None:
    give_up = time.monotonic() + 30
    while tasks(directory) != count:
        assert time.monotonic() < give_up, f"{tasks(directory)} operations are under way, not {count}"
        directory.call(lambda: None)


def test_an_abandoned_search_ends_without_an_answer(directory: Running, client: Client) -> None:
    before = tasks(directory)
    message_id = until_it_follows(client)
    assert tasks(directory) == before + 1
    client.session.abandon(message_id)
    client.flush()
    wait_for_tasks(directory, before)
    directory.run(directory.chart.bind(binding("scan99")))
    try:
        (answer,) = client.ask(ExtendedRequest(WHO_AM_I_OID))  # nothing else came before
    finally:
        directory.run(directory.chart.remove(address("scan99")))
    assert answer.id != message_id


def test_a_cancelled_search_is_answered_so(directory: Running, client: Client) -> None:
    before = tasks(directory)
    message_id = until_it_follows(client)
    (cancel,) = client.send(ExtendedRequest(CANCEL_OID, encode_cancel(message_id)))
    answers: dict[int, Any] = {each.id: each.operation for each in (client.next(), client.next()) if each}
    ended, done = answers[message_id], answers[cancel]
    assert isinstance(ended, SearchDone)
    assert ended.result.code == ResultCode.CANCELED  # RFC 3909 §2.2
    assert done.result.code == ResultCode.SUCCESS
    wait_for_tasks(directory, before)
    again = client.result(ExtendedRequest(CANCEL_OID, encode_cancel(message_id)))
    assert again[0] == ResultCode.NO_SUCH_OPERATION


def test_what_is_no_search_is_not_cancelled(client: Client) -> None:
    (message_id,) = client.send(ExtendedRequest(CANCEL_OID, encode_cancel(1)))
    assert message_id == 1  # itself
    answer: Any = client.next()
    assert answer.operation.result.code == ResultCode.CANNOT_CANCEL
    for value in (None, b"", b"\x30\x00", b"\x04\x01x"):
        assert client.result(ExtendedRequest(CANCEL_OID, value))[0] == ResultCode.PROTOCOL_ERROR


def test_a_bind_ends_what_is_under_way(directory: Running, client: Client) -> None:
    before = tasks(directory)
    message_id = until_it_follows(client)
    client.session._open.pop(message_id)  # our own client would wait for it
    client.bind()
    wait_for_tasks(directory, before)


def test_a_client_that_goes_leaves_nothing_under_way(directory: Running) -> None:
    before = tasks(directory)
    client = directory.client()
    until_it_follows(client)
    client.close()
    wait_for_tasks(directory, before)


def test_so_many_searches_of_a_connection_go_on_and_it_is_still_answered(
    directory: Running, client: Client
) -> None:
    before = tasks(directory)
    ids = [until_it_follows(client) for _ in range(MAX_PERSISTING)]
    assert tasks(directory) == before + MAX_PERSISTING
    assert client.result(SCANNERS, [FOLLOW])[0] == ResultCode.BUSY
    assert client.names(SCANNERS)[1] == ResultCode.SUCCESS
    for each in ids:
        client.session.abandon(each)
    client.flush()
    wait_for_tasks(directory, before)
    until_it_follows(client)


def test_far_more_searches_than_may_be_under_way_are_all_answered(directory: Running, client: Client) -> None:
    count = 5 * MAX_OPEN_OPERATIONS
    ids = client.send(*[replace(EVERYTHING, size_limit=number + 1) for number in range(count)])
    ended: list[int] = []
    while len(ended) < count:
        message = client.next()
        assert message is not None
        if isinstance(message.operation, SearchDone):
            ended.append(message.id)
    assert sorted(ended) == ids


# -- changes


def changed(attribute: str, *values: bytes, kind: ModificationKind = ModificationKind.ADD) -> ModifyRequest:
    return ModifyRequest(f"cn=new1,{BASE}", (Modification(kind, attribute, values),))


def codes(client: Client, count: int) -> list[int]:
    found: list[Any] = [client.next() for _ in range(count)]
    return [each.operation.result.code for each in sorted(found, key=lambda each: each.id)]


def attributes(client: Client, name: str) -> dict[str, tuple[bytes, ...]]:
    found = client.ask(SearchRequest(f"cn={name},{BASE}", Scope.BASE, f.Present("objectClass")))
    entry = found[0].operation
    assert isinstance(entry, SearchEntry)
    return dict(entry.attributes)


def test_changes_to_one_entry_that_are_asked_for_at_once_are_all_made(directory: Running) -> None:
    directory.run(directory.chart.add(address("new1")))
    with directory.client() as one, directory.client() as other:
        one.bind()
        other.bind()
        one.send(*[changed("description", b"%d" % number) for number in range(10)], changed("displayName", b"New"))
        other.send(*[changed("telephoneNumber", b"+43 %d" % number) for number in range(10)])
        assert codes(one, 11) + codes(other, 10) == [0] * 21
        found = attributes(one, "new1")
    assert sorted(found["description"]) == [b"%d" % number for number in range(10)]
    assert sorted(found["telephoneNumber"]) == [b"+43 %d" % number for number in range(10)]
    assert found["displayName"] == (b"New",)
    directory.run(directory.chart.remove(address("new1")))


def test_of_two_additions_of_one_name_one_is_made(directory: Running) -> None:
    def addition(host: bytes) -> AddRequest:
        classes = (b"device", b"ipHost")
        return AddRequest(
            f"cn=new2,{BASE}", (("objectClass", classes), ("cn", (b"new2",)), ("ipHostNumber", (host,)))
        )

    with directory.client() as one, directory.client() as other:
        one.bind()
        other.bind()
        one.send(addition(b"10.0.0.1"))
        other.send(addition(b"10.0.0.2"))
        results = codes(one, 1) + codes(other, 1)
        assert sorted(results) == [ResultCode.SUCCESS, ResultCode.ENTRY_ALREADY_EXISTS]
        assert attributes(one, "new2")["ipHostNumber"] == (b"10.0.0.%d" % (results.index(0) + 1),)
        assert one.result(DeleteRequest(f"cn=new2,{BASE}"))[0] == 0


def test_a_binding_that_runs_out_leads_nowhere_from_that_moment_on(directory: Running, client: Client) -> None:
    one = replace(SCANNERS, filter=f.Equals("mail", b"brief1@office.lan"), attributes=("ipHostNumber",))
    ends = datetime.now(UTC) + timedelta(seconds=0.4)
    brief = replace(binding("brief1"), updated=ends - timedelta(hours=1), expires=ends)
    directory.run(directory.chart.bind(brief))
    is_found = True
    while is_found:  # the same answer from memory, until it is no longer true
        asked = datetime.now(UTC)
        entry: Any = client.ask(one)[0].operation
        is_found = entry.attributes == (("ipHostNumber", (b"10.0.0.7",)),)
        assert is_found or datetime.now(UTC) >= ends
        assert not is_found or asked < ends
    directory.run(directory.chart.remove(address("brief1")))


def test_a_change_is_found_by_everybody_as_soon_as_it_is_answered(directory: Running) -> None:
    """Searches for one address are answered from memory until the chart changes."""
    one = replace(SCANNERS, filter=f.Equals("mail", b"new3@office.lan"), attributes=("ipHostNumber",))
    directory.run(directory.chart.add(address("new3")))
    with directory.client() as writer, directory.client() as reader:
        writer.bind()
        assert len(reader.ask(one)) == 2
        for number in range(1, 20):
            host = b"10.0.1.%d" % number
            change = Modification(ModificationKind.REPLACE, "ipHostNumber", (host,))
            assert writer.result(ModifyRequest(f"cn=new3,{BASE}", (change,)))[0] == 0
            entry: Any = reader.ask(one)[0].operation
            assert entry.attributes == (("ipHostNumber", (host,)),)
        assert writer.result(DeleteRequest(f"cn=new3,{BASE}"))[0] == 0
        assert reader.names(one) == ([], 0)
