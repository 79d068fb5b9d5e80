"""Installed, upgraded, gone back and removed on a Debian that has Python and nothing else, and no network."""

from __future__ import annotations

import re
import smtplib
from pathlib import Path

import pytest
from tests.lab.network import PATIENCE
from tests.light_archive import renumbered
from tests.machines.callers import Caller, Callers, hand_in_a_mail
from tests.machines.machine import Machine

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]  # installing takes 20 s on a busy machine

FILE = "/root/lanpost.pyz"
MAILBOX = "var/lib/lanpost/mailboxes/anna@office.lan"
DOES_NOT_SERVE = """
import sys
import click

@click.command()
@click.option("--config")
def serve(config):
    \"\"\"Fail, as a version with a fault would.\"\"\"
    sys.exit("this version has a fault")
"""


def brought(machine: Machine, file: Path) -> None:
    machine.copy_in(file, FILE, 0o755)


def ran(machine: Machine, *words: str) -> str:
    """What a command says that takes longer than most; and its status."""
    command = " ".join(words)
    return machine.run("sh", "-c", f"{command}; echo status $?", check=False, seconds=4 * PATIENCE)


def version(machine: Machine) -> str:
    """Of the server that answers."""
    found = re.search(r"^version: (\S+)$", machine.run("lanpost", "status"), re.MULTILINE)
    assert found
    return found[1]


def test_upgraded_and_gone_back_under_the_eyes_of_clients_and_no_mail_is_lost(
    machine: Machine, pyz: Path, tmp_path: Path
) -> None:
    brought(machine, pyz)
    assert "status 0" in ran(machine, FILE, "install", "--domain office.lan")
    first = version(machine)
    assert machine.run("systemctl", "is-enabled", "lanpost") == "enabled\n"
    machine.run("lanpost", "user", "add", "anna", "--password-stdin", given="correct horse\n")
    machine.run("lanpost", "terminal", "add", "fax1")
    with smtplib.SMTP(machine.address, timeout=PATIENCE) as client:
        client.sendmail("anna@office.lan", ["fax1"], "Subject: held\r\n\r\nuntil it is there\r\n")

    def wait_for_more() -> None:
        served = len(mails.waited) + 5
        machine.wait_until(lambda: len(mails.waited) > served, "clients")

    brought(machine, renumbered(pyz, tmp_path, "9.1"))
    mails = Caller(machine.address, 25, hand_in_a_mail, 0.05)
    with Callers(mails):
        wait_for_more()
        assert "status 0" in ran(machine, FILE, "install")
        assert version(machine) == "9.1"
        wait_for_more()
        assert "status 0" in ran(machine, "lanpost rollback")
        assert version(machine) == first
        wait_for_more()
    print(f"{len(mails.waited)} mails, the slowest {max(mails.waited):.2f} s; refused: {mails.failed}")
    assert mails.failed == []
    stored = [file.read_text() for folder in ("new", "cur") for file in (machine.root / MAILBOX / folder).glob("*")]
    subjects = re.findall(r"^Subject: (\d+)$", "\n".join(stored), re.MULTILINE)
    assert sorted(map(int, subjects)) == list(range(len(mails.waited)))
    assert "fax1@office.lan" in machine.run("lanpost", "queue", "list")


def test_a_version_that_does_not_come_up_is_taken_back(machine: Machine, pyz: Path, tmp_path: Path) -> None:
    brought(machine, pyz)
    assert "status 0" in ran(machine, FILE, "install")
    first = version(machine)
    brought(machine, renumbered(pyz, tmp_path, "9.1", {"lanpost/cli/serve.py": DOES_NOT_SERVE}))
    said = ran(machine, FILE, "install")
    assert "lanpost.service does not come up; its last words:\n  this version has a fault\n" in said
    assert f"Gone back to {first}, which runs again\nstatus 1" in said
    assert version(machine) == first
    assert machine.run("ls", "/opt/lanpost").split() == [first, "current"]

    assert "status 0" in ran(machine, "lanpost uninstall")
    assert machine.run("systemctl", "is-active", "lanpost", check=False) == "inactive\n"
    assert machine.exists("/var/lib/lanpost/accounts.sqlite3")
    assert "status 0" in ran(machine, FILE, "uninstall --purge --yes")
    left = machine.run("find", "/", "-xdev", "-name", "*lanpost*", "-not", "-path", "/root/*")
    assert left == ""


def test_what_stands_in_the_way_is_said_before_anything_is_touched(machine: Machine, pyz: Path) -> None:
    brought(machine, pyz)
    listen = "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 25)); s.listen(); time.sleep(1000)"
    machine.run("systemd-run", "--unit=exim4", "python3", "-c", listen)
    machine.wait_until(lambda: ":25 " in machine.run("ss", "-Hltn"), "the other mail server")
    said = ran(machine, FILE, "install")
    assert re.search(
        r"port 25 is held by python3 \(pid \d+\): stop it \(systemctl disable --now exim4\), or set smtp", said
    )
    for options, told in (
        ("size=20m", "/opt: 1[0-9][0-9] MB are needed and 2[01] MB are free"),
        ("noexec", "/opt is on a file system mounted with noexec"),
        ("nr_inodes=50", r"\d+ files are needed and room is for \d+ \(inodes\)"),
        ("ro", "/opt is on a file system that is mounted read-only"),
    ):
        machine.run("mount", "-t", "tmpfs", "-o", options, "tmpfs", "/opt")
        said = ran(machine, FILE, "install")
        assert re.search(told, said), said
        machine.run("umount", "/opt")
    machine.copy_in(pyz, "/srv/lanpost.pyz")
    assert "only root can install" in ran(machine, "setpriv --reuid 65534 python3 /srv/lanpost.pyz install")
    assert machine.run("ls", "/opt", "/etc/lanpost", check=False).startswith("ls: cannot access '/etc/lanpost'")
