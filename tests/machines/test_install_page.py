"""docs/operations/install.md, done as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.lab.network import PATIENCE
from tests.light_archive import renumbered
from tests.machines.busybox_machine import RunLevelMachine
from tests.machines.machine import Machine, MachineLan
from tests.machines.test_install import FILE, brought, version

pytestmark = pytest.mark.machine

PAGE = Path(__file__).resolve().parents[2] / "docs/operations/install.md"
SUDO = """#!/bin/sh
# Root's own tests have no use for it, and a bare Debian has none.
exec "$@"
"""


def blocks(section: str) -> list[str]:
    """The commands under a heading, block by block."""
    text = PAGE.read_text("utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, section
    return found


def do(machine: Machine, block: str) -> None:
    """In root's folder, where the file is. None of the commands fails."""
    machine.run("sh", "-e", "-c", f"cd /root\n{block}", seconds=4 * PATIENCE)


def prepared(machine: Machine, pyz: Path) -> None:
    machine.write("/usr/local/bin/sudo", SUDO, 0o755)
    brought(machine, pyz)


def test_debian_as_written(machine: Machine, pyz: Path, tmp_path: Path) -> None:
    prepared(machine, pyz)
    for block in blocks("On Debian, from the one file"):
        do(machine, block)
    assert "fax1@office.lan" in machine.run("lanpost", "terminal", "list")
    for block in blocks("The service"):
        do(machine, block)
    first = version(machine)
    upgrade, rollback = blocks("Upgrading, and going back")
    brought(machine, renumbered(pyz, tmp_path, "9.1"))
    do(machine, upgrade)
    assert version(machine) == "9.1"
    do(machine, rollback)
    assert version(machine) == first
    keep, purge = blocks("Removing")
    do(machine, keep)
    assert not machine.exists("/opt/lanpost")
    assert machine.exists("/var/lib/lanpost/accounts.sqlite3")
    do(machine, purge)
    assert not machine.exists("/var/lib/lanpost")


def test_without_systemd_as_written(machine_lan: MachineLan, pyz: Path) -> None:
    device = machine_lan.boot("device", kind=RunLevelMachine)
    prepared(device, pyz)
    do(device, blocks("On Debian, from the one file")[0])
    (block,) = blocks("Without systemd")
    do(device, block)
    device.reboot()
    assert "runs (pid" in device.run("/etc/init.d/lanpost", "status")
    assert device.read("/var/log/lanpost-serve.log").count('"ready"') == 3, "installed, restarted, booted"
    device.run("python3", FILE, "uninstall", "--purge", "--yes")
    assert "lanpost" not in device.run("sh", "-c", "ls /etc/init.d /etc/rc?.d")
