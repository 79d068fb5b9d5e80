"""A registrar that asks its terminals to register again, over a real link, with real DHCP clients beside."""

from __future__ import annotations

import shutil
import signal

import pytest
from tests.lab.network import INTERFACE, SERVER, Lab
from tests.lab.test_mail_follows_the_lease import API_PORT, SMTP_PORT, Office

pytestmark = pytest.mark.lab

ASKED = "the registrar asks for a registration"


def restart(office: Office) -> None:
    office.server = office.lab.server.python("serve", "-m", "lanpost", "serve", "--config", office.config)
    for port in (SMTP_PORT, API_PORT):
        office.lab.server.wait_for_listener(port, office.server)


def test_a_chart_restored_from_a_backup_is_put_right(lab: Lab) -> None:
    office = Office(lab)
    data, backup = lab.server.folder / "data", lab.server.folder / "backup"
    lab.dhcp.start({office.fax: "10.77.0.10"})
    office.fax.start_dhcp("udhcpc")
    office.agent.wait_for("registered: fax1@office.lan at 10.77.0.10:25")
    shutil.copytree(data, backup, ignore=shutil.ignore_patterns("*.sock"))  # nothing is written just now

    lab.dhcp.move({office.fax: "10.77.0.20"})
    office.fax.renew()
    office.agent.wait_for("registered: fax1@office.lan at 10.77.0.20:25")
    assert office.server.stop() == 0
    shutil.rmtree(data)
    shutil.copytree(backup, data)

    # Yesterday's chart is in force now, and says that the terminal is at its old address.
    assert office.endpoint() == "10.77.0.10:25"
    restart(office)
    office.agent.wait_for(ASKED)
    office.server.wait_for(r"terminal registered.*endpoint=10\.77\.0\.20:25")
    assert office.endpoint() == "10.77.0.20:25"
    office.send("after the restore")
    office.arrives("after the restore")


def test_requests_that_are_replayed_or_altered_by_a_stranger_do_nothing(lab: Lab) -> None:
    office = Office(lab)
    thief = lab.terminal("thief")
    lab.batch(f"-n {thief.namespace} addr add 10.77.0.66/24 broadcast 10.77.0.255 dev {INTERFACE}")
    lab.dhcp.start({office.fax: "10.77.0.10"})
    office.fax.start_dhcp("udhcpc")
    office.server.wait_for("terminal registered")
    listening = thief.python("thief", "-m", "tests.lab.refresh_thief", "10.77.0.10", stdin=True)
    listening.wait_for("listening")

    asked = office.ask("refresh", "fax1")
    assert "asked 1 terminal to register" in asked
    office.agent.wait_for(ASKED)
    office.server.wait_for("terminal registered")
    listening.wait_for("heard 6")  # three copies by IPv4 broadcast, three by IPv6 multicast
    listening.write("replay\n")
    listening.wait_for("replayed")

    # What comes next is a registration for another reason: none came in between.
    lab.dhcp.move({office.fax: "10.77.0.20"})
    office.fax.renew()
    office.agent.wait_for("registered: fax1@office.lan at 10.77.0.20:25")
    office.server.wait_for(r"terminal registered.*endpoint=10\.77\.0\.20:25")
    assert sum("terminal registered" in line for line in office.server.lines) == 3
    assert office.agent.stop() == 0


def test_a_silent_terminal_is_asked_then_expires_and_its_mail_waits_for_it(lab: Lab) -> None:
    office = Office(lab, registrar='lifetime = "6s"\n')
    lab.dhcp.start({office.fax: "10.77.0.10"})
    office.fax.start_dhcp("udhcpc")
    office.agent.wait_for("registered: fax1@office.lan at 10.77.0.10:25")
    office.agent.process.send_signal(signal.SIGSTOP)
    office.server.wait_for("terminals asked to register.*silent for long")
    office.server.wait_for("terminals asked to register.*silent for long")
    while office.outcome() != "hold":  # the lifetime is over; each look takes its time
        pass
    office.send("to a terminal that is silent")
    assert not list(office.inbox.iterdir())
    office.agent.process.send_signal(signal.SIGCONT)
    office.agent.wait_for(ASKED)
    office.arrives("to a terminal that is silent")
    assert lab.server.packets(f"udp port 8026 and dst host 255.255.255.255 and src host {SERVER}") > 0
