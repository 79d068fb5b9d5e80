from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import smtplib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import pytest
import uvloop
from tests.sessions.memory_intake import PASSWORD, MemoryIntake, Serving, serving, throwaway_tls

from lanpost.model.reply import STORAGE_FULL
from lanpost.net import smtp_in
from lanpost.net.listener import ConnectionLimits
from lanpost.net.smtp_in import SmtpService
from lanpost.wire.smtp_events import SmtpLimits, SmtpTerms

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
TERMS = SmtpTerms("mail.office.lan", "office.lan")
NewLoop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=LOOPS)
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    return LOOPS[request.param]


@pytest.fixture
def server(new_loop: NewLoop) -> Iterator[Serving]:
    with serving(SmtpService(MemoryIntake(), TERMS), new_loop=new_loop) as server:
        yield server


class Talk:
    """A client that says bytes and reads replies."""

    def __init__(self, server: Serving) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), 20)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.file.close()
        self.socket.close()

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> str:
        """The next reply's last line; "" at the end."""
        while (line := self.file.readline()).decode()[3:4] == "-":
            pass
        return line.decode().rstrip("\r\n")

    def replies(self) -> list[str]:
        """All replies till the server closes."""
        found = []
        while reply := self.reply():
            found.append(reply[:9])
        return found

    def begin_mail(self) -> None:
        self.say(b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<fax1>\r\nDATA\r\n")
        assert [self.reply()[:3] for _ in range(5)] == ["220", "250", "250", "250", "354"]


def test_smtplib_sends_a_mail(server: Serving) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, "client.office.lan") as client:
        client.sendmail("a@office.lan", ["fax1@office.lan", "fax2"], "Subject: hi\r\n\r\n.dot\r\nbody")
    (mail,) = server.intake.mails
    assert mail.content == b"Subject: hi\r\n\r\n..dot\r\nbody\r\n"
    assert [str(recipient.address) for recipient in mail.recipients] == ["fax1@office.lan", "fax2@office.lan"]
    assert (mail.client.host, mail.client.local_host) == ("127.0.0.1", "127.0.0.1")
    assert (mail.client.hello, mail.client.extended, mail.client.tls) == ("client.office.lan", True, "")


def test_replies_of_pipelined_commands_leave_in_one_write(server: Serving) -> None:
    with Talk(server) as talk:
        talk.reply()
        talk.say(b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<fax1>\r\nRCPT TO:<unknown>\r\nNOOP\r\nDATA\r\n")
        data = talk.socket.recv(65536)
        assert data.endswith(b"<CR><LF>.<CR><LF>\r\n")
        assert [line[:3] for line in data.split(b"\r\n")[-6:-1]] == [b"250", b"250", b"550", b"250", b"354"]


def test_many_mails_on_one_connection(server: Serving) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, "x") as client:
        for number in range(50):
            client.sendmail("a@b.c", ["fax1"], f"{number}")
    assert [mail.content for mail in server.intake.mails] == [b"%d\r\n" % number for number in range(50)]


def test_starttls_and_login(new_loop: NewLoop, tmp_path: Path) -> None:
    tls, trusting = throwaway_tls(tmp_path)
    terms = SmtpTerms("mail.office.lan", "office.lan", authentication=True, submission=True)
    with (
        serving(SmtpService(MemoryIntake(), terms), tls=tls, new_loop=new_loop) as server,
        smtplib.SMTP("127.0.0.1", server.port, "x") as client,
    ):
        client.ehlo()
        assert not client.has_extn("auth")
        client.starttls(context=trusting)
        client.ehlo()
        assert client.esmtp_features["auth"] == " PLAIN LOGIN"
        assert not client.has_extn("starttls")
        assert client.mail("a@b.c")[0] == 530
        client.login("anna@office.lan", PASSWORD)
        client.sendmail("anna@office.lan", ["fax1"], "x" * 300_000)
        (mail,) = server.intake.mails
        assert mail.client.tls.startswith("TLSv1.3 TLS_")
        assert mail.client.login == "anna@office.lan"
        assert mail.client.submission
        assert len(mail.content) == 300_002


