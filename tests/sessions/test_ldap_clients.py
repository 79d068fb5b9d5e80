"""Clients of the directory that err, rest, do not read or ask too much; and the end, theirs or ours."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import directory_running
from tests.directory_running import ADMIN, BASE, PASSWORD, Client, Running, address, binding
from tests.ldap_values import requests

from lanpost.app.event_loop import new_event_loop
from lanpost.net import listener
from lanpost.net.ldap import BATCH, MAX_MESSAGE, READ_AHEAD, UNREAD
from lanpost.net.login_delays import LoginDelays
from lanpost.wire import ldap_filter as f
from lanpost.wire.ldap_client import State
from lanpost.wire.ldap_controls import SYNC_REQUEST_OID, SyncMode, SyncRequest
from lanpost.wire.ldap_encode import encode_operation, encode_search_done
from lanpost.wire.ldap_extensions import WHO_AM_I_OID
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    BindRequest,
    Control,
    DeleteRequest,
    ExtendedRequest,
    Message,
    Modification,
    ModificationKind,
    ModifyRequest,
    ResultCode,
    Scope,
    SearchEntry,
    SearchRequest,
    UnbindRequest,
)

COUNT = 2000
running_directory = partial(directory_running.running_directory, new_loop=new_event_loop)  # as our programs have it
ALL = SearchRequest(BASE, Scope.ONE, f.Present("objectClass"))
ONE = SearchRequest(BASE, Scope.SUBTREE, f.Equals("mail", b"fax7@office.lan"), ("cn",))
WHO = ExtendedRequest(WHO_AM_I_OID)
FOLLOW = Control(SYNC_REQUEST_OID, value=SyncRequest(SyncMode.REFRESH_AND_PERSIST).encode())


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_directory(tmp_path_factory.mktemp("directory")) as running:
        running.run(running.chart.bind_many([binding(f"fax{number}") for number in range(COUNT)]))
        yield running


def is_served(directory: Running) -> bool:
    with directory.client() as client:
        return client.names(ONE) == ([f"cn=fax7,{BASE}"], 0)


def notice(client: Client) -> tuple[int, str]:
    """The server's last word (RFC 4511 §4.4.1), after which it closes: code and text."""
    message = client.next()
    while message is not None and message.id != 0:
        message = client.next()
    assert message is not None
    operation: Any = message.operation
    assert client.session.state is State.CLOSED
    assert client.is_closed()
    return operation.result.code, operation.result.text


# -- what is no LDAP, and too much of it


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO office.lan\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 100,
        b"\x30\x80\x02\x01\x01\x42\x00\x00\x00",  # of indefinite length (RFC 4511 §5.1)
        b"\x30\x84\xff\xff\xff\xff",  # 4 GiB are to follow
        b"\x30" + b"\x84" + (MAX_MESSAGE + 1).to_bytes(4, "big"),
        encode_operation(0, WHO),
        b"\x30\x05\x02\x01\x01\x61\x00",  # a response
    ],
)
def test_what_is_no_request_is_told_so_and_ends_the_connection(directory: Running, octets: bytes) -> None:
    with directory.client() as client:
        client.socket.sendall(octets)
        assert notice(client)[0] == ResultCode.PROTOCOL_ERROR
    assert is_served(directory)


