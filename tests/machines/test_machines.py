"""The machines themselves: what the tests beside this one rest on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.lab.network import PATIENCE
from tests.machines.machine import Machine, MachineLan

pytestmark = pytest.mark.machine


def test_machine_runs_services_and_is_reached(machine: Machine) -> None:
    assert machine.run("cat", "/proc/1/comm") == "systemd\n"
    with socket.create_connection((machine.address, 22), PATIENCE) as client:
        assert client.recv(8) == b"SSH-2.0-"


def test_machines_reach_each_other_and_keep_what_is_theirs(machine_lan: MachineLan) -> None:
    first, second = machine_lan.boot("first"), machine_lan.boot("second")
    first.write("/srv/own", "mine")
    assert not second.exists("/srv/own")
    reached = f"import socket; print(socket.create_connection(('{second.address}', 22)).recv(8))"
    assert first.run("python3", "-c", reached) == "b'SSH-2.0-'\n"
    assert first.run("systemctl", "is-active", "ssh") == second.run("systemctl", "is-active", "ssh") == "active\n"


def test_disk_outlives_a_reboot_and_nothing_the_end(tmp_path: Path) -> None:
    with MachineLan(tmp_path) as lan:
        machine = lan.boot("host")
        machine.write("/srv/kept", "kept")
        machine.reboot()
        assert machine.read("/srv/kept") == "kept"
        bridge, disk = lan.bridge, tmp_path / "host"
    assert not Path("/sys/class/net", bridge).exists()
    assert not disk.exists()
