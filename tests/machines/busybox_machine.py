"""Machines whose first process is BusyBox's init: small devices start their services so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import pytest
from tests.machines.machine import Machine

BUSYBOX = Path("/bin/busybox")
INITTAB = "::sysinit:/etc/start\n::shutdown:/etc/stop\n"
START = """#!/bin/sh
for script in {scripts}; do
    [ -x "$script" ] && "$script" start
done
echo up >/run/up
"""
STOP = """#!/bin/sh
rm /run/up
for script in $(ls -r {scripts}); do
    "$script" stop
done
"""


class BusyBoxMachine(Machine):
    """Its scripts as Buildroot has them: numbered, in /etc/init.d. systemd lies on the disk, and does not run."""

    first_process = ("/sbin/init",)
    scripts = "/etc/init.d/S??*"
    files: ClassVar = {"etc/init.d/rcS": "", "etc/init.d/S01nothing": ""}

    def boot(self) -> None:
        if not BUSYBOX.exists():
            pytest.skip("not installed: busybox")
        texts = {"etc/start": START.format(scripts=self.scripts), "etc/stop": STOP.format(scripts=self.scripts)}
        for name, text in (texts | self.files | {"etc/inittab": INITTAB}).items():
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


class RunLevelMachine(BusyBoxMachine):
    """Its scripts as sysvinit has them: linked by number in the folder of a run level."""

    scripts = "/etc/rc2.d/S??*"
    files: ClassVar = {}
