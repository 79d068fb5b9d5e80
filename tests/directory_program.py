"""`lanpost directory` as its users run it, and the tools of OpenLDAP to ask it with.

with DirectoryProgram(tmp_path) as directory:
    directory.bind("fax1", ("10.0.0.7", 25))
    directory.tool("ldapsearch", "-x", "-LLL", "(cn=fax1)")
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from bench.processes import free_port

from tests.program import HOST, PATIENCE, SOURCE, Program, lay_over

SUFFIX = "dc=office,dc=lan"
BASE = f"ou=chart,{SUFFIX}"
ADMIN = f"cn=admin,{SUFFIX}"
PASSWORD = "correct horse"  # the administrator's


class DirectoryProgram(Program):
    """One directory, whose administrator's password is PASSWORD."""

    command = "directory"

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        within: Sequence[str | Path] = (),
        source: Path = SOURCE,
    ) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "admin.password").write_text(f"{PASSWORD}\n", "ascii")
        (folder / "admin.password").chmod(0o600)
        chosen: dict[str, Any] = {
            "ldap": {"listen": [f"{HOST}:{self.port}"], "admin_password_file": "admin.password"},
        }
        lay_over(chosen, settings or {})
        super().__init__(folder, chosen, within, source)

    @property
    def url(self) -> str:
        return f"ldap://{HOST}:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "data/tls/ca.pem"

    def enrol(self, address: str) -> str:
        """Make a terminal known. Its secret."""
        return str(self.lanpost_json("terminal", "add", address)["secret"])

    def tool(self, name: str, *words: str, given: str = "", status: int | None = 0, url: str = "") -> str:
        """A program of ldap-utils against this directory. What it printed, both its outputs.

        As the administrator unless -D, -Y or -x say otherwise. `status`: what it must end with; None: whatever.
        """
        credentials = ["-x", "-D", ADMIN, "-w", PASSWORD]
        if {"-D", "-Y", "-x"}.intersection(words):
            credentials = []
        done = run_tool(name, ["-H", url or self.url, *credentials, *words], self.ca_file, given)
        printed = done.stdout + done.stderr
        if status is not None:
            assert done.returncode == status, f"{name} {' '.join(words)}: status {done.returncode}: {printed}"
        return printed

    def search(self, *words: str, base: str = BASE) -> list[tuple[str, dict[str, list[str]]]]:
        """`ldapsearch` as anybody: names and attributes of what was found."""
        return entries(self.tool("ldapsearch", "-x", "-LLL", "-o", "ldif_wrap=no", "-b", base, *words))

    def add(self, name: str, host: str = "", *lines: str) -> None:
        """`ldapadd` of a terminal, bound where `host` says; further lines of LDIF."""
        entry = [f"dn: cn={name},{BASE}", "objectClass: device", "objectClass: lanpostTerminal", f"cn: {name}"]
        if host:
            entry += ["objectClass: ipHost", f"ipHostNumber: {host}"]
        self.tool("ldapadd", given="\n".join([*entry, *lines, ""]))

    def modify(self, name: str, change: str, *words: str, status: int = 0) -> str:
        """`ldapmodify` of a terminal's entry."""
        given = f"dn: cn={name},{BASE}\nchangetype: modify\n{change}\n"
        return self.tool("ldapmodify", *words, given=given, status=status)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), PATIENCE):
                return True
        except OSError:
            return False


def run_tool(
    name: str, words: Sequence[str], ca_file: Path | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """A program of ldap-utils, whatever it ends with; no file of the machine's or a user's settings is read.

    Skips the test where it is not installed.
    """
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed: scripts/install-peers")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "LDAPCONF": "/dev/null", "HOME": "/nonexistent"}
    if ca_file is not None:
        environment["LDAPTLS_CACERT"] = str(ca_file)
    return subprocess.run(
        [name, *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )


def entries(ldif: str) -> list[tuple[str, dict[str, list[str]]]]:
    """LDIF with unwrapped lines (RFC 2849), read: name and attributes of each entry, in its order."""
    found = []
    for block in ldif.strip().split("\n\n"):
        attributes: dict[str, list[str]] = {}
        for line in block.splitlines():
            if line.startswith("#") or ":" not in line:
                continue
            name, _, value = line.partition(":")
            if value.startswith(":"):
                value = base64.b64decode(value[1:]).decode()
            attributes.setdefault(name, []).append(value.strip())
        if "dn" in attributes:
            found.append((attributes.pop("dn")[0], attributes))
    return found
