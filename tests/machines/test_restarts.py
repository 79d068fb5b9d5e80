"""Restarted under the eyes of its clients: nobody is refused, and every mail is delivered once."""

from __future__ import annotations

import re
import socket
import ssl

import pytest
from tests.lab.network import PATIENCE
from tests.machines.callers import (
    Caller,
    Callers,
    ask_for_health,
    be_greeted_by_pop3,
    hand_in_a_mail,
    read_the_root_of_ldap,
)
from tests.machines.lanpost_machine import LanpostMachine
from tests.machines.machine import MachineLan

from lanpost.app.services import PROGRAM

pytestmark = pytest.mark.machine

SETTINGS = """\
domain = "office.lan"
workers = 2
[ldap]
listen = ["0.0.0.0:389"]
[limits]
connections_per_client = 2000
"""


@pytest.fixture
def stopped(machine_lan: MachineLan) -> LanpostMachine:
    return LanpostMachine(machine_lan, "mailhost", "serve", SETTINGS)


@pytest.fixture
def server(stopped: LanpostMachine) -> LanpostMachine:
    stopped.start()
    stopped.lanpost("user", "add", "anna", "--password-stdin", given="correct horse\n")
    return stopped


def test_a_server_restarted_refuses_nobody(server: LanpostMachine) -> None:
    context = ssl.create_default_context(cadata=server.machine.read("/var/lib/lanpost/tls/ca.pem"))
    mails = Caller(server.address, 25, hand_in_a_mail, 0.02)
    others = [
        Caller(server.address, 110, be_greeted_by_pop3, 0.05),
        Caller(server.address, 389, read_the_root_of_ldap, 0.05),
        Caller(server.address, 8025, ask_for_health, 0.1, context),
    ]
    with Callers(mails, *others):
        wait_for_more(server, mails, *others)
        for how in ("restart", "kill --signal=USR2"):
            starts = server.machine.journal(server.unit).count('"ready"')
            server.systemctl(how)
            server.machine.wait_until(
                lambda starts=starts: server.machine.journal(server.unit).count('"ready"') > starts,  # type: ignore[misc]
                "the new start",
            )
            wait_for_more(server, mails, *others)
    for caller in (mails, *others):
        served, longest = len(caller.waited), max(caller.waited)
        print(f"port {caller.port}: {served} served, {longest:.2f} s at most; {len(caller.failed)} failed")
        assert caller.failed == []
    assert subjects(server) == list(range(len(mails.waited)))


def test_an_upgrade_without_systemd_refuses_nobody(stopped: LanpostMachine) -> None:
    """By an init script's commands: the process that runs becomes the version that is in force now."""
    machine = stopped.machine
    stopped.make_data_folder()
    machine.run(PROGRAM, "service", "start", "serve")
    stopped.lanpost("user", "add", "anna", "--password-stdin", given="correct horse\n")
    starter = machine.read(PROGRAM).replace("main()", 'print("the later version", file=sys.stderr)\nmain()')
    machine.write("/opt/lanpost/later/bin/lanpost", starter, mode=0o755)
    mails = Caller(stopped.address, 25, hand_in_a_mail, 0.02)
    with Callers(mails):
        wait_for_more(stopped, mails)
        pid = machine.read("/run/lanpost-serve.pid")
        machine.run("ln", "-sfn", "later", "/opt/lanpost/current")
        machine.run(PROGRAM, "service", "restart", "serve")
        wait_for_more(stopped, mails)
    served, longest = len(mails.waited), max(mails.waited)
    print(f"port 25: {served} served, {longest:.2f} s at most; {len(mails.failed)} failed")
    assert mails.failed == []
    assert subjects(stopped) == list(range(served))
    assert machine.read("/run/lanpost-serve.pid") == pid
    assert "later version" in machine.read("/var/log/lanpost-serve.log")
    machine.run(PROGRAM, "service", "stop", "serve")
    with pytest.raises(ConnectionRefusedError):
        stopped.smtp()


def subjects(server: LanpostMachine) -> list[int]:
    """Of anna's mails, in order."""
    stored = "\n".join(mail.read_text() for mail in server.mails("anna@office.lan"))
    return sorted(map(int, re.findall(r"^Subject: (\d+)$", stored, re.MULTILINE)))


def wait_for_more(server: LanpostMachine, *callers: Caller) -> None:
    """Until clients who came from now on have been served at each port."""
    served = [len(caller.waited) + 10 for caller in callers]
    server.machine.wait_until(
        lambda: all(len(caller.waited) > count for caller, count in zip(callers, served, strict=True)), "clients"
    )


def test_a_port_that_is_no_longer_named_is_closed_at_the_restart(server: LanpostMachine) -> None:
    kept = int(server.show("NFileDescriptorStore"))
    server.machine.write("/etc/lanpost/lanpost.toml", SETTINGS.replace('["0.0.0.0:389"]', "[]"))
    server.systemctl("restart")
    assert int(server.show("NFileDescriptorStore")) == kept - 2, "one of each process"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.address, 389), PATIENCE)
    server.systemctl("stop")
    with pytest.raises(ConnectionRefusedError):
        server.smtp()
