"""The units on a real machine: everything works inside the sandbox, and nobody is refused during a restart."""

from __future__ import annotations

import poplib
import re
import ssl

import pytest
from tests.directory_program import run_tool
from tests.lab.network import PATIENCE
from tests.machines.lanpost_machine import LanpostMachine
from tests.machines.machine import INTERFACE, MachineLan

pytestmark = pytest.mark.machine

MOST_EXPOSED = 2.0  # of 10
PASSWORD = "correct horse"


@pytest.fixture
def server(machine_lan: MachineLan) -> LanpostMachine:
    settings = 'domain = "office.lan"\nworkers = 2\n[ldap]\nlisten = ["0.0.0.0:389"]\n'
    server = LanpostMachine(machine_lan, "mailhost", "serve", settings)
    server.start()
    return server


def test_a_mail_server_in_its_sandbox(server: LanpostMachine) -> None:
    machine = server.machine
    shown = machine.run("systemd-analyze", "security", "--no-pager", server.unit)
    found = re.search(r"exposure level for \S+: ([\d.]+)", shown)
    assert found
    assert float(found[1]) < MOST_EXPOSED
    server.lanpost("user", "add", "anna", "--password-stdin", given=PASSWORD + "\n")
    with server.smtp() as client:
        client.sendmail("me@office.lan", ["anna@office.lan"], "Subject: one\r\n\r\nx\r\n")
    context = ssl.create_default_context(cadata=machine.read("/var/lib/lanpost/tls/ca.pem"))
    pop = poplib.POP3(server.address, timeout=PATIENCE)
    pop.stls(context)
    pop.user("anna@office.lan")
    pop.pass_(PASSWORD)
    assert b"Subject: one" in pop.retr(1)[1]
    pop.quit()


def test_a_terminal_in_its_sandbox_gets_its_mail_wherever_it_moves(
    machine_lan: MachineLan, server: LanpostMachine
) -> None:
    settings = 'domain = "office.lan"\n[agent]\nreceive = "inbox"\nsettle = "100ms"\n'
    terminal = LanpostMachine(machine_lan, "fax1", "agent", settings)
    terminal.make_data_folder()
    token = server.lanpost_json("terminal", "add", "fax1")["token"]
    assert "`systemctl start lanpost-agent`" in terminal.lanpost("agent", "enrol", token)
    terminal.start()
    elsewhere = f"{machine_lan.network}.99"
    for number, address in enumerate((terminal.address, elsewhere), 1):
        if address == elsewhere:
            terminal.machine.run("ip", "addr", "del", f"{terminal.address}/24", "dev", INTERFACE)
            terminal.machine.run("ip", "addr", "add", f"{address}/24", "dev", INTERFACE)
        terminal.machine.wait_until(
            lambda at=address: f"registered {at}:25" in terminal.show("StatusText"),  # type: ignore[misc]
            "its registration",
        )
        with server.smtp() as client:
            client.sendmail("me@office.lan", ["fax1@office.lan"], f"Subject: {number}\r\n\r\nx\r\n")
        inbox = terminal.machine.root / "var/lib/lanpost/inbox/new"
        terminal.machine.wait_until(lambda box=inbox, count=number: len(list(box.glob("*"))) == count, "the mail")  # type: ignore[misc]
    asked = server.lanpost("refresh", "fax1")
    terminal.machine.wait_until(
        lambda: "registrar asks for a registration" in terminal.machine.journal(terminal.unit), asked
    )


def test_a_terminals_mail_goes_to_the_person_who_sits_there(
    machine_lan: MachineLan, server: LanpostMachine
) -> None:
    """As docs/operations/install.md has it."""
    settings = 'domain = "office.lan"\n[agent]\nreceive = "/home/anna/Maildir"\n'
    terminal = LanpostMachine(machine_lan, "pc1", "agent", settings)
    machine = terminal.machine
    terminal.make_data_folder()
    terminal.lanpost("agent", "enrol", server.lanpost_json("terminal", "add", "pc1")["token"])
    machine.run("useradd", "--create-home", "anna")
    machine.run("install", "-d", "-o", "anna", "-g", "anna", "-m", "700", "/home/anna/Maildir")
    machine.run("sh", "-c", f"! systemctl start {terminal.unit}")  # the unit lets nobody into homes
    override = "[Service]\nUser=anna\nGroup=anna\nProtectHome=no\nReadWritePaths=/home/anna/Maildir\n"
    machine.write(f"/etc/systemd/system/{terminal.unit}.d/override.conf", override)
    machine.run("systemctl", "daemon-reload")
    terminal.systemctl("restart")
    machine.wait_until(lambda: "registered" in terminal.show("StatusText"), "its registration")
    with server.smtp() as client:
        client.sendmail("me@office.lan", ["pc1"], "Subject: home\r\n\r\nx\r\n")
    assert "Subject: home" in machine.run("runuser", "-u", "anna", "--", "sh", "-c", "cat ~anna/Maildir/new/*")


def test_a_directory_in_its_sandbox(machine_lan: MachineLan) -> None:
    directory = LanpostMachine(machine_lan, "directory", "directory", 'domain = "office.lan"\n')
    directory.start()
    directory.lanpost("chart", "set", "fax1", "10.0.0.7:25")
    url = f"ldap://{directory.address}"
    found = run_tool("ldapsearch", ["-H", url, "-x", "-LLL", "-b", "dc=office,dc=lan", "(cn=fax1)", "ipHostNumber"])
    assert "ipHostNumber: 10.0.0.7" in found.stdout, found.stdout + found.stderr
    directory.systemctl("reload")
    directory.machine.wait_until(
        lambda: "settings reloaded" in directory.machine.journal(directory.unit), "what it read again"
    )
    assert directory.show("ActiveState") == "active"


def test_a_server_that_hangs_is_started_again(server: LanpostMachine) -> None:
    """Its event loop goes round no more; systemd is told to wait for a second instead of a minute."""
    server.machine.write(f"/etc/systemd/system/{server.unit}.d/quick.conf", "[Service]\nWatchdogSec=1\n")
    server.machine.run("systemctl", "daemon-reload")
    server.systemctl("restart")
    before = server.show("MainPID")
    server.machine.run("kill", "-STOP", before)
    server.machine.wait_until(lambda: server.show("MainPID") not in (before, "0"), "another process")
    with server.smtp() as client:
        assert client.noop()[0] == 250