def test_commands_injected_before_tls_are_never_obeyed(new_loop: NewLoop, tmp_path: Path) -> None:
    tls, _ = throwaway_tls(tmp_path)
    with serving(SmtpService(MemoryIntake(), TERMS), tls=tls, new_loop=new_loop) as server, Talk(server) as talk:
        talk.say(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@b.c>\r\n")
        assert talk.replies() == ["220 mail.", "250 START", "554 5.5.0"]


def test_a_failed_handshake_closes(new_loop: NewLoop, tmp_path: Path) -> None:
    tls, _ = throwaway_tls(tmp_path)
    with serving(SmtpService(MemoryIntake(), TERMS), tls=tls, new_loop=new_loop) as server:
        with smtplib.SMTP("127.0.0.1", server.port, "x") as client, pytest.raises(ssl.SSLError):
            client.starttls(context=ssl.create_default_context())
        with Talk(server) as talk:
            talk.say(b"EHLO x\r\nSTARTTLS\r\n")
            assert [talk.reply()[:3] for _ in range(3)] == ["220", "250", "220"]
            talk.say(b"this is no handshake\r\n")
            with contextlib.suppress(ConnectionResetError):
                while talk.socket.recv(1000):
                    pass
        server.run(server.listener.drain(20))
        assert server.listener.count == 0


def test_a_client_that_resets_during_the_handshake_frees_its_place(new_loop: NewLoop, tmp_path: Path) -> None:
    tls, _ = throwaway_tls(tmp_path)
    with serving(SmtpService(MemoryIntake(), TERMS), tls=tls, new_loop=new_loop) as server:
        for _ in range(3):
            with Talk(server) as talk:
                talk.say(b"EHLO x\r\nSTARTTLS\r\n")
                assert [talk.reply()[:3] for _ in range(3)] == ["220", "250", "220"]
                talk.say(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a client hello
                talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert server.run(server.listener.drain(5)) == 0, "nobody had to be cut off"
        assert server.listener.count == 0


def test_a_wrong_password_is_answered_later_each_time(new_loop: NewLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(smtp_in.asyncio, "sleep", noted)  # type: ignore[attr-defined]
    networks = (ipaddress.ip_network("127.0.0.0/8"),)
    terms = SmtpTerms("mail.office.lan", "office.lan", SmtpLimits(errors=6), authentication=True)
    service = SmtpService(MemoryIntake(), terms, networks_without_tls=networks)
    with serving(service, new_loop=new_loop) as server, Talk(server) as talk:
        talk.say(b"EHLO x\r\n" + b"AUTH PLAIN AGEAYg==\r\n" * 6)
        assert talk.replies() == ["220 mail.", "250 AUTH ", *["535 5.7.8"] * 6, "421 4.7.0"]
    assert [wait for wait in waits if wait] == [1, 2, 4, 8, 15, 15]  # others yield to the loop


def test_a_client_that_vanishes_in_its_mail_is_forgotten(server: Serving) -> None:
    with Talk(server) as talk:
        talk.begin_mail()
        talk.say(b"half a mail\r\n")
    assert server.intake.gone.wait(20)
    assert server.intake.aborted == 1
    assert not server.intake.mails


def test_a_client_that_vanishes_while_the_intake_thinks_is_forgotten(new_loop: NewLoop) -> None:
    with serving(SmtpService(MemoryIntake(slow=True), TERMS), new_loop=new_loop) as server:
        with Talk(server) as talk:
            talk.say(b"EHLO x\r\nMAIL FROM:<a@b.c>\r\n" + b"RCPT TO:<fax1>\r\n" * 500)
            talk.reply()
            talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert server.intake.gone.wait(20)


def test_a_whole_mail_is_kept_though_its_client_vanishes_before_the_answer(new_loop: NewLoop) -> None:
    intake = MemoryIntake(finishing=asyncio.Event())
    with serving(SmtpService(intake, TERMS), new_loop=new_loop) as server:
        with Talk(server) as talk:
            talk.begin_mail()
            talk.say(b"whole\r\n.\r\n")
            assert intake.asked.wait(20)
        # It has only closed its side, and may still listen for the answer: it goes by being cut off.
        assert server.run(server.listener.drain(0)) == 1
        assert intake.finishing
        server.loop.call_soon_threadsafe(intake.finishing.set)
        assert intake.arrived.wait(20)
    assert intake.aborted == 0


def test_replies_that_fill_the_buffers_before_starttls_block_nothing_behind_it(
    new_loop: NewLoop, tmp_path: Path
) -> None:
    tls, trusting = throwaway_tls(tmp_path)
    with serving(SmtpService(MemoryIntake(), TERMS), tls=tls, new_loop=new_loop) as server, Talk(server) as talk:
        count = 9_000
        talk.say(b"HELP\r\n" * count + b"STARTTLS\r\n")
        assert [talk.reply()[:3] for _ in range(count + 2)] == ["220", *["214"] * count, "220"]
        talk.file.close()
        with trusting.wrap_socket(talk.socket, server_hostname="127.0.0.1") as secured:
            secured.sendall(b"EHLO x\r\nQUIT\r\n")
            received = b""
            while not received.endswith(b"221 2.0.0 Bye\r\n"):
                received += secured.recv(1000)


def test_a_client_may_close_its_side_first(server: Serving) -> None:
    with Talk(server) as talk:
        talk.begin_mail()
        talk.say(b"whole\r\n.\r\nQUIT\r\n")
        talk.socket.shutdown(socket.SHUT_WR)
        assert talk.replies() == ["250 2.0.0", "221 2.0.0"]
    assert len(server.intake.mails) == 1


def test_a_silent_client_is_sent_away(new_loop: NewLoop) -> None:
    service = SmtpService(MemoryIntake(), TERMS, command_timeout=0.1)
    with serving(service, new_loop=new_loop) as server, Talk(server) as talk:
        assert talk.replies() == ["220 mail.", "421 4.4.2"]


def test_bytes_that_make_no_command_win_no_time(new_loop: NewLoop) -> None:
    service = SmtpService(MemoryIntake(), TERMS, command_timeout=0.3)
    with serving(service, new_loop=new_loop) as server, Talk(server) as talk:
        talk.socket.settimeout(0.02)
        received = b""
        while b"421" not in received:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                talk.say(b"N")
            with contextlib.suppress(TimeoutError):
                received += talk.socket.recv(1000)
        assert received.endswith(b"421 4.4.2 Timed out waiting for you\r\n")


def test_a_mail_that_drips_is_given_up(new_loop: NewLoop) -> None:
    service = SmtpService(MemoryIntake(), TERMS, mail_timeout=0.3)
    with serving(service, new_loop=new_loop) as server, Talk(server) as talk:
        talk.begin_mail()
        talk.socket.settimeout(0.02)
        received = b""
        while b"421" not in received:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                talk.say(b"drip\r\n")
            with contextlib.suppress(TimeoutError):
                received += talk.socket.recv(1000)
        assert received == b"421 4.4.2 This mail took too long\r\n"
        assert server.intake.gone.wait(20)


def test_who_speaks_before_the_greeting_is_sent_away(new_loop: NewLoop) -> None:
    service = SmtpService(MemoryIntake(), TERMS, greeting_delay=5.0)
    with serving(service, new_loop=new_loop) as server, Talk(server) as talk:
        talk.say(b"EHLO x\r\n")
        assert talk.replies() == ["554 5.5.0"]


def test_a_delayed_greeting_comes(new_loop: NewLoop) -> None:
    service = SmtpService(MemoryIntake(), TERMS, greeting_delay=0.01)
    with serving(service, new_loop=new_loop) as server, Talk(server) as talk:
        assert talk.reply().startswith("220 ")
        talk.say(b"QUIT\r\n")
        assert talk.replies() == ["221 2.0.0"]


def test_reading_stops_while_the_disk_is_behind(new_loop: NewLoop) -> None:
    disk: list[Future[None]] = []

    def write(chunk: bytes) -> Future[None]:
        disk.append(Future())
        return disk[-1]

    intake = MemoryIntake(disk=write)
    with serving(SmtpService(intake, TERMS), new_loop=new_loop) as server, Talk(server) as talk:
        talk.begin_mail()
        talk.socket.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while True:
                sent += talk.socket.send(b"x" * 998 + b"\r\n")
        assert len(disk) == 1
        talk.socket.settimeout(20)
        intake.disk = None
        disk[0].set_result(None)
        talk.say(b"\r\n.\r\n")
        assert talk.reply()[:9] == "250 2.0.0"
        assert len(intake.mails[0].content) >= sent


def test_commands_are_not_read_ahead_without_limit_while_the_intake_thinks(new_loop: NewLoop) -> None:
    intake = MemoryIntake(slow=True)
    terms = SmtpTerms("mail.office.lan", "office.lan", SmtpLimits(recipients=100_000, commands=1_000_000))
    with serving(SmtpService(intake, terms), new_loop=new_loop) as server, Talk(server) as talk:
        talk.reply()
        talk.say(b"EHLO x\r\nMAIL FROM:<a@b.c>\r\n" + b"RCPT TO:<fax1>\r\n" * 20_000 + b"QUIT\r\n")
        assert talk.replies()[-1] == "221 2.0.0"
    assert intake.aborted == 1


def test_a_client_that_reads_no_replies_is_not_served_for_ever(new_loop: NewLoop) -> None:
    terms = SmtpTerms("mail.office.lan", "office.lan", SmtpLimits(commands=10**9))
    with serving(SmtpService(MemoryIntake(), terms), new_loop=new_loop) as server, Talk(server) as talk:
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        talk.socket.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 100_000_000:
                sent += talk.socket.send(b"HELP\r\n" * 1000)
        assert sent < 100_000_000


@pytest.mark.parametrize(
    ("trouble", "reply"),
    [({"broken": True}, "451 4.3.0"), ({"content_refusal": STORAGE_FULL}, "452 4.3.1")],
    ids=["bug", "full"],
)
def test_trouble_in_the_intake_is_temporary_to_the_client(
    trouble: dict[str, Any], reply: str, new_loop: NewLoop
) -> None:
    intake = MemoryIntake(**trouble)
    with serving(SmtpService(intake, TERMS), new_loop=new_loop) as server, Talk(server) as talk:
        talk.say(b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<fax1>\r\nDATA\r\n")
        answers = [talk.reply()[:9] for _ in range(5)]
        if answers[-1].startswith("354"):
            talk.say(b"x\r\n.\r\n")
            answers.append(talk.reply()[:9])
        assert answers[-1] == reply
        talk.say(b"QUIT\r\n")
        assert talk.replies() == ["221 2.0.0"]
        assert intake.aborted == 1


def test_a_stop_lets_the_mail_under_way_end_and_no_other_begin(server: Serving) -> None:
    with Talk(server) as busy, Talk(server) as idle:
        busy.begin_mail()
        assert idle.reply().startswith("220 ")
        draining = asyncio.run_coroutine_threadsafe(server.listener.drain(20), server.loop)
        assert idle.replies() == ["421 4.3.2"]
        busy.say(b"x\r\n.\r\n")
        assert busy.replies() == ["250 2.0.0", "421 4.3.2"]
        assert draining.result(20) == 0
    assert len(server.intake.mails) == 1


def test_one_client_too_many_reads_421(new_loop: NewLoop) -> None:
    limits = ConnectionLimits(total=10, per_client=1)
    with (
        serving(SmtpService(MemoryIntake(), TERMS), limits=limits, new_loop=new_loop) as server,
        Talk(server) as first,
    ):
        first.reply()
        with Talk(server) as second:
            assert second.replies() == ["421 4.7.0"]
