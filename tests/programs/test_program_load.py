"""Much at once for the whole program: many kinds of recipients, many of them, big mails, many senders."""

from __future__ import annotations

import re
import smtplib
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.program import HOST, Program
from tests.sessions.scripted_endpoint import PLAIN, ScriptedEndpoint
from tests.terminals import Terminals, subjects

from lanpost.app.queue_access import QueueAccess

MEGABYTE = 1_000_000
BIG = 49 * MEGABYTE  # of 50 that are allowed
MANY = 2  # big mails at once
# That they may add to the server's: the spool's writer holds a batch, of which the last mail may be a big one.
MEMORY = BIG + 25 * MEGABYTE
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(tmp_path_factory.mktemp("load"), {"delivery": {"cut_through_timeout": "1s"}}) as running:
        yield running


def envelope(client: smtplib.SMTP, recipients: Sequence[str]) -> Counter[str]:
    """MAIL and, pipelined, RCPT for each. How often each answer came to the latter."""
    client.ehlo()
    assert client.mail("anna@office.lan")[0] == 250
    client.send("".join(f"RCPT TO:<{recipient}>\r\n" for recipient in recipients))
    answers = (client.getreply() for _ in recipients)
    return Counter(f"{code} {text.split()[0].decode()}" for code, text in answers)


def bind_all(program: Program, names: Sequence[str], at: tuple[str, int]) -> None:
    """At once, as one would take over a list."""
    file = program.folder / f"{names[0]}.csv"
    file.write_text("address,endpoint\n" + "".join(f"{name},{at[0]}:{at[1]}\n" for name in names))
    program.lanpost("chart", "import", str(file))


def waiting(program: Program) -> list[str]:
    mails = QueueAccess(program.folder / "data").mails()
    return [recipient["address"] for mail in mails for recipient in mail["recipients"]]


def test_each_recipient_of_one_mail_goes_the_own_way(program: Program, terminals: Terminals) -> None:
    here, off, held, bert = (program.new_name() for _ in range(4))
    at, nowhere = program.new_endpoint(), program.new_endpoint()
    fax = terminals.listen(at)
    program.bind(here, at)
    program.bind(off, nowhere)
    program.lanpost("terminal", "add", held)
    program.add_user(bert, PASSWORD)
    with program.smtp() as client:
        answers = envelope(client, [here, bert, held, off, "nobody", "x@elsewhere.example", here.upper()])
        assert answers == {"250 2.1.5": 5, "550 5.1.1": 1, "550 5.7.1": 1}
        assert client.data("Subject: to all\r\n\r\nx\r\n")[0] == 250
    assert subjects(fax.mails) == ["to all"]
    assert len(list((program.folder / f"data/mailboxes/{bert}@office.lan/new").iterdir())) == 1
    assert sorted(waiting(program)) == sorted([f"{held}@office.lan", f"{off}@office.lan"])
    arrives = terminals.listen(nowhere)
    program.bind(held, nowhere)
    program.wait_until(lambda: not waiting(program), "an empty queue")
    assert sorted(to for mail in arrives.mails for to in mail.recipients) == sorted(
        f"<{name}@office.lan>".encode() for name in (held, off)
    )
    assert subjects(fax.mails) == ["to all"]


@pytest.mark.parametrize("limit", [100, 5000])
def test_a_thousand_recipients(program: Program, terminals: Terminals, limit: int) -> None:
    """Of which the endpoint takes so many in one mail and no more."""
    names = [program.new_name() for _ in range(1001)]
    at = program.new_endpoint()
    asked: Counter[int] = Counter()

    def decide(verb: str, connection: int) -> bytes | None:
        if verb == "MAIL":
            asked[connection] = 0
        asked[connection] += verb == "RCPT"
        return b"452 4.5.3 too many recipients" if verb == "RCPT" and asked[connection] > limit else None

    fax = terminals.listen(at, ScriptedEndpoint(decide=decide))
    bind_all(program, names, at)
    with program.smtp() as client:
        assert envelope(client, names) == {"250 2.1.5": 1000, "452 4.5.3": 1}
        assert client.data("Subject: to all\r\n\r\nx\r\n")[0] == 250
    program.wait_until(lambda: not waiting(program), "an empty queue")
    got = Counter(to.split(b" ")[0].decode() for mail in fax.mails for to in mail.recipients)
    assert got == Counter(f"<{name}@office.lan>" for name in names[:1000])


