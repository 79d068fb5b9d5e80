"""Devices that can run nothing, in the lab: the DHCP server speaks for them, or their login; mail reaches them."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.lab.dnsmasq import DnsmasqServer
from tests.lab.network import INTERFACE, ROOT, SERVER, Lab, Program, Terminal
from tests.lab.test_mail_follows_the_lease import SENDING

pytestmark = pytest.mark.lab

DEPLOY = ROOT / "deploy"
LOGGING_IN = """
import smtplib, ssl, sys
with smtplib.SMTP(sys.argv[1], 587, local_hostname="scanner", timeout=30) as client:
    client.starttls(context=ssl._create_unverified_context())
    client.login(sys.argv[2], sys.argv[3])
"""


class Office:
    """A mail server, and at the same machine what a DHCP server needs to tell it of leases."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.folder = lab.server.folder
        self._config = self.folder / "lanpost.toml"
        self._config.write_text(
            'domain = "office.lan"\nhostname = "post.office.lan"\ndata = "data"\n'
            f'[smtp]\nlisten = ["{SERVER}:25"]\n[submission]\nlisten = ["{SERVER}:587"]\n[pop3]\nlisten = []\n'
            '[delivery]\ncut_through_timeout = "1s"\nfirst_retry = "60s"\n'  # longer than any test waits
            f'[http]\nlisten = ["{SERVER}:8025"]\n[log]\nformat = "text"\nlevel = "debug"\n'
        )
        self.server = lab.server.python("serve", "-m", "lanpost", "serve", "--config", self._config)
        for port in (25, 587, 8025):
            lab.server.wait_for_listener(port, self.server)

    def ask(self, *command: str) -> Any:
        return json.loads(self.lab.server.lanpost(*command, "--json", "--config", self._config))

    def run(self, *command: str) -> str:
        return self.lab.server.lanpost(*command, "--config", self._config)

    def hook(self, server: str) -> Path:
        """The program of deploy/, with this test's folder and Python in place of what an installation has."""
        folder = self.folder / "dhcp"
        token = self.ask("terminal", "add", "dhcp", "--speaks-for-others")["token"]
        self.lab.server.lanpost("dhcp-hook", "enrol", token, "--folder", folder)
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "lanpost").write_text(
            f'#!/bin/sh\nPYTHONPATH={ROOT}/src exec {sys.executable} -m lanpost "$@"\n'
        )
        text = (DEPLOY / server / "lanpost-lease").read_text()
        assert "/var/lib/lanpost-dhcp" in text
        hook = self.folder / "lanpost-lease"
        hook.write_text(text.replace("/var/lib/lanpost-dhcp", str(folder)).replace("PATH=", f"PATH={programs}:", 1))
        for file in (programs / "lanpost", hook):
            file.chmod(0o755)
        return hook

    def start_dhcp_server(self, kind: str, reservations: dict[Terminal, str], hook: Path, *more: str) -> None:
        if kind == "kea":
            (library,) = json.loads((DEPLOY / "kea" / "hooks-libraries.json").read_text())
            library["parameters"]["name"] = str(hook)
            self.lab.dhcp.hooks = [library]
            self.lab.dhcp.start(reservations)  # type: ignore[arg-type]
            return
        if shutil.which("dnsmasq") is None:
            pytest.skip("not installed: dnsmasq")
        number = len(list(self.folder.glob("dnsmasq-*")))
        options = (
            (DEPLOY / "dnsmasq" / "lanpost.conf")
            .read_text()
            .replace("/usr/local/lib/lanpost/dnsmasq/lanpost-lease", str(hook))
        )
        conf = self.folder / f"lanpost-{number}.conf"
        conf.write_text(options)
        self.dnsmasq = DnsmasqServer(self.lab.server, self.folder / f"dnsmasq-{number}")
        self.dnsmasq.start(reservations, f"--conf-file={conf}", *more)  # type: ignore[arg-type]

    def send(self, subject: str, to: str = "scanner") -> None:
        self.lab.server.run("python3", "-c", SENDING, SERVER, subject, to)


def take_mail(device: Terminal, host: str = "0.0.0.0") -> Program:
    """A device's own SMTP server, whoever made it: it prints what comes."""
    sink = device.python(
        "sink", "-m", "aiosmtpd", "-n", "-l", f"{host}:25", "-c", "aiosmtpd.handlers.Debugging", "stdout"
    )
    device.wait_for_listener(25, sink)
    return sink


