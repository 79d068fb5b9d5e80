"""POP3 on loopback, with Python's poplib as the client, on both event loops."""

from __future__ import annotations

import asyncio
import poplib
import socket
import ssl
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import uvloop
from tests.pop3_running import ANNA, OTTO, PASSWORD, Running, running_pop3

from lanpost.errors import StoreBusy
from lanpost.model.address import MailAddress
from lanpost.net import pop3
from lanpost.service.ports import MailboxSession
from lanpost.wire import pop3_server

NewLoop = Callable[[], asyncio.AbstractEventLoop]
MAIL = b"Subject: hello\r\nFrom: otto@office.lan\r\n\r\nline\r\n.\r\n..dots\r\nend\r\n"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    chosen: NewLoop = request.param
    return chosen


@pytest.fixture
def server(tmp_path: Path, new_loop: NewLoop) -> Iterator[Running]:
    with running_pop3(tmp_path, new_loop=new_loop) as running:
        yield running


def client(server: Running, login: str = "anna") -> poplib.POP3:
    connection = poplib.POP3("127.0.0.1", server.port, timeout=20)
    try:
        connection.user(login)
        connection.pass_(PASSWORD)
    except BaseException:
        connection.close()
        raise
    return connection


def is_free(server: Running, login: str) -> bool:
    """Nobody else has the mailbox open."""
    try:
        client(server, login).quit()
    except poplib.error_proto as refusal:
        if "[IN-USE]" not in str(refusal):
            raise
        return False
    return True


