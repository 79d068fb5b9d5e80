"""A machine with this lanpost as a service: our sources and libraries, its own Python and systemd."""

from __future__ import annotations

import json
import smtplib
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from tests.lab.network import PATIENCE, SOURCES
from tests.machines.machine import MachineLan

from lanpost.app.services import PROGRAM
from lanpost.content.systemd_units import unit, unit_name

DEBIAN_PYTHON = (3, 11)  # native libraries fit no other
PLACE = "/opt/lanpost/0"  # where an installation would be
STARTER = f"""#!/usr/bin/python3 -I
import sys
sys.path[:0] = ["{PLACE}/lib", "{PLACE}/site"]
from lanpost.__main__ import main
main()
"""


class LanpostMachine:
    """One machine and the service of `role` on it, not started yet."""

    def __init__(self, lan: MachineLan, name: str, role: str, settings: str = "") -> None:
        if sys.version_info[:2] != DEBIAN_PYTHON:
            pytest.skip("our libraries are of another Python than the machine's")
        site = sysconfig.get_path("platlib")
        self.machine = lan.boot(name, binds=(f"{SOURCES}:{PLACE}/lib", f"{site}:{PLACE}/site"))
        self.address = self.machine.address
        self.unit = unit_name(role)
        self.machine.write(f"{PLACE}/bin/lanpost", STARTER, mode=0o755)
        self.machine.write(f"{PLACE}/lanpost.pyz", "")
        self.machine.run("ln", "-s", "0", "/opt/lanpost/current")
        self.machine.run("useradd", "--system", "--home-dir=/var/lib/lanpost", "lanpost")
        self.machine.write("/etc/lanpost/lanpost.toml", settings)
        self.machine.write(f"/etc/systemd/system/{self.unit}", unit(role, PROGRAM))
        self.machine.run("systemctl", "daemon-reload")

    def make_data_folder(self) -> None:
        """Before the first start, for commands that are run before it."""
        self.machine.run("install", "-d", "-o", "lanpost", "-m", "700", "/var/lib/lanpost")

    def start(self) -> None:
        """Return when it is ready; fail the test with its journal when it does not come up."""
        self.systemctl("start")

    def systemctl(self, verb: str) -> None:
        """`systemctl VERB` for the service."""
        done = self.machine.run("sh", "-c", f"systemctl {verb} {self.unit} && echo done", check=False, seconds=60)
        assert done.endswith("done\n"), done + self.machine.journal(self.unit)

    def show(self, what: str) -> str:
        """One property of the service, as `systemctl show` has it."""
        return self.machine.run("systemctl", "show", "-P", what, self.unit).strip()

    def lanpost(self, *words: str, given: str = "") -> str:
        """A command as the service's user."""
        return self.machine.run("runuser", "-u", "lanpost", "--", PROGRAM, *words, given=given)

    def lanpost_json(self, *words: str) -> Any:
        return json.loads(self.lanpost(*words, "--json"))

    def smtp(self) -> smtplib.SMTP:
        """A client, connected; `with` sends QUIT."""
        return smtplib.SMTP(self.address, 25, timeout=PATIENCE)

    def mails(self, mailbox: str) -> list[Path]:
        """What lies in a person's mailbox."""
        folder = self.machine.root / "var/lib/lanpost/mailboxes" / mailbox
        return [*folder.glob("new/*"), *folder.glob("cur/*")]
