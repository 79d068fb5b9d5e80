"""Foreign software as endpoints of our sender: smtp-sink, aiosmtpd, Postfix, Exim."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

import pytest
import uvloop
from aiosmtpd.controller import Controller
from bench.processes import free_port
from tests.mail_servers import EximServer, MailServer, PostfixServer, wait_until

from lanpost.errors import DeliveryError
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome, Verdict
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.net.endpoint_pool import PoolLimits
from lanpost.net.smtp_out import SenderLimits, SmtpSender

pytestmark = pytest.mark.peer
HEADER = b"From: <ann@office.lan>\r\nTo: <fax1@office.lan>\r\nSubject: number %d\r\n\r\n"
PLAIN = b"first\r\n"
DOTTED = b"..a dot first\r\n...two\r\nfrom here\r\n"
BIG = (b"x" * 76 + b"\r\n") * 5000


class Content:
    def __init__(self, whole: bytes, *, grows: bool = False) -> None:
        self.chunks = [whole[at : at + 50_000] for at in range(0, len(whole), 50_000)] if grows else [whole]
        self.size_octets = None if grows else len(whole)

    async def read(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


def to(*addresses: str, smtputf8: bool = False) -> Envelope:
    recipients = tuple(Recipient(MailAddress.parse(address)) for address in addresses)
    return Envelope(MailAddress.parse("ann@office.lan"), recipients, body_8bit=True, smtputf8=smtputf8)


def send(at: Endpoint, mails: list[tuple[Envelope, Content]], at_once: int = 1) -> list[Outcome]:
    """All outcomes, in the mails' order."""

    async def run() -> list[Outcome]:
        limits = SenderLimits(PoolLimits(connections_per_endpoint=at_once))
        sender = SmtpSender("mail.office.lan", limits)
        try:
            outcomes = await asyncio.gather(*[sender.send(at, *mail) for mail in mails])
        finally:
            await sender.close()
        return [outcome for some in outcomes for outcome in some]

    return uvloop.run(run())


def the_mails() -> list[tuple[Envelope, Content]]:
    contents = [
        Content(HEADER % 0 + PLAIN),
        Content(HEADER % 1 + DOTTED),
        Content(HEADER % 2 + BIG),
        Content(HEADER % 3 + BIG + DOTTED, grows=True),
        Content(HEADER % 4 + PLAIN, grows=True),
        Content(HEADER % 5 + "Ümlaut\r\n".encode()),
    ]
    return [(to("fax1@office.lan"), content) for content in contents]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def sink(*options: str) -> Iterator[Endpoint]:
    program = shutil.which("smtp-sink") or shutil.which("smtp-sink", path="/usr/sbin")
    if not program:
        pytest.skip("smtp-sink is not installed (package postfix)")
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
    process = subprocess.Popen([program, *user, *options, f"127.0.0.1:{port}", "128"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), "smtp-sink listens", lambda: f"status {process.poll()}", 10)
        yield Endpoint("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("options", [(), ("-p",), ("-e",), ("-8",)], ids=" ".join)
def test_smtp_sink_takes_everything(options: tuple[str, ...]) -> None:
    """-p: no PIPELINING; -e: no ESMTP; -8: no 8BITMIME."""
    with sink(*options) as at:
        outcomes = send(at, the_mails() * 20, at_once=4)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}


@pytest.mark.parametrize("command", ["connect", "ehlo", "mail", "rcpt", "data", "."])
@pytest.mark.parametrize("how", ["-f", "-r", "-Q", "-q"])
def test_smtp_sink_failing_at_a_command(command: str, how: str) -> None:
    """-f: 5yz, -r: 4yz, -Q: 421, -q: hangs up."""
    with sink(how, command) as at:

        async def run() -> Verdict:
            sender = SmtpSender("mail.office.lan")
            try:
                (outcome,) = await sender.send(at, to("fax1@office.lan"), Content(HEADER % 1 + PLAIN))
            except DeliveryError as error:
                return Verdict.FAILED if error.permanent else Verdict.DEFERRED
            finally:
                await sender.close()
            return outcome.verdict

        verdict = uvloop.run(run())
    for_good = how == "-f" and command in ("mail", "rcpt", "data", ".")
    falls_back = how == "-f" and command == "ehlo"  # to HELO
    assert verdict is (Verdict.DELIVERED if falls_back else Verdict.FAILED if for_good else Verdict.DEFERRED)


class Keeping:
    def __init__(self) -> None:
        self.contents: list[bytes] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802
        self.contents.append(envelope.content)  # type: ignore[attr-defined]
        return "250 2.0.0 kept"


def test_aiosmtpd_gets_every_octet() -> None:
    keeping = Keeping()
    controller = Controller(keeping, hostname="127.0.0.1", port=free_port(), enable_SMTPUTF8=True)
    controller.start()
    try:
        outcomes = send(Endpoint("127.0.0.1", controller.port), the_mails())
    finally:
        controller.stop()
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}
    assert keeping.contents[1] == HEADER % 1 + b".a dot first\r\n..two\r\nfrom here\r\n"
    assert keeping.contents[3] == HEADER % 3 + BIG + b".a dot first\r\n..two\r\nfrom here\r\n"


def body(mail: Message) -> bytes:
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


@pytest.mark.parametrize("kind", [PostfixServer, EximServer])
def test_a_real_server_keeps_what_was_sent(kind: type[MailServer], tmp_path: Path) -> None:
    with kind(tmp_path / "server", "127.0.0.1", free_port()) as server:
        outcomes = send(Endpoint("127.0.0.1", server.port), the_mails())
        assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED}, outcomes
        mails = {mail["Subject"]: mail for mail in server.wait_for_mail(6)}
    assert body(mails["number 0"]) == b"first\n"
    assert body(mails["number 1"]) == b".a dot first\n..two\nfrom here\n"
    assert body(mails["number 3"]) == BIG.replace(b"\r", b"") + b".a dot first\n..two\nfrom here\n"
    assert body(mails["number 4"]) == b"first\n"


@pytest.mark.parametrize("kind", [PostfixServer, EximServer])
def test_a_real_server_takes_an_address_beyond_ascii(kind: type[MailServer], tmp_path: Path) -> None:
    with kind(tmp_path / "server", "127.0.0.1", free_port()) as server:
        outcomes = send(Endpoint("127.0.0.1", server.port), [(to("fäx@office.lan"), Content(HEADER % 7 + PLAIN))])
        assert outcomes[0].verdict is Verdict.DELIVERED, outcomes
        server.wait_for_mail(1)
