"""Several processes of one server at the same ports: what one has, all have, whichever of them ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.program import Program

from lanpost.content.trace import worker_of

DEAD = ("127.20.255.1", 9)  # nobody listens there


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Program]:
    with Program(tmp_path, {"workers": 2}) as program:
        program.bind("dead", DEAD)
        program.wait_until(lambda: '"ready"' in program.log(), "all processes")
        yield program


def hand_in_until_both_have_some(program: Program) -> set[str]:
    """Which process gets a connection is the kernel's choice: connections are made until each has had one."""
    ids: set[str] = set()
    while {worker_of(mail_id) for mail_id in ids} != {0, 1}:
        with program.smtp() as client:
            client.ehlo()
            client.mail("me@office.lan")
            client.rcpt("dead@office.lan")
            code, said = client.data(b"Subject: x\r\n\r\nx\r\n")
        assert code == 250
        ids.add(said.decode().split()[-1])
        assert len(ids) < 200, "one process never gets a connection"
    return ids


def queued(program: Program) -> set[str]:
    return {mail["id"] for mail in program.lanpost_json("queue", "list")}


def worker_process(program: Program) -> int:
    assert program.process
    children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
    (pid,) = [int(child) for child in children if b"--worker" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return pid


def test_commands_see_the_mail_of_every_process(two: Program) -> None:
    ids = hand_in_until_both_have_some(two)
    assert queued(two) == ids
    two.wait_until(lambda: two.lanpost_json("status")["received"] == len(ids), "the figures of both")
    two.wait_until(lambda: two.lanpost_json("status")["deferred"] >= len(ids), "the figures of both queues")
    gone = {next(each for each in ids if worker_of(each) == worker) for worker in (0, 1)}
    for mail_id in gone:
        assert two.lanpost_json("queue", "show", mail_id)["id"] == mail_id
        two.lanpost("queue", "remove", mail_id)
    assert queued(two) == ids - gone


def test_limits_are_those_of_the_whole_server(tmp_path: Path) -> None:
    with Program(tmp_path, {"workers": 2, "limits": {"connections_per_client": 6}}) as program:
        program.wait_until(lambda: '"ready"' in program.log(), "all processes")
        with ExitStack() as stack:
            greetings = []
            for _ in range(40):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", program.ports["smtp"]), 10))
                greetings.append(client.recv(3))
    assert greetings[:6] == [b"220"] * 6, "within the limit nobody is turned away, whichever process he meets"
    assert greetings.count(b"220") <= 12
    assert greetings[-1] == b"421"


def test_a_killed_process_is_started_again_with_its_mail(two: Program) -> None:
    ids = hand_in_until_both_have_some(two)
    before = worker_process(two)
    os.kill(before, signal.SIGKILL)
    two.wait_until(lambda: not Path(f"/proc/{before}").exists(), "the end of the killed process")
    two.wait_until(lambda: queued(two) == ids, "the mail of the process that was started again")
    assert worker_process(two) != before


def test_the_further_processes_end_with_the_first(two: Program) -> None:
    worker = worker_process(two)
    two.kill()
    two.wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the end of the further process")


def test_a_server_with_fewer_processes_takes_over_their_mail(two: Program) -> None:
    ids = hand_in_until_both_have_some(two)
    assert two.stop() == 0
    two.settings["workers"] = 1
    two.write_settings()
    two.start()
    assert queued(two) == ids
    assert [path.name for path in (two.folder / "data" / "spool").iterdir()] == ["0"]


def test_a_second_server_cannot_share_the_ports(two: Program, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Program(tmp_path_factory.mktemp("other"), {"workers": 2})
    other.settings["smtp"] = two.settings["smtp"]
    other.write_settings()
    assert f"127.0.0.1:{two.ports['smtp']}" in other.lanpost("serve", status=1)


def test_a_server_killed_and_started_at_once_has_its_ports_and_its_mail(two: Program) -> None:
    ids = hand_in_until_both_have_some(two)
    two.kill()
    two.start()
    two.wait_until(lambda: queued(two) == ids, "the mail of both processes")
