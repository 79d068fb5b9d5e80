"""Our directory as provider of copies (RFC 4533): what a consumer is told, at once and when it comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.directory_running import BASE, Client, Running, address, running_directory
from tests.mail_servers import wait_until

from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint
from lanpost.net.ldap import MAX_PERSISTING, READ_AHEAD
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
from lanpost.wire.ldap_encode import encode_message
from lanpost.wire.ldap_filter import Present
from lanpost.wire.ldap_messages import (
    BindRequest,
    Control,
    IntermediateResponse,
    Message,
    Scope,
    SearchDone,
    SearchEntry,
    SearchRequest,
)
from lanpost.wire.ldap_sync_info import RefreshDelete, RefreshPresent, read_sync_info

EVERYTHING = SearchRequest(BASE, Scope.ONE, Present("objectClass"), ("mailHost",))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with running_directory(tmp_path) as running:
        yield running


def bind(running: Running, name: str, host: str, seconds: float | None = None) -> None:
    now = datetime.now(UTC)
    expires = now + timedelta(seconds=seconds) if seconds else None
    running.run(running.chart.bind(Binding(address(name), Endpoint(host), now, expires)))


@dataclass
class Copy:
    """What a consumer has: for each name its mailHost, "" where it has none."""

    client: Client
    entries: dict[str, str] = field(default_factory=dict)
    cookie: bytes | None = None
    phase: object = None  # how the refresh ended
    named: set[str] = field(default_factory=set)  # since `follow`

    def follow(self, mode: SyncMode = SyncMode.REFRESH_AND_PERSIST) -> None:
        """Ask, and take what is told until the refresh is over."""
        asked = Control(SYNC_REQUEST_OID, critical=True, value=SyncRequest(mode, self.cookie).encode())
        self.client.send(EVERYTHING, controls=[asked])
        self.phase = None
        self.named = set()
        while self.phase is None:
            self.take()

    def take(self) -> None:
        """The next that is told."""
        message = self.client.next()
        assert message is not None
        told = message.operation
        if isinstance(told, SearchEntry):
            self._entry(message, told)
        elif isinstance(told, IntermediateResponse):
            phase = read_sync_info(told.value)
            assert isinstance(phase, RefreshPresent | RefreshDelete)
            self.phase, self.cookie = phase, phase.cookie
        else:
            assert isinstance(told, SearchDone)
            assert told.result.code == 0, told.result.text
            (value,) = (each.value for each in message.controls if each.oid == SYNC_DONE_OID)
            done = SyncDone.read(value)
            self.phase, self.cookie = done, done.cookie

    def _entry(self, message: Message, told: SearchEntry) -> None:
        (value,) = (each.value for each in message.controls if each.oid == SYNC_STATE_OID)
        state = SyncState.read(value)
        self.cookie = state.cookie or self.cookie
        name = told.name.partition(",")[0].removeprefix("cn=")
        self.named.add(name)
        if state.kind is SyncStateKind.DELETE:
            self.entries.pop(name, None)
        else:
            self.entries[name] = dict(told.attributes).get("mailHost", (b"",))[0].decode()


def test_a_binding_that_expires_is_told_though_nobody_changes_it(running: Running) -> None:
    bind(running, "fax1", "10.0.0.7", seconds=1.5)
    bind(running, "fax2", "10.0.0.8", seconds=3600)
    with running.client() as client:
        copy = Copy(client)
        copy.follow()
        assert copy.entries == {"fax1": "[10.0.0.7]", "fax2": "[10.0.0.8]"}
        copy.take()
        assert copy.entries == {"fax1": "", "fax2": "[10.0.0.8]"}
        bind(running, "fax1", "10.0.0.9", seconds=3600)
        copy.take()
        assert copy.entries == {"fax1": "[10.0.0.9]", "fax2": "[10.0.0.8]"}


def test_who_comes_back_is_told_what_changed_and_expired_meanwhile(running: Running) -> None:
    bind(running, "fax1", "10.0.0.7", seconds=0.2)
    bind(running, "fax2", "10.0.0.8")
    bind(running, "fax3", "10.0.0.9")
    with running.client() as client:
        copy = Copy(client)
        copy.follow(SyncMode.REFRESH_ONLY)
        assert copy.phase == SyncDone(copy.cookie)
        assert copy.entries["fax1"] == "[10.0.0.7]"
        running.run(running.chart.remove(address("fax2")))
        while copy.entries["fax1"]:
            copy.follow(SyncMode.REFRESH_ONLY)
            assert copy.phase == SyncDone(copy.cookie, refresh_deletes=True)
            assert "fax3" not in copy.named  # which did not change
        assert copy.entries == {"fax1": "", "fax3": "[10.0.0.9]"}


def test_a_cookie_that_openldap_made_of_ours_leads_to_everything(running: Running) -> None:
    bind(running, "fax1", "10.0.0.7")
    with running.client() as client:
        copy = Copy(client)
        copy.follow(SyncMode.REFRESH_ONLY)
        assert copy.cookie is not None
        copy.cookie = b"rid=001,csn=" + copy.cookie.partition(b"csn=")[2]
        shown, copy.entries = copy.cookie, {}
        copy.follow(SyncMode.REFRESH_ONLY)
        assert copy.phase == SyncDone(copy.cookie)
        assert copy.entries == {"fax1": "[10.0.0.7]"}
        assert copy.cookie.partition(b"csn=")[2] > shown.partition(b"csn=")[2]


def test_no_connection_is_filled_with_searches_that_never_end(running: Running) -> None:
    persist = SyncRequest(SyncMode.REFRESH_AND_PERSIST)
    asked = Control(SYNC_REQUEST_OID, critical=True, value=persist.encode())
    with running.client() as client:
        ids = client.send(*[EVERYTHING] * (MAX_PERSISTING + 1), controls=[asked])
        while set(client.session.open_operations) != set(ids[:-1]):
            assert client.next() is not None


def test_who_leaves_is_noticed_though_nothing_more_is_read_of_him(running: Running) -> None:
    for _ in range(20):
        running.directory.delays.failed("127.0.0.1", time.monotonic())
    wrong = encode_message(Message(1, BindRequest(f"cn=fax1,{BASE}", b"wrong")))  # is answered after 15 seconds
    more = encode_message(Message(2, EVERYTHING))
    with running.client() as client:
        client.socket.sendall(wrong + more * (READ_AHEAD // len(more) + 100))
        wait_until(lambda: bool(running.service.tasks), "his login", str)
    wait_until(lambda: not running.listener.count, "the end of his connection", str, 10)
