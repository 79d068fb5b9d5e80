"""Where BusyBox's init starts services: installed, upgraded, restarted with the machine, removed."""

from __future__ import annotations

import smtplib
from pathlib import Path

import pytest
from tests.lab.network import PATIENCE
from tests.light_archive import renumbered
from tests.machines.busybox_machine import BusyBoxMachine
from tests.machines.callers import Caller, Callers, hand_in_a_mail
from tests.machines.machine import Machine, MachineLan
from tests.machines.test_install import DOES_NOT_SERVE, FILE, brought, ran, version

# On a busy machine each installation takes its time, and these tests do several.
pytestmark = [pytest.mark.machine, pytest.mark.timeout(400)]


@pytest.fixture
def device(machine_lan: MachineLan) -> Machine:
    return machine_lan.boot("device", kind=BusyBoxMachine)


def test_installed_by_an_init_script_upgraded_and_started_with_the_machine(
    device: Machine, pyz: Path, tmp_path: Path
) -> None:
    brought(device, pyz)
    said = ran(device, FILE, "install")
    assert "services of 0.1.0 for init scripts" in said
    assert "status 0" in said
    first = version(device)
    assert device.run("stat", "-c", "%U", f"/proc/{device.read('/run/lanpost-serve.pid').strip()}") == "lanpost\n"
    device.run("lanpost", "user", "add", "anna", "--password-stdin", given="correct horse\n")

    brought(device, renumbered(pyz, tmp_path / "later", "9.1"))
    mails = Caller(device.address, 25, hand_in_a_mail, 0.05)
    with Callers(mails):
        assert "status 0" in ran(device, FILE, "install")
        assert version(device) == "9.1"
    assert mails.failed == []

    brought(device, renumbered(pyz, tmp_path / "broken", "9.2", {"lanpost/cli/serve.py": DOES_NOT_SERVE}))
    said = ran(device, FILE, "install")
    assert "S90lanpost does not come up" in said
    assert "this version has a fault" in said
    assert "Gone back to 9.1, which runs again" in said
    assert version(device) == "9.1"
    assert "status 0" in ran(device, "lanpost rollback")
    assert version(device) == first

    pid, configuration = device.read("/run/lanpost-serve.pid"), device.read("/etc/lanpost/lanpost.toml")
    device.write("/etc/lanpost/lanpost.toml", 'domain = "office.lan"\nno-such-setting = 1\n')
    said = ran(device, "/etc/init.d/S90lanpost", "restart")
    assert "lanpost serve runs on as it is: " in said
    assert "no-such-setting" in said
    assert "status 1" in said
    assert device.read("/run/lanpost-serve.pid") == pid
    device.write("/etc/lanpost/lanpost.toml", configuration)
    assert version(device) == first
    assert "status 0" in ran(device, "/etc/init.d/S90lanpost", "restart")

    device.reboot()
    with smtplib.SMTP(device.address, timeout=PATIENCE) as client:
        assert client.ehlo()[0] == 250
    assert "runs (pid" in device.run("/etc/init.d/S90lanpost", "status")
    assert "status 0" in ran(device, "lanpost uninstall --purge --yes")
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP(device.address, timeout=PATIENCE)
    assert "lanpost" not in device.run("ls", "/etc/init.d")