@pytest.mark.parametrize("kind", ["kea", "dnsmasq"])
def test_the_dhcp_server_speaks_for_a_device_from_its_first_lease_to_its_release(lab: Lab, kind: str) -> None:
    office = Office(lab)
    scanner = lab.terminal("scanner")
    office.run("terminal", "add", "scanner", "--mac", scanner.mac)
    office.start_dhcp_server(kind, {scanner: "10.77.0.10"}, office.hook(kind))
    sink = take_mail(scanner)
    office.send("before it was there")

    scanner.start_dhcp("udhcpc")
    sink.wait_for("Subject: before it was there")
    first = office.ask("terminal", "show", "scanner")
    assert (first["endpoint"], first["source"], first["state"]) == ("10.77.0.10:25", "dhcp", "live")

    scanner.renew()
    office.server.wait_for("lease ignored.*it is known")  # heard, and not written again
    assert office.ask("terminal", "show", "scanner")["updated"] == first["updated"]

    scanner.client.process.send_signal(signal.SIGUSR2)  # it gives its address back
    office.server.wait_for("binding dropped.*scanner")
    assert office.ask("terminal", "show", "scanner")["state"] == "none"
    office.send("while it was gone")
    scanner.renew()
    sink.wait_for("Subject: while it was gone")


def test_a_lease_of_dhcpv6_leads_mail_over_ipv6(lab: Lab) -> None:
    lab.batch(f"-n {lab.server.namespace} addr add fd00:77::1/64 dev {INTERFACE} nodad")
    office = Office(lab)
    scanner = lab.terminal("scanner")
    office.run("terminal", "add", "scanner", "--mac", scanner.mac)
    pool = "--dhcp-range=fd00:77::100,fd00:77::199,64,2m"
    office.start_dhcp_server("dnsmasq", {}, office.hook("dnsmasq"), pool, "--enable-ra")
    sink = take_mail(scanner, "::")
    office.send("by IPv6")
    files = ("-lf", scanner.folder / "leases6", "-pf", scanner.folder / "pid6")
    scanner.wait_for_link_local()  # without, dhclient ends at once
    scanner.client = scanner.start("dhclient", "dhclient", "-6", "-d", *files, INTERFACE)
    office.server.wait_for(r"terminal registered.*\[fd00:77::1.*source=dhcp")
    sink.wait_for("Subject: by IPv6")


def test_an_address_that_went_to_another_device_brings_it_nobody_elses_mail(lab: Lab) -> None:
    office = Office(lab)
    scanner, guest = lab.terminal("scanner"), lab.terminal("guest")
    office.run("terminal", "add", "scanner", "--mac", scanner.mac)
    hook = office.hook("dnsmasq")
    office.start_dhcp_server("dnsmasq", {scanner: "10.77.0.10"}, hook)
    sinks = {device: take_mail(device) for device in (scanner, guest)}
    scanner.start_dhcp("udhcpc")
    office.server.wait_for("terminal registered.*10.77.0.10")
    # Unplugged, and forgotten by a new DHCP server, who gives its address to a machine that is no terminal of ours.
    scanner.plug_out()
    office.dnsmasq.program.stop()
    office.start_dhcp_server("dnsmasq", {guest: "10.77.0.10", scanner: "10.77.0.20"}, hook)
    guest.start_dhcp("udhcpc")
    office.server.wait_for("binding dropped.*scanner")
    office.send("not for the guest")
    assert guest.addresses() == ["10.77.0.10"]
    scanner.plug_in()
    scanner.renew()
    sinks[scanner].wait_for("Subject: not for the guest")
    assert office.ask("terminal", "show", "scanner")["endpoint"] == "10.77.0.20:25"
    assert not any("Subject" in line for line in sinks[guest].lines)


def test_a_device_that_only_sends_is_reached_where_it_logged_in_from(lab: Lab) -> None:
    office = Office(lab)
    scanner = lab.terminal("scanner")
    secret = office.ask("terminal", "add", "scanner", "--learn")["secret"]
    lab.dhcp.start({scanner: "10.77.0.10"})
    sink = take_mail(scanner)
    scanner.start_dhcp("udhcpc")
    scanner.wait_for_lease("10.77.0.10")
    office.send("held")
    scanner.run("python3", "-c", LOGGING_IN, SERVER, "scanner@office.lan", secret)
    sink.wait_for("Subject: held")
    found = office.ask("terminal", "show", "scanner")
    assert (found["endpoint"], found["source"]) == ("10.77.0.10:25", "smtp")


def test_mail_is_there_seconds_after_a_lease_whose_address_is_still_being_tested(lab: Lab) -> None:
    office = Office(lab)
    scanner = lab.terminal("scanner")
    office.run("terminal", "add", "scanner", "--mac", scanner.mac)
    office.start_dhcp_server("kea", {scanner: "10.77.0.10"}, office.hook("kea"))
    sink = take_mail(scanner)
    office.send("early")
    # After the server's word the client probes its address for three seconds before it uses it (RFC 5227).
    scanner.client = scanner.start("udhcpc", "udhcpc", "-f", "-i", INTERFACE, "-a3000")
    office.server.wait_for("terminal registered.*10.77.0.10")
    office.server.wait_for("mail deferred")
    sink.wait_for("Subject: early")