@given(
    st.lists(
        st.binary(min_size=1, max_size=40) | st.builds(encode_operation, st.integers(1, 9), requests), max_size=5
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_sent_it_goes_on_serving(directory: Running, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", directory.port), 30) as raw:
        for piece in pieces:
            try:
                raw.sendall(piece)
            except ConnectionError:
                break
        try:
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass
        except OSError:
            pass
    assert is_served(directory)


@pytest.mark.parametrize("size", [READ_AHEAD - 100, READ_AHEAD + 1, MAX_MESSAGE - 200])
def test_a_request_as_long_as_is_allowed_is_answered(directory: Running, size: int) -> None:
    asked = replace(ALL, filter=f.Or((f.Equals("cn", b"fax7"), f.Equals("description", b"x" * size))))
    with directory.client() as client:
        assert client.names(asked) == ([f"cn=fax7,{BASE}"], 0)


def test_a_request_that_comes_octet_by_octet_is_answered(directory: Running) -> None:
    with directory.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in encode_operation(client.session.send(ONE), ONE):
            client.socket.sendall(bytes([octet]))
        client.session.data_to_send()
        found = client.next()
        assert found is not None
        assert isinstance(found.operation, SearchEntry)


def test_requests_before_the_one_that_errs_are_answered(directory: Running) -> None:
    with directory.client() as client:
        client.session.send(ONE)
        client.socket.sendall(client.session.data_to_send() + b"\x00\x00")
        found = client.next()
        assert found is not None
        assert isinstance(found.operation, SearchEntry)
        assert notice(client)[0] == ResultCode.PROTOCOL_ERROR


# -- clients that do not read


def held(directory: Running) -> int:
    """Octets in the server's memory, of all its clients."""
    return sum(
        each.transport.get_write_buffer_size() + each._session.buffered + each._session.unsent  # type: ignore[attr-defined]
        for each in directory.listener._connections
    )


def test_clients_that_do_not_read_take_little_memory_and_nobodys_time(directory: Running) -> None:
    count = 6
    flood = b"".join(encode_operation(number, ALL) for number in range(1, 60))
    with ExitStack() as stack:
        silent = [stack.enter_context(directory.client(receive_buffer=4096)) for _ in range(count)]
        for client in silent:
            client.socket.sendall(flood)
        with directory.client() as quick:
            # Each has had its fill once all of their transports are stopped.
            give_up = time.monotonic() + 60
            while directory.call(lambda: sum(not each.is_read for each in directory.listener._connections)) < count:  # type: ignore[attr-defined]
                assert time.monotonic() < give_up
                assert quick.names(ONE)[1] == 0
            began = time.monotonic()
            for _ in range(50):
                assert quick.names(ONE)[1] == 0
            assert time.monotonic() - began < 15
        assert directory.call(held, directory) <= count * (UNREAD + 4 * BATCH + len(flood))
    assert is_served(directory)


@pytest.mark.parametrize("encrypted", [False, True], ids=["in the clear", "TLS"])
def test_a_client_that_reads_late_gets_everything(directory: Running, encrypted: bool) -> None:
    tls = directory.client_tls() if encrypted else None
    with directory.client(receive_buffer=4096, tls=tls) as client:
        client.send(*[ALL] * 2)  # more than is kept for him
        give_up = time.monotonic() + 30
        while directory.call(lambda: all(each.is_read for each in directory.listener._connections)):  # type: ignore[attr-defined]
            assert time.monotonic() < give_up
        found: list[Message] = []
        while client.session.open_operations:
            message = client.next()
            assert message is not None
            found.append(message)
        assert sum(isinstance(each.operation, SearchEntry) for each in found) == 2 * COUNT


def test_a_client_that_has_long_not_read_is_let_go(tmp_path: Path) -> None:
    with running_directory(tmp_path, idle_seconds=0.3) as directory:
        directory.run(directory.chart.bind_many([binding(f"fax{number}") for number in range(COUNT)]))
        with directory.client(receive_buffer=4096) as client:
            client.send(*[ALL] * 10)
            give_up = time.monotonic() + 30
            while directory.call(lambda: directory.listener.count):
                assert time.monotonic() < give_up


# -- one client beside another


def test_a_filter_that_takes_long_does_not_keep_others_waiting(directory: Running) -> None:
    hard = tuple(
        f.Extensible("", "caseIgnoreMatch", b"nothing%d" % each, dn_attributes=True) for each in range(250)
    )
    with directory.client() as slow, directory.client() as quick:
        (message_id,) = slow.send(replace(ALL, filter=f.Or(hard)))
        began = time.monotonic()
        for _ in range(30):
            assert quick.names(ONE)[1] == 0
        took = time.monotonic() - began
        slow.session.abandon(message_id)
        slow.flush()
    assert took < 30  # each look-up would wait for 128 entries: seconds


def test_whoever_pipelines_much_lets_others_have_their_turn(directory: Running) -> None:
    many = b"".join(encode_operation(number, ONE) for number in range(1, 20_001))
    with directory.client() as greedy, directory.client() as modest:
        sender = threading.Thread(target=greedy.socket.sendall, args=(many,))
        sender.start()
        received = bytearray(greedy.socket.recv(65536))
        for _ in range(20):
            assert modest.names(ONE)[1] == 0
        while not received.endswith(encode_search_done(20_000)):
            data = greedy.socket.recv(1 << 20)
            assert data
            received += data
        sender.join()
        assert received.count(b"cn=fax7,") == 20_000


# -- idleness, and the end


def test_a_silent_client_is_told_and_let_go_but_none_that_waits_for_changes(tmp_path: Path) -> None:
    with (
        running_directory(tmp_path, idle_seconds=0.3) as directory,
        directory.client() as follower,
        directory.client() as silent,
    ):
        follower.send(ALL, controls=[FOLLOW])
        assert silent.names(ALL) == ([], 0)
        code, text = notice(silent)
        assert (code, bool(text)) == (ResultCode.UNAVAILABLE, True)
        directory.run(directory.chart.bind(binding("fax1")))
        message = follower.next()
        while message is not None and not isinstance(message.operation, SearchEntry):
            message = follower.next()
        assert message is not None, follower.session.fault


def test_silence_begins_with_the_last_answer(tmp_path: Path) -> None:
    idle = 0.4
    late = LoginDelays(first=1.5 * idle)
    with running_directory(tmp_path, idle_seconds=idle, delays=late) as directory, directory.client() as client:
        assert client.bind(ADMIN, b"wrong") == ResultCode.INVALID_CREDENTIALS
        answered = time.monotonic()
        assert notice(client)[0] == ResultCode.UNAVAILABLE
        assert time.monotonic() - answered > 0.75 * idle


def test_unbind_ends_the_connection_without_a_word(directory: Running) -> None:
    with directory.client() as client:
        client.session.send(UnbindRequest())
        client.socket.sendall(client.session.data_to_send() + encode_operation(9, WHO))
        assert client.socket.recv(100) == b""


def test_whoever_hangs_up_leaves_no_trace(directory: Running) -> None:
    before = directory.call(lambda: directory.listener.count)
    for linger in (False, True):
        client = directory.client(receive_buffer=4096)
        client.send(*[ALL] * 5)
        client.socket.recv(1000)
        if linger:  # closed with a reset
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.close()
    give_up = time.monotonic() + 30
    while directory.call(lambda: (directory.listener.count, len(directory.service.tasks))) != (before, 0):
        assert time.monotonic() < give_up
    assert is_served(directory)


def test_a_stop_takes_leave_of_everybody(tmp_path: Path) -> None:
    with running_directory(tmp_path) as directory, ExitStack() as stack:
        plain = stack.enter_context(directory.client())
        encrypted = stack.enter_context(directory.client(tls=directory.client_tls()))
        follower = stack.enter_context(directory.client())
        for client in (plain, encrypted):
            assert client.result(WHO)[0] == 0
        follower.send(ALL, controls=[FOLLOW])
        follower.next()
        directory.stop()
        for client in (plain, encrypted, follower):
            assert notice(client)[0] == ResultCode.UNAVAILABLE


def test_a_change_under_way_is_answered_before_the_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As for a client of long standing: nobody is let say first what he came for.
    monkeypatch.setattr(listener, "FIRST_WORDS_SECONDS", 0.0)
    monkeypatch.setattr(listener, "ACCEPT_TURNS", 0)
    change = Modification(ModificationKind.REPLACE, "description", (b"written",))
    with running_directory(tmp_path) as directory, directory.client() as client:
        directory.run(directory.chart.add(address("fax1")))
        client.bind()
        with closing(sqlite3.connect(tmp_path / "chart.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # whoever writes now waits
            client.send(ModifyRequest(f"cn=fax1,{BASE}", (change,)))
            give_up = time.monotonic() + 30
            while not directory.call(lambda: len(directory.service.changes)):
                assert time.monotonic() < give_up
            stopping = threading.Thread(target=directory.stop)
            stopping.start()
            while directory.call(lambda: directory.listener._servers):
                assert time.monotonic() < give_up
            client.send(DeleteRequest(f"cn=fax1,{BASE}"))  # comes too late
            other.execute("ROLLBACK")
        answer: Any = client.next()
        assert answer.operation.result.code == ResultCode.SUCCESS
        assert notice(client)[0] == ResultCode.UNAVAILABLE
        stopping.join(30)
        entry = directory.run(directory.chart.look_up(address("fax1")))
        assert entry is not None
        assert list(entry.details) == [("description", "written")]


def test_an_abandoned_change_is_made_wholly_or_not_at_all_and_not_answered(directory: Running) -> None:
    changes = tuple(
        Modification(ModificationKind.REPLACE, name, (b"x",)) for name in ("description", "displayName", "o")
    )
    with directory.client() as client:
        client.bind()
        (message_id,) = client.send(ModifyRequest(f"cn=fax1,{BASE}", changes))
        client.socket.sendall(encode_operation(50, AbandonRequest(message_id)))
        found = client.ask(replace(ALL, base=f"cn=fax1,{BASE}", scope=Scope.BASE))
        entry = next(each.operation for each in found if isinstance(each.operation, SearchEntry))
        told = {name for name, _ in entry.attributes} & {"description", "displayName", "o"}
        assert len(told) in (0, 3)


def test_descriptors_of_clients_that_are_gone_are_given_back(directory: Running) -> None:
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = descriptors()
    for _ in range(20):
        for tls in (None, directory.client_tls()):
            with directory.client(tls=tls) as client:
                assert client.result(BindRequest(ADMIN, PASSWORD))[0] == 0
    give_up = time.monotonic() + 30
    while descriptors() > before:
        assert time.monotonic() < give_up