def big_content(subject: str) -> bytes:
    """Lines of every length that is allowed, with dots to be stuffed."""
    lines = b"".join(b"." * (n % 3) + b"%d" % n + b"x" * (n % 900) + b".\r\n" for n in range(2000))
    return f"Subject: {subject}\r\n\r\n".encode() + lines * (BIG // len(lines))


@contextmanager
def memory_bounded(program: Program) -> Iterator[None]:
    """The server's greatest memory in the block is little more than its memory before."""
    assert program.process
    folder = Path(f"/proc/{program.process.pid}")
    (folder / "clear_refs").write_text("5")  # the peak is counted anew
    before = memory(folder, "VmRSS")
    yield
    more = memory(folder, "VmHWM") - before
    assert more < MEMORY, f"{more / MEGABYTE:.0f} MB more"


def memory(folder: Path, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", (folder / "status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.parametrize("way", ["endpoint", "stalled", "held", "mailbox"])
def test_big_mails_take_little_memory_and_arrive_unchanged(
    program: Program, terminals: Terminals, way: str
) -> None:
    name, at = program.new_name(), program.new_endpoint()
    content = big_content(way)

    def send(_: int) -> None:
        with program.smtp() as client:
            client.sendmail("anna@office.lan", [name], content)

    endpoint = ScriptedEndpoint(offers=PLAIN, waits_at="DATA" if way == "stalled" else "")
    if way == "mailbox":
        program.add_user(name, PASSWORD)
    elif way == "held":
        program.lanpost("terminal", "add", name)
    else:
        program.bind(name, at)
        terminals.listen(at, endpoint)
    with memory_bounded(program):
        with ThreadPoolExecutor() as senders:
            list(senders.map(send, range(MANY)))
        if way == "stalled":
            terminals.let_go(endpoint)
        elif way == "held":
            terminals.listen(at, endpoint)
            program.bind(name, at)
        if way != "mailbox":
            program.wait_until(lambda: len(endpoint.mails) == MANY and not waiting(program), "the mail", 60)
    if way == "mailbox":
        files = list((program.folder / f"data/mailboxes/{name}@office.lan/new").iterdir())
        assert len(files) == MANY
        assert files[0].read_bytes().endswith(content.replace(b"\r\n", b"\n"))
    else:
        assert endpoint.mails[0].content.replace(b"\r\n..", b"\r\n.").endswith(content)


def test_a_mail_that_is_too_big_is_refused_before_or_while_it_comes(program: Program) -> None:
    name = program.new_name()
    program.lanpost("terminal", "add", name)
    with program.smtp() as client:
        client.ehlo()
        limit = int(client.esmtp_features["size"])
        assert client.mail("anna@office.lan", [f"SIZE={limit + 1}"])[0] == 552
        assert client.mail("anna@office.lan")[0] == 250
        client.rcpt(name)
        assert client.docmd("DATA")[0] == 354
        with memory_bounded(program):
            line = b"x" * 998 + b"\r\n"
            for _ in range(limit // MEGABYTE + 2):
                client.send(line * 1000)
            client.send(b"\r\n.\r\n")
            assert client.getreply()[0] == 552
        assert client.noop()[0] == 250
    assert f"{name}@office.lan" not in waiting(program)


def test_a_hundred_senders_at_once(program: Program, terminals: Terminals) -> None:
    names = [program.new_name() for _ in range(10)]
    at = program.new_endpoint()
    fax = terminals.listen(at)
    bind_all(program, names, at)
    together = threading.Barrier(100)
    failed: list[Exception] = []

    def send(number: int) -> None:
        try:
            with program.smtp() as client:
                together.wait(30)
                for turn in range(3):
                    content = f"Subject: {number}-{turn}\r\n\r\n" + "x" * 5000 + "\r\n"
                    client.sendmail("anna@office.lan", [names[number % 10]], content)
        except Exception as error:
            failed.append(error)
            together.abort()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    program.wait_until(lambda: not set(waiting(program)) & {f"{name}@office.lan" for name in names}, "the rest")
    assert Counter(subjects(fax.mails)) == Counter(f"{n}-{turn}" for n in range(100) for turn in range(3))


def test_one_client_cannot_take_all_connections(tmp_path: Path) -> None:
    with Program(tmp_path, {"limits": {"connections": 30, "connections_per_client": 20}}) as program:
        port = program.ports["smtp"]
        # The last look of `start` may still be counted.
        program.wait_until(lambda: program.lanpost_json("status")["clients"] == 0, "nobody")
        held = [socket.create_connection((HOST, port), 30, ("127.0.0.2", 0)) for _ in range(20)]
        assert all(connection.recv(3) == b"220" for connection in held)
        with socket.create_connection((HOST, port), 30, ("127.0.0.2", 0)) as one_more:
            assert one_more.recv(3) == b"421"
        with socket.create_connection((HOST, port), 30, ("127.0.0.3", 0)) as another:
            assert another.recv(3) == b"220"
        for connection in held:
            connection.close()
