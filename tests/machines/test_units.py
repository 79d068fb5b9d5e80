"""The units on a real machine: everything works inside the sandbox, and nobody is refused during a restart."""

from __future__ import annotations

import poplib
import re
import ssl

import pytest
from tests.lab.network import PATIENCE
from tests.machines.lanpost_machine import LanpostMachine
from tests.machines.machine import MachineLan

from lanpost.content.systemd_units import ROLES

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


@pytest.mark.parametrize("role", ROLES)
def test_every_role(machine_lan: MachineLan, role: str) -> None:
    server = LanpostMachine(machine_lan, "host", role, 'domain = "office.lan"\n[agent]\nname = "fax1"\n')
    server.start()
    assert server.show("ActiveState") == "active"
