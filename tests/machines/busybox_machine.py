"""A machine whose first process is BusyBox's init: small devices start their services so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.machines.machine import Machine

BUSYBOX = Path("/bin/busybox")
INITTAB = "::sysinit:/etc/init.d/rcS\n::shutdown:/etc/init.d/rcK\n"
START = """#!/bin/sh
for script in /etc/init.d/S??*; do
    [ -x "$script" ] && "$script" start
done
echo up >/run/up
"""
STOP = """#!/bin/sh
rm /run/up
for script in $(ls -r /etc/init.d/S??*); do
    "$script" stop
done
"""


class BusyBoxMachine(Machine):
    """As Buildroot lays its scripts out: numbered, in /etc/init.d. systemd lies on the disk, and does not run."""

    first_process = ("/sbin/init",)

    def boot(self) -> None:
        if not BUSYBOX.exists():
            pytest.skip("not installed: busybox")
        files = {
            "etc/inittab": INITTAB,
            "etc/init.d/rcS": START,
            "etc/init.d/rcK": STOP,
            "etc/init.d/S01nothing": "",
        }
        for name, text in files.items():
            file = self._disk / name
            file.write_text(text)
            file.chmod(0o755)
        init = self._disk / "sbin/init"
        init.unlink()
        shutil.copy(BUSYBOX, init)
        super().boot()

    def _wait_until_up(self, console: Path) -> None:
        self.wait_until(lambda: (self.root / "run/up").exists(), f"its services: {console}")

    def power_off(self) -> None:
        """Shut down in order: BusyBox's init is told so by a signal."""
        assert self._nspawn
        self.run("kill", "-USR2", "1")
        self._nspawn.wait()
        self._leader = 0