def raw(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def read_to_end(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def read_lines(sock: socket.socket, count: int) -> bytes:
    received = b""
    while received.count(b"\r\n") < count:
        received += sock.recv(1000)
    return received


def test_mail_is_listed_fetched_and_deleted_at_quit(server: Running) -> None:
    server.put(MAIL, b"Subject: two\r\n\r\n", b"Subject: three\r\n\r\n")
    connection = client(server, "anna@office.lan")
    assert connection.stat() == (3, len(MAIL) + 16 + 18)
    assert connection.list()[1] == [b"1 %d" % len(MAIL), b"2 16", b"3 18"]
    ids = [line.split()[1] for line in connection.uidl()[1]]
    assert len(set(ids)) == 3
    assert b"\r\n".join(connection.retr(1)[1]) + b"\r\n" == MAIL
    assert connection.top(1, 1)[1] == [b"Subject: hello", b"From: otto@office.lan", b"", b"line"]
    connection.dele(1)
    connection.dele(3)
    connection.quit()
    assert server.kept() == [b"Subject: two\r\n\r\n"]
    again = client(server)
    assert again.uidl()[1] == [b"1 " + ids[1]]
    again.quit()


def test_a_dropped_connection_deletes_nothing_and_frees_the_mailbox(server: Running) -> None:
    server.put(MAIL)
    connection = client(server)
    connection.dele(1)
    connection.close()
    server.run(server.all_gone())
    assert server.kept() == [MAIL]


def test_a_mailbox_is_read_by_one_session_at_a_time(server: Running) -> None:
    first = client(server)
    with pytest.raises(poplib.error_proto, match=r"-ERR \[IN-USE\] another session has the mailbox"):
        client(server)
    client(server, "otto").quit()
    first.quit()
    client(server).quit()


def test_the_mailbox_is_free_before_quit_is_answered(server: Running) -> None:
    for _ in range(20):
        server.put(b"x\r\n")
        connection = client(server)
        connection.dele(1)
        connection.quit()
        assert server.kept() == []


def test_stls(server: Running) -> None:
    server.put(MAIL)
    connection = poplib.POP3("127.0.0.1", server.port, timeout=20)
    assert "STLS" in connection.capa()
    connection.stls(server.client_tls())
    assert "STLS" not in connection.capa()
    connection.user("anna")
    connection.pass_(PASSWORD)
    assert b"\r\n".join(connection.retr(1)[1]) + b"\r\n" == MAIL
    connection.dele(1)
    connection.quit()
    assert server.kept() == []


def test_no_password_without_tls_from_other_networks(tmp_path: Path, new_loop: NewLoop) -> None:
    with running_pop3(tmp_path, plaintext=False, new_loop=new_loop) as server:
        connection = poplib.POP3("127.0.0.1", server.port, timeout=20)
        with pytest.raises(poplib.error_proto, match="give STLS first"):
            connection.user("anna")
        connection.stls(server.client_tls())
        connection.user("anna")
        connection.pass_(PASSWORD)
        connection.quit()


def test_what_was_sent_in_the_clear_behind_stls_is_never_obeyed(server: Running) -> None:
    server.put(MAIL)
    with raw(server) as sock:
        sock.sendall(b"STLS\r\nUSER anna\r\nPASS correct horse\r\nDELE 1\r\nQUIT\r\n")
        answer = read_lines(sock, 2)
        sock.sendall(b"USER anna\r\nPASS correct horse\r\nDELE 1\r\nQUIT\r\n")
        answer += read_to_end(sock)
    assert answer.count(b"+OK") == 2  # the greeting and STLS; then its bytes are no handshake
    server.run(server.all_gone())
    assert server.kept() == [MAIL]


def test_a_handshake_that_fails_frees_its_place(server: Running) -> None:
    for _ in range(3):
        with raw(server) as sock:
            sock.sendall(b"STLS\r\n")
            read_lines(sock, 2)
            sock.sendall(b"this is no client hello\r\n\r\n")
            read_to_end(sock)
    server.run(server.all_gone())
    assert server.listener.count == 0


def test_a_client_that_resets_during_the_handshake_frees_its_place(server: Running) -> None:
    for _ in range(3):
        with raw(server) as sock:
            sock.sendall(b"STLS\r\n")
            read_lines(sock, 2)
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a client hello
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.run(server.all_gone())
    assert server.listener.count == 0


def test_without_a_certificate_stls_is_not_offered(tmp_path: Path) -> None:
    with running_pop3(tmp_path, tls=False) as server, raw(server) as sock:
        sock.sendall(b"CAPA\r\nSTLS\r\nQUIT\r\n")
        answer = read_to_end(sock)
    assert answer.endswith(b".\r\n-ERR no TLS here\r\n+OK Goodbye\r\n")
    assert b"\r\nSTLS\r\n" not in answer


def test_a_wrong_password_waits_longer_each_time(server: Running) -> None:
    with raw(server) as sock:
        sock.sendall(b"USER anna\r\nPASS wrong\r\n" * 6)
        answer = read_to_end(sock)
    assert answer.count(b"-ERR [AUTH] wrong mail address or password\r\n") == pop3_server.MAX_WRONG_PASSWORDS
    assert server.service.delays.failed("127.0.0.1", time.monotonic()) >= 0.032


def test_a_pipelined_session_is_answered_in_order_even_when_the_client_has_stopped_sending(server: Running) -> None:
    server.put(MAIL, b"two\r\n")
    with raw(server) as sock:
        sock.sendall(b"USER anna\r\nPASS correct horse\r\nRETR 1\r\nDELE 1\r\nRETR 2\r\nQUIT\r\n")
        sock.shutdown(socket.SHUT_WR)
        answer = read_to_end(sock)
    assert answer.endswith(b"+OK mail 1 will be deleted at QUIT\r\n+OK 5 octets\r\ntwo\r\n.\r\n+OK Goodbye\r\n")
    assert MAIL.replace(b"\r\n.", b"\r\n..") in answer
    assert server.kept() == [b"two\r\n"]


def test_a_mail_that_has_gone_is_refused_and_the_session_goes_on(server: Running) -> None:
    server.put(MAIL, b"two\r\n")
    connection = client(server)
    min((server.mailboxes._maildir(ANNA) / "new").iterdir()).unlink()
    with pytest.raises(poplib.error_proto, match=r"-ERR \[SYS/TEMP\] another program has removed this mail"):
        connection.retr(1)
    assert connection.retr(2)[1] == [b"two"]
    connection.quit()


def test_an_idle_client_is_logged_out_without_deleting(tmp_path: Path, new_loop: NewLoop) -> None:
    with running_pop3(tmp_path, idle_seconds=0.1, new_loop=new_loop) as server:
        server.put(MAIL)
        with raw(server) as sock:
            sock.sendall(b"USER anna\r\nPASS correct horse\r\nDELE 1\r\n")
            with suppress(ConnectionResetError):
                read_to_end(sock)
        server.run(server.all_gone())
        assert server.kept() == [MAIL]


def test_stopping_takes_leave_of_waiting_clients(server: Running) -> None:
    server.put(MAIL)
    connection = client(server)
    connection.dele(1)
    assert server.run(server.listener.drain(5)) == 0
    with pytest.raises((poplib.error_proto, ConnectionError)):
        connection.noop()
    connection.close()
    assert server.kept() == [MAIL]


def test_five_thousand_mails_are_listed_quickly(server: Running) -> None:
    new = server.mailboxes._maildir(ANNA) / "new"
    for number in range(5000):
        (new / f"17000{number:05}.M1P1Q1.host,S=4,W=5").write_bytes(b"abc\n")
    connection = client(server)
    started = time.monotonic()
    connection.stat()
    assert len(connection.list()[1]) == len(connection.uidl()[1]) == 5000
    assert time.monotonic() - started < 5
    assert connection.retr(4321)[1] == [b"abc"]
    for number in range(1, 5001, 100):
        connection.dele(number)
    connection.quit()
    assert server.mailboxes.held(ANNA)[0] == 4950


def test_memory_stays_bounded_while_a_slow_client_fetches_a_large_mail(server: Running) -> None:
    size = 20 * 1024 * 1024
    line = b".beginning with a dot " + b"x" * 50 + b"\r\n"
    lines = size // len(line)
    server.mailboxes.deliver(ANNA, (line * 1000 for _ in range(lines // 1000))).result(60)
    expected = (len(line) + 1) * (lines // 1000) * 1000
    with raw(server) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        tracemalloc.start()
        try:
            sock.sendall(b"USER anna\r\nPASS correct horse\r\nRETR 1\r\nQUIT\r\n")
            received = 0
            tail = b""
            while data := sock.recv(16384):
                received += len(data)
                tail = (tail + data)[-20:]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert tail.endswith(b"\r\n.\r\n+OK Goodbye\r\n")
    assert received > expected
    assert peak < 4 * 1024 * 1024


def test_one_who_never_reads_does_not_make_us_read_his_commands(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pop3, "MAX_BUFFERED", 1024)
    server.put(*[b"x" * 1000 + b"\r\n"] * 3)
    with raw(server) as sock:
        sock.setblocking(False)
        sent = 0
        pending = b"USER anna\r\nPASS correct horse\r\n" + b"RETR 1\r\n" * 3_000_000
        refused = 0
        while sent < len(pending) and refused < 50:
            try:
                sent += sock.send(pending[sent : sent + 65536])
                refused = 0
            except BlockingIOError:
                refused += 1
                server.run(asyncio.sleep(0.005))
        assert refused == 50
    server.run(server.all_gone())


def test_a_session_cut_off_while_its_mailbox_opens_does_not_keep_it(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(server.mailboxes.open_session(OTTO)), pytest.raises(StoreBusy):
        server.mailboxes.open_session(OTTO)

    async def cut_off() -> None:
        (task,) = server.service.tasks
        task.cancel()
        await asyncio.wait([task])

    with raw(server) as sock:
        opening, go_on = asyncio.Event(), asyncio.Event()
        real = server.service.open_mailbox

        def slow(address: MailAddress) -> MailboxSession:
            server.loop.call_soon_threadsafe(opening.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), server.loop).result(20)
            return real(address)

        monkeypatch.setattr(server.service, "open_mailbox", slow)
        sock.sendall(b"USER otto\r\nPASS correct horse\r\n")
        server.run(opening.wait())
        server.run(cut_off())
        server.loop.call_soon_threadsafe(go_on.set)
        read_to_end(sock)
    monkeypatch.setattr(server.service, "open_mailbox", real)
    give_up = time.monotonic() + 20
    while not is_free(server, "otto"):  # the thread that opened it closes it
        assert time.monotonic() < give_up, "the mailbox is kept"
        server.run(asyncio.sleep(0.005))


def test_a_command_that_comes_with_the_end_of_the_handshake_is_answered(server: Running) -> None:
    """TLS 1.3: the client's last word of the handshake and its first command travel in one packet."""
    with raw(server) as sock:
        sock.sendall(b"STLS\r\n")
        read_lines(sock, 2)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server.client_tls().wrap_bio(incoming, outgoing)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls.write(b"NOOP\r\nQUIT\r\n")
        sock.sendall(outgoing.read())
        answer = b""
        while b"Goodbye" not in answer:
            try:
                answer += tls.read(1000)
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
    assert answer == b"-ERR NOOP is not valid in the authorization state\r\n+OK Goodbye\r\n"
