"""A terminal that carries the file sends the registrar to the directory machine, the inquiry to the mail server."""

from __future__ import annotations

import smtplib
from pathlib import Path

import pytest
from tests.lab.network import PATIENCE, run
from tests.machines.machine import Machine, MachineLan

pytestmark = pytest.mark.machine
FILE = "/root/lanpost.pyz"
TAKER = Path(__file__).parent.parent / "lab/mail_taker.py"  # the terminal's own mail software


def give_ssh(terminal: Machine, folder: Path, **hosts: Machine) -> None:
    """The terminal's root gets a key, and what ssh has to know of these machines, as on a LAN without names."""
    key = folder / "id"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    terminal.copy_in(key, "/root/.ssh/id_ed25519", 0o600)
    configuration, known = [], []
    for name, machine in hosts.items():
        alias = name.replace("_", "-")
        machine.copy_in(key.with_suffix(".pub"), "/root/.ssh/authorized_keys", 0o600)
        configuration.append(f"Host {alias}\n    HostName {machine.address}\n    HostKeyAlias {alias}\n")
        known.append(f"{alias} {machine.read('/etc/ssh/ssh_host_ed25519_key.pub')}")
    terminal.write("/root/.ssh/config", "".join(configuration), 0o600)
    terminal.write("/root/.ssh/known_hosts", "".join(known), 0o600)


def test_from_the_terminal_to_directory_and_mail_server_and_a_mail_back(
    machine_lan: MachineLan, pyz: Path, tmp_path: Path
) -> None:
    directory, server, terminal = (machine_lan.boot(name) for name in ("directory", "mail", "fax1"))
    give_ssh(terminal, tmp_path, directory_host=directory, mail_host=server)
    terminal.copy_in(pyz, FILE, 0o755)

    def lanpost(*words: str) -> str:
        return terminal.run("python3", FILE, *words, check=False, seconds=4 * PATIENCE)

    said = lanpost("push", "directory-host", "--role", "directory")
    assert "done: lanpost" in said, said
    said = lanpost("push", "mail-host", "--role", "serve", "--directory", "directory-host")
    assert "/etc/lanpost/directory-ca.pem, /etc/lanpost/lanpost.toml written" in said, said
    assert directory.run("systemctl", "is-active", "lanpost-directory") == "active\n"
    assert server.run("systemctl", "is-active", "lanpost") == "active\n"

    # All this again sends and changes nothing.
    again = lanpost("push", "mail-host", "--role", "serve", "--directory", "directory-host", "--dry-run")
    assert "would send nothing" in again
    assert "would write" not in again

    token = terminal.run("ssh", "directory-host", "lanpost terminal add fax1 --json | grep token | cut -d'\"' -f4")
    terminal.write("/root/terminal.toml", 'data = "/root/terminal"\n')
    terminal.copy_in(TAKER, "/root/mail_taker.py")
    taker = terminal.start("mail software", "python3", "/root/mail_taker.py", "25")
    taker.wait_for("listening")
    lanpost("agent", "enrol", token.strip(), "--config", "/root/terminal.toml")
    agent = terminal.start("agent", "python3", FILE, "agent", "--config", "/root/terminal.toml")
    agent.wait_for("registered: fax1")
    assert f"{terminal.address}:25" in server.run("lanpost", "lookup", "fax1")

    with smtplib.SMTP(server.address, timeout=PATIENCE) as client:
        client.sendmail("anna@lan", ["fax1"], "Subject: by way of both\r\n\r\nHello\r\n")
    taker.wait_for("mail for fax1")
