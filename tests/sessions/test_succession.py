"""A server started anew in place, by SIGUSR2: who waited is served, what changed is in force, nobody is refused."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.directory_program import DirectoryProgram
from tests.program import HOST, PATIENCE, Program


def start_again(program: Program) -> None:
    assert program.process
    starts = program.log().count('"ready"')
    program.process.send_signal(signal.SIGUSR2)
    program.wait_until(lambda: program.log().count('"ready"') > starts, "the new start")


def greeting(port: int) -> bytes:
    with socket.create_connection((HOST, port), PATIENCE) as client:
        client.settimeout(PATIENCE)
        return client.recv(3)


def test_more_and_fewer_processes_and_other_ports_after_it(tmp_path: Path) -> None:
    with Program(tmp_path) as program:
        for workers in (2, 1):
            program.settings["workers"] = workers
            program.write_settings()
            start_again(program)
            assert {greeting(program.ports["smtp"]) for _ in range(20)} == {b"220"}
        program.settings["pop3"]["listen"] = []
        program.write_settings()
        start_again(program)
        with pytest.raises(ConnectionRefusedError):
            greeting(program.ports["pop3"])
        assert program.process
        assert program.process.poll() is None, "the same process"
        assert program.stop() == 0


def test_who_tells_it_to_end_while_it_starts_anew_is_obeyed(tmp_path: Path) -> None:
    with Program(tmp_path) as program, closing(program.smtp()) as client:
        assert program.process
        client.ehlo()
        client.mail("me@office.lan")
        client.rcpt("postmaster@office.lan")
        client.docmd("DATA")
        client.send(b"Subject: half\r\n")
        program.process.send_signal(signal.SIGUSR2)
        program.wait_until(lambda: '"stopping"' in program.log(), "the drain")
        program.process.send_signal(signal.SIGTERM)
        client.send(b"\r\nand the other half\r\n.\r\n")
        assert client.getreply()[0] == 250
        assert program.process.wait(PATIENCE) == 0


def test_a_directory_is_started_anew_too(tmp_path: Path) -> None:
    with DirectoryProgram(tmp_path) as directory:
        directory.bind("fax1", ("10.0.0.7", 25))
        start_again(directory)
        assert directory.search("(cn=fax1)")


def test_who_waits_for_a_process_that_dies_is_served_by_the_first(tmp_path: Path) -> None:
    with Program(tmp_path, {"workers": 2}) as program, ExitStack() as stack:
        program.wait_until(lambda: '"ready"' in program.log(), "all processes")
        assert program.process
        children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
        (worker,) = [int(pid) for pid in children if b"--worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(worker, signal.SIGSTOP)
        clients = [
            stack.enter_context(socket.create_connection((HOST, program.ports["smtp"]), PATIENCE))
            for _ in range(40)
        ]
        os.kill(worker, signal.SIGKILL)
        for client in clients:
            assert client.recv(3) == b"220"
