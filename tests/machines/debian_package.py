"""lanpost's Debian package on machines: built once for a test run, installed by dpkg, without a network."""

from __future__ import annotations

import fcntl
import json
import poplib
import smtplib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from release.debian_package import build
from tests.lab.network import PATIENCE
from tests.light_archive import renumbered
from tests.machines.machine import Machine

TIME = 1_700_000_000  # of everything in the packages
PLACE = "/srv"  # where they lie on a machine
PASSWORD = "correct horse"  # of the people in tests
SECONDS = 120.0  # what dpkg may take where every core is busy
# What a machine keeps for itself, and what the tests put there.
NOT_LISTED = ("/proc", "/sys", "/run", "/dev", "/tmp", "/var/log", "/var/tmp", PLACE)


def built_package(pyz: Path, folder: Path, version: str = "", changed: Mapping[str, str] | None = None) -> Path:
    """The package of that file in a folder; of several processes the first builds it. `version`: the one that it is
    to have, with those members `changed`."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := next(iter(folder.glob("*.deb")), None):
            return found
        return build(renumbered(pyz, folder, version, changed) if version else pyz, folder, TIME)


class DebianMachine:
    """A machine, and the packages that it is given."""

    def __init__(self, machine: Machine, *packages: Path) -> None:
        self.machine = machine
        self.address = machine.address
        for package in packages:
            machine.copy_in(package, f"{PLACE}/{package.name}")

    def install(self, package: Path) -> str:
        """By dpkg; what it said. Fails where it does."""
        return self.machine.run("sh", "-ec", f"dpkg -i {PLACE}/{package.name} 2>&1", seconds=SECONDS)

    def try_to_install(self, package: Path) -> str:
        """The same where it shall be refused: what was said of that."""
        said = self.machine.run(
            "sh", "-c", f"dpkg -i {PLACE}/{package.name}; echo status $?", check=False, seconds=SECONDS
        )
        assert said.endswith("status 1\n"), said
        return said

    def dpkg(self, *words: str) -> str:
        return self.machine.run("dpkg", *words, seconds=SECONDS)

    def status(self) -> str:
        """What dpkg has in its books, as "ii 0.1.0": wanted and actual state, version."""
        found = self.machine.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", "lanpost", check=False)
        return "" if found.startswith("dpkg-query") else found.strip()

    def state(self, what: str, unit: str = "lanpost") -> str:
        """`systemctl is-active` or `is-enabled`."""
        return self.machine.run("systemctl", what, unit, check=False).strip()

    def lanpost(self, *words: str, given: str = "") -> str:
        """A command as the service's user."""
        return self.machine.run("runuser", "-u", "lanpost", "--", "lanpost", *words, given=given)

    def lanpost_json(self, *words: str) -> Any:
        return json.loads(self.lanpost(*words, "--json"))

    def add_person(self, name: str) -> None:
        self.lanpost("user", "add", name, "--password-stdin", given=f"{PASSWORD}\n")

    def send(self, to: str, subject: str) -> None:
        with smtplib.SMTP(self.address, 25, timeout=PATIENCE) as client:
            client.sendmail("me@office.lan", [to], f"Subject: {subject}\r\n\r\nx\r\n")

    def subjects(self, name: str) -> list[str]:
        """Of the mails that this person fetches by POP3."""
        mailbox = poplib.POP3(self.address, 110, timeout=PATIENCE)
        mailbox.stls(_any_certificate())
        mailbox.user(name)
        mailbox.pass_(PASSWORD)
        count, _ = mailbox.stat()
        lines = [line for number in range(1, count + 1) for line in mailbox.retr(number)[1]]
        mailbox.quit()
        return [line.removeprefix(b"Subject: ").decode() for line in lines if line.startswith(b"Subject: ")]

    def files(self) -> set[str]:
        """All that there is on its disk."""
        left_out = " -o ".join(f"-path {path}" for path in NOT_LISTED)
        return set(self.machine.run("sh", "-c", rf"find / \( {left_out} \) -prune -o -print").splitlines())


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
