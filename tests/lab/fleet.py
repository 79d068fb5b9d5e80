"""A lanpost server in the lab and many terminals side by side, each with its agent, which takes its mail.

fleet = Fleet(lab)
fax, camera = fleet.terminals("fax", "camera")
fax.start_agent()
fleet.registers(fax, "10.77.0.10")
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys

from tests.lab import dhcp_clients
from tests.lab.network import INTERFACE, SERVER, Lab, Program, Terminal

from lanpost.app import enrolment
from lanpost.app.config import load
from lanpost.app.dhcp_hooks import hooks_for, install
from lanpost.app.enrolment import Enrolment
from lanpost.app.registration import enrol
from lanpost.model.address import MailAddress
from lanpost.model.token import EnrolmentToken

SERVER6 = "fd77::1"
SMTP_PORT, API_PORT = 25, 8025
SENDING = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, local_hostname="sender", timeout=30) as client:
    for name in sys.argv[3:]:
        client.sendmail("anna@office.lan", [f"{name}@office.lan"], f"Subject: {sys.argv[2]}\\r\\n\\r\\nHello\\r\\n")
"""


class Member:
    """One terminal of a fleet."""

    agent: Program

    def __init__(self, name: str, terminal: Terminal, token: EnrolmentToken) -> None:
        self.name = name
        self.terminal = terminal
        self.secret = token.secret
        self.config = terminal.folder / "lanpost.toml"
        self.hook_file = terminal.folder / "address-hook"
        self._data = terminal.folder / "data"
        enrolment.save(enrolment.agent_folder(self._data), Enrolment(token))

    @property
    def subjects(self) -> list[str]:
        """Of the mails that it has, sorted."""
        files = (self._data / "inbox" / "new").glob("*")
        return sorted(
            found[1] for file in files if (found := re.search("^Subject: (.*)$", file.read_text(), re.MULTILINE))
        )

    def start_agent(self, watch: str = "auto", settle: str = "20ms") -> None:
        """Its agent, which goes by the kernel and by hooks ("auto") or by hooks alone ("hook")."""
        self.config.write_text(
            f'hostname = "{self.name}"\ndata = "data"\n'
            f'[agent]\nreceive = "inbox"\nwatch = "{watch}"\nhook_file = "{self.hook_file}"\nsettle = "{settle}"\n'
            '[log]\nformat = "text"\nlevel = "debug"\n'
        )
        # Killed at the lab's end: many of them would each wait for the server's kept connection.
        command = (sys.executable, "-m", "lanpost", "agent", "--config", self.config)
        self.agent = self.terminal.start("agent", *command, number=signal.SIGKILL)

    def install_hook(self, kind: str) -> None:
        """What `lanpost agent install-hook` does, in this terminal's own copy of /etc."""
        for hook in hooks_for(kind, dhcp_clients.prepare(self.terminal), self.hook_file):
            install(hook)

    def mail_arrives(self, *subjects: str) -> None:
        """Until it has taken as many mails as these; they are the ones, each once."""
        self.agent.wait_until("mail stored", len(subjects))
        assert self.subjects == sorted(subjects), self.name


class Fleet:
    """The server, and what it says of its terminals."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._config = lab.server.folder / "lanpost.toml"
        lab.batch(f"-n {lab.server.namespace} addr add {SERVER6}/64 dev {INTERFACE} nodad")
        hosts = (SERVER, f"[{SERVER6}]")
        smtp, http = (", ".join(f'"{host}:{port}"' for host in hosts) for port in (SMTP_PORT, API_PORT))
        self._config.write_text(
            'domain = "office.lan"\nhostname = "post.office.lan"\ndata = "data"\nworkers = 1\n'
            f"[smtp]\nlisten = [{smtp}]\n[submission]\nlisten = []\n[pop3]\nlisten = []\n"
            f'[delivery]\ncut_through_timeout = "200ms"\n[http]\nlisten = [{http}]\n'
            '[log]\nformat = "text"\nlevel = "info"\n'
        )
        self.server = lab.server.python("serve", "-m", "lanpost", "serve", "--config", self._config)
        for port in (SMTP_PORT, API_PORT):
            lab.server.wait_for_listener(port, self.server)

    def terminals(self, *names: str) -> list[Member]:
        """Enrolled machines, plugged in, on which nothing runs yet."""

        async def tokens() -> list[EnrolmentToken]:
            settings = load(str(self._config))
            return [await enrol(settings, MailAddress.parse(name, settings.domain)) for name in names]

        return [
            Member(name, self.lab.terminal(name), token)
            for name, token in zip(names, asyncio.run(tokens()), strict=True)
        ]

    def registers(self, member: Member, host: str, count: int = 1) -> None:
        """Until a terminal has registered so many times at an address, the server says."""
        self.server.wait_until(self._line(member, host), count)

    def registrations(self, member: Member) -> int:
        """How many times the server has been told by a terminal where it is."""
        return self.server.count(self._line(member))

    def endpoints(self, member: Member) -> list[str]:
        """Where a terminal said it was, in order; repetitions told once."""
        found = [
            re.search(r" endpoint=(\S+)", line)
            for line in tuple(self.server.lines)
            if re.search(self._line(member), line)
        ]
        hosts = [match[1].strip("'").rpartition(":")[0].strip("[]") for match in found if match]
        return [host for at, host in enumerate(hosts) if at == 0 or hosts[at - 1] != host]

    def send(self, subject: str, *members: Member) -> None:
        """Hand in a mail for each; they have been answered 250 when this returns."""
        self.lab.server.run("python3", "-c", SENDING, SERVER, subject, *(member.name for member in members))

    def forget(self, member: Member) -> None:
        """Take a terminal's binding away, as if it had said goodbye: its mail is held from now on."""
        url = f"https://{SERVER}:{API_PORT}/v1/bindings/{member.name}"
        header = f"Authorization: Bearer {member.secret}"
        self.lab.server.run("curl", "--silent", "--fail", "--insecure", "-X", "DELETE", "-H", header, url)

    @staticmethod
    def _line(member: Member, host: str = "") -> str:
        shown = re.escape(f"[{host}]" if ":" in host else host) + ":" if host else ""
        return rf"terminal registered .*address={member.name}@office\.lan .*endpoint='?{shown}"
