"""A lease passes to another machine before the chart knows: it gets no mail, and the mail finds its terminal."""

from __future__ import annotations

import pytest
from tests.lab.network import INTERFACE, Lab, Terminal
from tests.lab.test_mail_follows_the_lease import Office

pytestmark = pytest.mark.lab

STRANGER = "another machine has a terminal's address.*fax1@office.lan"


def put_in_place(lab: Lab, stranger: Terminal, address: str) -> None:
    lab.batch(f"-n {stranger.namespace} addr add {address}/24 dev {INTERFACE}")


def test_whoever_has_the_terminals_old_address_gets_nothing_and_the_mail_finds_it(lab: Lab) -> None:
    office = Office(lab)
    stranger = lab.terminal("camera")
    lab.dhcp.start({office.fax: "10.77.0.10"})
    office.fax.start_dhcp("udhcpc")
    office.agent.wait_for("registered: fax1@office.lan at 10.77.0.10:25")
    office.send("first")
    office.arrives("first")

    # The terminal moves while it cannot reach the server, and a camera gets its old address.
    lab.batch(f"-n {lab.server.namespace} route add blackhole 10.77.0.20/32")
    lab.dhcp.move({office.fax: "10.77.0.20"})
    office.fax.renew()
    office.agent.wait_for("not registered .unreached.")
    put_in_place(lab, stranger, "10.77.0.10")
    camera = stranger.python("camera", "-m", "tests.lab.mail_taker", "25")
    camera.wait_for("listening")
    lab.batch(f"-n {lab.server.namespace} neigh flush dev {INTERFACE}")

    office.send("not for the camera")
    office.server.wait_for(STRANGER)
    lab.batch(f"-n {lab.server.namespace} route del blackhole 10.77.0.20/32")
    office.arrives("not for the camera")
    assert office.endpoint() == "10.77.0.20:25"
    assert camera.lines == ["listening"]  # connected to, perhaps; given nothing


def test_software_beside_the_agent_is_known_by_its_greeting(lab: Lab) -> None:
    office = Office(lab)
    pc, stranger = lab.terminal("pc"), lab.terminal("camera")
    lab.batch(f"-n {pc.namespace} addr add 10.77.0.30/24 dev {INTERFACE}")
    software = pc.python("software", "-m", "tests.lab.mail_taker", "25", "pc.office.lan")
    software.wait_for("listening")
    agent = office.enrol(pc, "pc")
    agent.wait_for("registered: pc@office.lan at 10.77.0.30:25")
    assert "greeting:pc.office.lan" in office.ask("chart", "list", "--json")
    office.send("for the pc", "pc")
    software.wait_for("mail for pc@office.lan")

    # Somebody else has its address all of a sudden, and the pc another one.
    lab.batch(
        f"-n {pc.namespace} addr del 10.77.0.30/24 dev {INTERFACE}",
        f"-n {stranger.namespace} addr add 10.77.0.30/24 dev {INTERFACE}",
        f"-n {lab.server.namespace} neigh flush dev {INTERFACE}",
    )
    camera = stranger.python("camera", "-m", "tests.lab.mail_taker", "25", "camera")
    camera.wait_for("listening")
    office.send("not for the camera", "pc")
    office.server.wait_for("another machine has a terminal's address.*pc@office.lan")
    lab.batch(f"-n {pc.namespace} addr add 10.77.0.31/24 dev {INTERFACE}")
    software.wait_for("mail for pc@office.lan")
    assert camera.lines == ["listening"]
