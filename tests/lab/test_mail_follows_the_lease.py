"""The main job, for real: mail goes in by SMTP and comes out at the terminal's IP, wherever DHCP has put it."""

from __future__ import annotations

import json

import pytest
from tests.lab.network import SERVER, Lab, Program, Terminal

pytestmark = pytest.mark.lab

SMTP_PORT, API_PORT, TERMINAL_PORT = 25, 8025, 25
SENDING = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, local_hostname="sender", timeout=30) as client:
    to = f"{sys.argv[3]}@office.lan"
    client.sendmail("anna@office.lan", [to], f"Subject: {sys.argv[2]}\\r\\n\\r\\nHello\\r\\n")
"""


class Office:
    """A lanpost server in the lab, and a terminal that takes its own mail."""

    def __init__(self, lab: Lab, registrar: str = "") -> None:
        self.lab = lab
        self.config = lab.server.folder / "lanpost.toml"
        self.config.write_text(
            'domain = "office.lan"\nhostname = "post.office.lan"\ndata = "data"\n'
            f'[smtp]\nlisten = ["{SERVER}:{SMTP_PORT}"]\n[submission]\nlisten = []\n[pop3]\nlisten = []\n'
            '[delivery]\ncut_through_timeout = "1s"\n'
            f'[http]\nlisten = ["{SERVER}:{API_PORT}"]\n[registrar]\n{registrar}'
            '[log]\nformat = "text"\nlevel = "debug"\n'
        )
        self.server = lab.server.python("serve", "-m", "lanpost", "serve", "--config", self.config)
        for port in (SMTP_PORT, API_PORT):
            lab.server.wait_for_listener(port, self.server)
        self.fax = lab.terminal("fax1")
        self.inbox = self.fax.folder / "data" / "inbox" / "new"
        token = json.loads(self.ask("terminal", "add", "fax1", "--json"))["token"]
        self._start_agent(self.fax, token)

    def _start_agent(self, fax: Terminal, token: str) -> None:
        config = fax.folder / "lanpost.toml"
        config.write_text(
            'hostname = "fax1"\ndata = "data"\n'
            f'[agent]\nport = {TERMINAL_PORT}\nreceive = "inbox"\n[log]\nformat = "text"\n'
        )
        fax.lanpost("agent", "enrol", token, "--config", config)
        self.agent: Program = fax.python("agent", "-m", "lanpost", "agent", "--config", config)
        self.agent.wait_for("taking mail")

    def enrol(self, terminal: Terminal, name: str) -> Program:
        """An agent beside other software that takes the mail; it runs."""
        token = json.loads(self.ask("terminal", "add", name, "--json"))["token"]
        config = terminal.folder / "lanpost.toml"
        config.write_text('data = "data"\n[log]\nformat = "text"\n')
        terminal.lanpost("agent", "enrol", token, "--config", config)
        return terminal.python("agent", "-m", "lanpost", "agent", "--config", config)

    def send(self, subject: str, to: str = "fax1") -> None:
        """Hand a mail in at the server; it has been answered 250 when this returns."""
        self.lab.server.run("python3", "-c", SENDING, SERVER, subject, to)

    def arrives(self, subject: str) -> None:
        """Until the terminal has that mail on its disk, and no other."""
        self.agent.wait_for("mail stored")
        (file,) = (file for file in self.inbox.iterdir() if f"Subject: {subject}\n" in file.read_text())
        file.unlink()
        assert list(self.inbox.iterdir()) == []

    def endpoint(self) -> str:
        """Where the chart says the terminal is."""
        return str(json.loads(self.ask("lookup", "fax1", "--json"))["endpoint"])

    def outcome(self) -> str:
        """What an inquiry for the terminal says: endpoint, hold, ..."""
        return str(json.loads(self.ask("lookup", "fax1", "--json"))["outcome"])

    def ask(self, *command: str) -> str:
        """A lanpost command at the server."""
        return self.lab.server.lanpost(*command, "--config", self.config)


@pytest.mark.parametrize("client", ["udhcpc", "dhclient"])
def test_mail_follows_the_lease_and_no_name_is_asked_for(lab: Lab, client: str) -> None:
    office = Office(lab)
    lab.dhcp.start({office.fax: "10.77.0.10"})

    office.fax.start_dhcp(client)
    office.agent.wait_for("registered: fax1@office.lan at 10.77.0.10:25")
    assert office.endpoint() == "10.77.0.10:25"
    office.send("to the first address")
    office.arrives("to the first address")

    lab.dhcp.move({office.fax: "10.77.0.20"})
    office.fax.renew()
    office.agent.wait_for("registered: fax1@office.lan at 10.77.0.20:25")
    assert office.fax.addresses() == ["10.77.0.20"]
    assert office.endpoint() == "10.77.0.20:25"
    office.send("to the second address")
    office.arrives("to the second address")

    # The cable is out: mail is taken all the same, and is there as soon as the terminal says that it is back.
    office.fax.plug_out()
    office.send("while the cable was out")
    assert not list(office.inbox.iterdir())
    office.fax.plug_in()
    office.arrives("while the cable was out")

    assert office.agent.stop() == 0
    assert office.server.stop() == 0
    assert lab.packets("port 53 or port 5355") == 0
    assert (
        lab.packets(f"udp port 5353 and src net 10.77.0.0/24 and not src host {SERVER}") == 0
    )  # it tells, nobody asks
    for address in ("10.77.0.10", "10.77.0.20"):
        assert office.fax.packets(f"tcp dst port {TERMINAL_PORT} and dst host {address}") > 0


def test_mail_for_a_terminal_that_was_never_plugged_in_waits_for_it(lab: Lab) -> None:
    office = Office(lab)
    lab.dhcp.start({office.fax: "10.77.0.10"})
    office.send("before it was there")
    office.fax.start_dhcp("dhclient")
    office.arrives("before it was there")
    assert lab.packets("port 53") == 0
