"""A terminal that carries the file sends the registrar to the directory machine, the inquiry to the mail server."""

from __future__ import annotations

import re
import smtplib
from pathlib import Path

import pytest
from tests.lab.network import PATIENCE, run
from tests.machines.machine import Machine, MachineLan
from tests.machines.test_install_page import blocks

pytestmark = pytest.mark.machine
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


@pytest.mark.timeout(400)  # three machines and two installations
def test_from_the_terminal_to_directory_and_mail_server_and_a_mail_back(
    machine_lan: MachineLan, pyz: Path, tmp_path: Path
) -> None:
    """docs/operations/install.md, "To other machines", as written."""
    directory, server, terminal = (machine_lan.boot(name) for name in ("directory", "mail", "fax1"))
    give_ssh(terminal, tmp_path, directory_host=directory, mail_host=server)
    terminal.copy_in(pyz, "/root/lanpost.pyz", 0o755)

    def do(command: str) -> str:
        return terminal.run("sh", "-c", f"cd /root; {command}", check=False, seconds=4 * PATIENCE)

    push_directory, push_server, add_terminal = blocks("To other machines")[0].splitlines()
    assert "done: lanpost" in (said := do(push_directory)), said
    assert directory.run("systemctl", "is-active", "lanpost-directory") == "active\n"

    # What stands in the way is said, and nothing is left of the attempt.
    server.run("systemd-run", "--unit=another-server", "python3", "-m", "http.server", "25")
    server.wait_until(lambda: bool(server.run("ss", "-Hltn", "sport = :25")), "port 25")
    said = do(push_server)
    reason = r"^lanpost: mail-host: .*port 25 is held by python3 .*\(nothing is installed there\)$"
    assert re.search(reason, said, re.MULTILINE), said
    assert not server.exists("/etc/lanpost/lanpost.toml")
    server.run("systemctl", "stop", "another-server")

    said = do(push_server)
    assert "/etc/lanpost/directory-ca.pem, /etc/lanpost/lanpost.toml written" in said, said
    assert server.run("systemctl", "is-active", "lanpost") == "active\n"
    again = do(f"{push_server} --dry-run")  # all this again would send and change nothing
    assert "would send nothing" in again, again
    assert "would write" not in again

    enrol = next(line for line in do(add_terminal).splitlines() if "agent enrol" in line).strip()
    terminal.write("/root/lanpost.toml", 'data = "terminal"\n')
    terminal.copy_in(TAKER, "/root/mail_taker.py")
    taker = terminal.start("mail software", "python3", "/root/mail_taker.py", "25")
    taker.wait_for("listening")
    assert "/root/lanpost.pyz agent --config /root/lanpost.toml`" in do(
        enrol.replace("lanpost ", "python3 lanpost.pyz ")
    )
    agent = terminal.start("agent", "sh", "-c", "cd /root; exec python3 lanpost.pyz agent")
    agent.wait_for("registered: fax1")
    assert f"{terminal.address}:25" in server.run("lanpost", "lookup", "fax1")
    with smtplib.SMTP(server.address, timeout=PATIENCE) as client:
        client.sendmail("anna@office.lan", ["fax1"], "Subject: by way of both\r\n\r\nHello\r\n")
    taker.wait_for("mail for fax1")
