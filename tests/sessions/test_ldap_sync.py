"""A copy of the chart kept by content synchronisation (RFC 4533): what is told, and what is left out."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.directory_running import BASE, SUFFIX, Client, Running, address, binding, running_directory

from lanpost.model.details import Details
from lanpost.net import ldap_sync
from lanpost.service.directory_tree import uuid_of
from lanpost.store import chart_sqlite
from lanpost.wire import ldap_filter as f
from lanpost.wire.ldap_controls import (
    SYNC_DONE_OID,
    SYNC_REQUEST_OID,
    SYNC_STATE_OID,
    SyncDone,
    SyncMode,
    SyncRequest,
    SyncState,
    SyncStateKind,
)
from lanpost.wire.ldap_messages import (
    Control,
    IntermediateResponse,
    ResultCode,
    Scope,
    SearchDone,
    SearchEntry,
    SearchRequest,
)
from lanpost.wire.ldap_sync_info import RefreshDelete, RefreshPresent, read_sync_info

ALL = SearchRequest(BASE, Scope.ONE, f.Present("objectClass"), ("cn", "ipHostNumber", "description"))
OFFICE = replace(ALL, filter=f.Equals("description", b"office"))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Running]:
    with running_directory(tmp_path) as running:
        yield running


@pytest.fixture
def client(directory: Running) -> Iterator[Client]:
    with directory.client() as client:
        yield client


def bind(directory: Running, name: str, host: str = "10.0.0.7") -> None:
    directory.run(directory.chart.bind(binding(name, f"{host}:25", lasts=0)))


def describe(directory: Running, name: str, *words: str) -> None:
    directory.run(directory.chart.describe(address(name), Details.of([("description", word) for word in words])))


def remove(directory: Running, name: str) -> None:
    directory.run(directory.chart.remove(address(name)))


def sync(mode: SyncMode, cookie: bytes | None = None) -> Control:
    return Control(SYNC_REQUEST_OID, critical=True, value=SyncRequest(mode, cookie).encode())


def name_in(entry: SearchEntry) -> str:
    return entry.name.partition(",")[0].removeprefix("cn=")


def value_of(message: Any, oid: str) -> bytes | None:
    (value,) = [control.value for control in message.controls if control.oid == oid]
    return value  # type: ignore[no-any-return]


@dataclass
class Told:
    """One refresh as it came."""

    added: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    cookie: bytes | None = None
    is_all: bool = False  # what was not named is gone


def told_of(message: Any, told: Told) -> None:
    state = SyncState.read(value_of(message, SYNC_STATE_OID))
    name = name_in(message.operation)
    assert state.uuid == uuid_of(address(name).key).bytes
    (told.deleted if state.kind is SyncStateKind.DELETE else told.added).append(name)
    if state.kind is SyncStateKind.DELETE:
        assert message.operation.attributes == ()


def number_in(cookie: bytes | None) -> bytes:
    """What of a cookie says how far its holder has got; the CSN behind it has the time of asking."""
    return (cookie or b"").partition(b",")[0]


def refreshed(client: Client, cookie: bytes | None = None, request: SearchRequest = ALL) -> Told:
    told = Told()
    *entries, done = client.ask(request, [sync(SyncMode.REFRESH_ONLY, cookie)])
    for message in entries:
        told_of(message, told)
    assert isinstance(done.operation, SearchDone)
    assert done.operation.result.code == ResultCode.SUCCESS
    end = SyncDone.read(value_of(done, SYNC_DONE_OID))
    told.cookie, told.is_all = end.cookie, not end.refresh_deletes
    return told


class Follower:
    """A search that goes on; `first` is its refresh."""

    def __init__(self, client: Client, cookie: bytes | None = None, request: SearchRequest = ALL) -> None:
        self.client = client
        (self.id,) = client.send(request, controls=[sync(SyncMode.REFRESH_AND_PERSIST, cookie)])
        self.first = Told()
        while True:
            message = client.next()
            assert message is not None, client.session.fault
            if isinstance(message.operation, IntermediateResponse):
                break
            told_of(message, self.first)
        info = read_sync_info(message.operation.value)
        assert isinstance(info, RefreshPresent | RefreshDelete)
        assert info.done
        self.first.cookie, self.first.is_all = info.cookie, isinstance(info, RefreshPresent)

    def next(self) -> tuple[SyncStateKind, str, dict[str, tuple[bytes, ...]], bytes | None]:
        message = self.client.next()
        assert message is not None, self.client.session.fault
        entry = message.operation
        assert isinstance(entry, SearchEntry), entry
        state = SyncState.read(value_of(message, SYNC_STATE_OID))
        return state.kind, name_in(entry), dict(entry.attributes), state.cookie


# -- refreshOnly


def test_the_first_time_everything_is_told_and_then_only_what_changed(directory: Running, client: Client) -> None:
    for name in ("fax1", "fax2", "fax3"):
        bind(directory, name)
    first = refreshed(client)
    assert (first.added, first.deleted, first.is_all) == (["fax1", "fax2", "fax3"], [], True)
    again = refreshed(client, first.cookie)
    assert (again.added, again.deleted, again.is_all) == ([], [], False)
    bind(directory, "fax2", "10.0.0.8")
    bind(directory, "fax4")
    remove(directory, "fax1")
    later = refreshed(client, again.cookie)
    assert (later.added, later.deleted, later.is_all) == (["fax2", "fax4"], ["fax1"], False)
    last = refreshed(client, later.cookie)
    assert last == Told(cookie=last.cookie)
    assert number_in(last.cookie) == number_in(later.cookie)


def test_an_entry_that_went_and_came_back_is_there(directory: Running, client: Client) -> None:
    bind(directory, "fax1")
    cookie = refreshed(client).cookie
    remove(directory, "fax1")
    bind(directory, "fax1", "10.0.0.9")
    told = refreshed(client, cookie)
    assert told.added[-1:] == ["fax1"]
    assert not told.is_all


@pytest.mark.parametrize(
    "cookie", [b"", b"x", b"other:1", b":1", b"\xff\xfe:1", b"{}:99", b"{}:-1", b"{}:1x", b"{}:" + b"9" * 40]
)
def test_with_a_cookie_of_another_chart_everything_is_told(
    directory: Running, client: Client, cookie: bytes
) -> None:
    bind(directory, "fax1")
    generation = directory.call(lambda: directory.chart.generation).encode()
    told = refreshed(client, cookie.replace(b"{}", generation))
    assert (told.added, told.is_all) == (["fax1"], True)


def test_whoever_was_away_for_more_removals_than_are_remembered_begins_anew(
    directory: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart_sqlite, "REMOVED_KEPT", 3)
    monkeypatch.setattr(chart_sqlite, "REMOVED_TIDIED", 1)
    for name in ("fax0", *(f"gone{number}" for number in range(8))):
        bind(directory, name)
    cookie = refreshed(client).cookie
    for number in range(3):
        remove(directory, f"gone{number}")
    assert not refreshed(client, cookie).is_all
    for number in range(3, 8):
        remove(directory, f"gone{number}")
    told = refreshed(client, cookie)
    assert (told.added, told.deleted, told.is_all) == (["fax0"], [], True)


def test_nodes_above_the_chart_are_told_where_the_search_reaches_them(directory: Running, client: Client) -> None:
    bind(directory, "fax1")
    answers = client.ask(
        replace(ALL, base=SUFFIX, scope=Scope.SUBTREE, attributes=("entryUUID",)), [sync(SyncMode.REFRESH_ONLY)]
    )
    told = {}
    for message in answers[:-1]:
        entry: Any = message.operation
        state = SyncState.read(value_of(message, SYNC_STATE_OID))
        told[entry.name] = state.uuid
        assert dict(entry.attributes)["entryUUID"] == (str(uuid.UUID(bytes=state.uuid)).encode(),)
    assert list(told) == [SUFFIX, BASE, f"cn=fax1,{BASE}"]


def test_what_cannot_be_is_refused(client: Client) -> None:
    only = sync(SyncMode.REFRESH_ONLY)
    assert client.result(replace(ALL, base=f"cn=nobody,{BASE}"), [only])[0] == ResultCode.NO_SUCH_OBJECT
    assert client.result(replace(ALL, base="dc=else"), [only])[0] == ResultCode.NO_SUCH_OBJECT
    for value in (None, b"", b"\x30\x03\x0a\x01\x02", b"\x30\x03\x0a\x01\x09"):
        assert client.result(ALL, [Control(SYNC_REQUEST_OID, value=value)])[0] == ResultCode.PROTOCOL_ERROR


# -- refreshAndPersist


def test_each_change_is_told_as_it_is_made(directory: Running, client: Client) -> None:
    bind(directory, "fax1")
    follower = Follower(client)
    assert follower.first.added == ["fax1"]
    bind(directory, "fax2", "10.0.0.8")
    kind, name, attributes, cookie = follower.next()
    assert (kind, name, attributes["ipHostNumber"]) == (SyncStateKind.ADD, "fax2", (b"10.0.0.8",))
    describe(directory, "fax1", "office")
    assert follower.next()[1:3] == (
        "fax1",
        {"cn": (b"fax1",), "ipHostNumber": (b"10.0.0.7",), "description": (b"office",)},
    )
    remove(directory, "fax2")
    assert follower.next()[:3] == (SyncStateKind.DELETE, "fax2", {})
    directory.run(directory.chart.unbind(address("fax1")))
    kind, name, attributes, _ = follower.next()
    assert (kind, name) == (SyncStateKind.ADD, "fax1")
    assert "ipHostNumber" not in attributes
    # The cookie of a change leads on from there.
    with directory.client() as other:
        told = refreshed(other, cookie)
        assert told == Told(["fax1"], ["fax2"], cookie=told.cookie)
        assert number_in(told.cookie) == number_in(refreshed(other).cookie)


def test_who_comes_back_is_told_what_he_missed_and_goes_on(directory: Running, client: Client) -> None:
    bind(directory, "fax1")
    cookie = refreshed(client).cookie
    bind(directory, "fax2")
    remove(directory, "fax1")
    follower = Follower(client, cookie)
    assert (follower.first.added, follower.first.deleted, follower.first.is_all) == (["fax2"], ["fax1"], False)
    bind(directory, "fax3")
    assert follower.next()[:2] == (SyncStateKind.ADD, "fax3")


def test_what_no_longer_matches_is_gone_and_what_never_did_is_not_told(directory: Running, client: Client) -> None:
    for name, word in (("fax1", "office"), ("fax2", "home")):
        bind(directory, name)
        describe(directory, name, word)
    follower = Follower(client, request=OFFICE)
    assert follower.first.added == ["fax1"]
    describe(directory, "fax2", "garden")  # is not his business
    remove(directory, "fax2")
    describe(directory, "fax1", "home")
    assert follower.next()[:2] == (SyncStateKind.DELETE, "fax1")
    bind(directory, "fax1", "10.0.0.8")  # nor is this any more
    describe(directory, "fax1", "office", "home")
    assert follower.next()[:2] == (SyncStateKind.ADD, "fax1")


@pytest.mark.parametrize("scope", [Scope.BASE, Scope.SUBTREE])
def test_whoever_follows_one_entry_hears_of_no_other(directory: Running, client: Client, scope: Scope) -> None:
    bind(directory, "fax1")
    follower = Follower(client, request=replace(ALL, base=f"cn=fax1,{BASE}", scope=scope))
    bind(directory, "fax2")
    bind(directory, "fax1", "10.0.0.8")
    assert follower.next()[1] == "fax1"


def test_a_thousand_changes_at_once_are_all_told(directory: Running, client: Client) -> None:
    follower = Follower(client)
    names = [f"fax{number:04}" for number in range(1000)]
    directory.run(directory.chart.bind_many([binding(name) for name in names]))
    assert [follower.next()[1] for _ in names] == names
    bind(directory, "last")
    assert follower.next()[1] == "last"


def test_one_follower_too_many_is_told_so_before_anything_else(
    directory: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ldap_sync, "MAX_CONSUMERS", 2)
    bind(directory, "fax1")
    with directory.client() as other:
        first, _ = Follower(other), Follower(client)
        persist = sync(SyncMode.REFRESH_AND_PERSIST)
        (busy,) = client.ask(ALL, [persist])
        assert isinstance(busy.operation, SearchDone)
        assert busy.operation.result.code == ResultCode.BUSY
        assert refreshed(client).added == ["fax1"]  # now and then he may
        other.session.abandon(first.id)
        other.flush()
        assert other.names(ALL)[1] == 0  # the place is free
        Follower(client)


# -- a copy is a copy


NAMES = st.sampled_from(["fax1", "fax2", "fax3", "scan1"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("bind"), NAMES),
        st.tuples(st.just("unbind"), NAMES),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("office"), NAMES),
        st.tuples(st.just("home"), NAMES),
        st.tuples(st.just("refresh"), st.just("")),
        st.tuples(st.just("lost"), st.just("")),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_directory(tmp_path_factory.mktemp("shared")) as running:
        yield running


@given(STEPS, st.sampled_from([ALL, OFFICE]))
@settings(max_examples=40, deadline=None)
def test_a_copy_that_is_refreshed_now_and_then_is_what_a_search_finds(
    shared: Running, steps: list[tuple[str, str]], request: SearchRequest
) -> None:
    copy: dict[bytes, SearchEntry] = {}
    cookie: bytes | None = None

    def refresh(client: Client) -> None:
        nonlocal cookie
        *entries, done = client.ask(request, [sync(SyncMode.REFRESH_ONLY, cookie)])
        end = SyncDone.read(value_of(done, SYNC_DONE_OID))
        if not end.refresh_deletes:
            copy.clear()  # what is not named is gone, and what is named comes whole
        for message in entries:
            state = SyncState.read(value_of(message, SYNC_STATE_OID))
            assert isinstance(message.operation, SearchEntry)
            if state.kind is SyncStateKind.DELETE:
                copy.pop(state.uuid, None)
            else:
                copy[state.uuid] = message.operation
        cookie = end.cookie

    with shared.client() as client:
        for what, name in (*steps, ("refresh", "")):
            if what == "bind":
                bind(shared, name)
            elif what == "unbind":
                shared.run(shared.chart.unbind(address(name)))
            elif what == "remove":
                remove(shared, name)
            elif what == "refresh":
                refresh(client)
            elif what == "lost":
                cookie = None
            else:
                describe(shared, name, what)
        found = [each.operation for each in client.ask(request)[:-1]]
    assert sorted(copy.values(), key=lambda each: each.name) == found
