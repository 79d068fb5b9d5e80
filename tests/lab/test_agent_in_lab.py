"""The agent beside real DHCP clients: each address they get is registered at once, and no name is asked for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.lab.network import INTERFACE, SERVER, Lab, Program, Terminal

pytestmark = pytest.mark.lab


def start_registrar(lab: Lab, host: str = SERVER) -> tuple[Program, str]:
    registrar = lab.server.python("registrar", "-m", "tests.lab.registrar_program", host, lab.server.folder)
    return registrar, registrar.wait_for(r"token (\S+)")[1]


def start_agent(terminal: Terminal, token: str) -> tuple[Program, Path]:
    config = terminal.folder / "lanpost.toml"
    config.write_text('data = "data"\n[log]\nformat = "text"\n')
    terminal.lanpost("agent", "--config", config, "enrol", token)
    return terminal.python("agent", "-m", "lanpost", "agent", "--config", config), config


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
def test_each_lease_is_registered_at_once(lab: Lab, client: str) -> None:
    fax = lab.terminal("fax1")
    registrar, token = start_registrar(lab)
    lab.dhcp.start({fax: "10.77.0.10"})
    agent, config = start_agent(fax, token)
    agent.wait_for("not registered .offline.")  # nothing but a loopback so far

    fax.start_dhcp(client)
    registrar.wait_for("PUT 10.77.0.10")
    agent.wait_for("registered: fax1@office.lan at 10.77.0.10:25")

    lab.dhcp.move({fax: "10.77.0.20"})
    fax.renew()
    fax.wait_for_lease("10.77.0.20")
    leased = time.monotonic()
    registrar.wait_for("PUT 10.77.0.20")
    agent.wait_for("registered: fax1@office.lan at 10.77.0.20:25")
    assert time.monotonic() - leased < 2
    assert '"endpoint": "10.77.0.20:25"' in fax.lanpost("agent", "status", "--json", "--config", config)

    fax.plug_out()
    fax.plug_in()
    registrar.wait_for("PUT 10.77.0.20")  # the same address: held mail is to be sent now

    assert agent.stop() == 0
    assert lab.packets("port 53") == 0
    assert fax.packets("udp port 67") > 0  # the capture saw what there was to see


def test_an_ipv6_address_is_registered_once_nobody_else_is_found_to_have_it(lab: Lab) -> None:
    fax = lab.terminal("fax1")
    lab.batch(f"-n {lab.server.namespace} addr add fd77::1/64 dev {INTERFACE} nodad")
    registrar, token = start_registrar(lab, "fd77::1")
    agent, _ = start_agent(fax, token)
    agent.wait_for("not registered .offline.")
    lab.batch(f"-n {fax.namespace} addr add fd77::10/64 dev {INTERFACE}")
    agent.wait_for(r"registered: fax1@office.lan at \[fd77::10\]:25")
    registrar.wait_for("PUT fd77::10")
    told = [line for line in agent.lines if "own addresses" in line]
    assert told[-1].endswith("own addresses: fd77::10")
    lab.batch(
        f"-n {fax.namespace} addr add fd77::20/64 dev {INTERFACE}",
        f"-n {fax.namespace} addr del fd77::10/64 dev {INTERFACE}",
    )
    agent.wait_for(r"registered: fax1@office.lan at \[fd77::20\]:25")
    assert agent.stop() == 0


def test_the_lab_would_see_a_question_for_a_name_even_on_loopback(lab: Lab) -> None:
    lab.server.run("getent", "hosts", "mail.office.lan", check=False)
    assert lab.packets("port 53") > 0
