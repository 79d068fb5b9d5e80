"""An OpenLDAP server of its own: configured by deploy/openldap as it is, its data and socket in one folder."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from bench.processes import BenchError, free_port, program, run, stop

DEPLOY = Path(__file__).parent.parent / "deploy/openldap"
SUFFIX = "dc=office,dc=lan"
BASE = f"ou=chart,{SUFFIX}"
MAILSERVER = f"cn=mailserver,{SUFFIX}"
DHCP = f"cn=dhcp,{SUFFIX}"
START_SECONDS = 15.0
ROOT = ("-Q", "-Y", "EXTERNAL")  # over ldapi:, who may do everything
# The machine's own ldap.conf says nothing in a test.
ENVIRONMENT = {**os.environ, "LDAPCONF": "/dev/null", "HOME": "/nonexistent"}


class SlapdInstance:
    """Made in an empty folder, whose path must be short (a Unix socket is in it); started and stopped at will.

    `dds`, `syncprov`: with that overlay. `tls`: serve StartTLS, and `ldaps:` beside `ldap:`, with the `slapd.pem`
    and `ca.pem` of that folder. `expiry_seconds`: how often slapd looks for expired leases. `changes`: LDIF that
    modifies the configuration. Raises BenchError.
    """

    password = "mailserver-secret"
    dhcp_password = "dhcp-secret"
    base = BASE
    suffix = SUFFIX
    bind_dn = MAILSERVER
    dhcp_dn = DHCP

    def __init__(
        self,
        folder: Path,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        dds: bool = True,
        syncprov: bool = True,
        tls: Path | None = None,
        expiry_seconds: int = 60,
        changes: str = "",
    ) -> None:
        self.folder = folder
        self.host = host
        self.port = port or free_port()
        self.tls_port = free_port() if tls else None
        self._process: subprocess.Popen[bytes] | None = None
        self.configuration = folder / "slapd.d"
        for name in ("slapd.d", "data", "run", "schema"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._write("lanpost-schema.ldif", "schema/lanpost.ldif")
        left_out = [name for name, wanted in (("dds", dds), ("syncprov", syncprov)) if not wanted]
        self._write("config.ldif", "config.ldif", *left_out)
        self._write("base.ldif", "base.ldif")
        self._tool("slapadd", "-n", "0", "-l", folder / "config.ldif")
        self._tool("slapadd", "-n", "1", "-l", folder / "base.ldif")
        if dds:
            self.reconfigure(
                f"dn: olcOverlay={{{int(syncprov)}}}dds,olcDatabase={{1}}mdb,cn=config\nchangetype: modify\n"
                f"replace: olcDDSinterval\nolcDDSinterval: {expiry_seconds}\n"
            )
        if tls:
            self.reconfigure((DEPLOY / "tls.ldif").read_text("utf-8").replace("/etc/ldap/tls", str(tls)))
        if changes:
            self.reconfigure(changes)

    @staticmethod
    def lacks() -> str:
        """What is missing to run one; "" when nothing is."""
        names = ("slapd", "slapadd", "slapmodify", "ldapsearch")
        if absent := [name for name in names if not program(name)]:
            return f"{', '.join(absent)} not installed: scripts/install-peers"
        return ""

    @property
    def url(self) -> str:
        return f"ldap://{self.host}:{self.port}"

    @property
    def ldaps_url(self) -> str:
        assert self.tls_port is not None, "made without tls"
        return f"ldaps://{self.host}:{self.tls_port}"

    @property
    def ldapi_url(self) -> str:
        return f"ldapi://{quote(str(self.folder / 'run/ldapi'), safe='')}"

    def reconfigure(self, ldif: str) -> None:
        """Change cn=config while slapd is stopped."""
        change = self.folder / "change.ldif"
        change.write_text(ldif, "utf-8")
        self._tool("slapmodify", "-n", "0", "-l", change)

    def load(self, ldif: str) -> None:
        """Add many entries fast and unchecked, while slapd is stopped."""
        entries = self.folder / "load.ldif"
        entries.write_text(ldif, "utf-8")
        self._tool("slapadd", "-q", "-n", "1", "-l", entries)

    def start(self) -> None:
        urls = [self.url, self.ldapi_url] + ([self.ldaps_url] if self.tls_port else [])
        command: list[str | Path] = [program("slapd") or "slapd", "-F", self.configuration, "-h"]
        command += [" ".join(f"{url}/" for url in urls), "-d", "0"]
        with (self.folder / "slapd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > give_up or self._process.poll() is not None:
                stop(self._process)
                raise BenchError(f"slapd does not answer at {self.url}: {self.log()[-600:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.resume()
        stop(self._process)

    def kill(self) -> None:
        """As in a crash: nothing is tidied up, nobody is told."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """It hangs: connections are accepted (by the kernel), and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def roots(self) -> list[int]:
        return [self._process.pid] if self._process else []

    def log(self) -> str:
        file = self.folder / "slapd.log"
        return file.read_text("utf-8", "replace") if file.exists() else ""

    def _write(self, name: str, as_name: str, *left_out: str) -> None:
        """A file of the deployment with this folder's paths and passwords, without some overlays."""
        text = (DEPLOY / name).read_text("utf-8")
        for overlay in left_out:
            text, count = re.subn(rf"dn: olcOverlay=\{{\d\}}{overlay},.*?(?=\n\n|\Z)\n*", "", text, flags=re.DOTALL)
            assert count == 1, f"{name} has {count} stanzas of {overlay}"
        # Numbers of overlays are without gaps.
        for number, overlay in enumerate(re.findall(r"^olcOverlay: \{\d\}(\w+)", text, re.MULTILINE)):
            text = re.sub(rf"\{{\d\}}{overlay}\b", f"{{{number}}}{overlay}", text)
        for path, ours in (
            ("/etc/ldap/schema/lanpost.ldif", f"{self.folder}/schema/lanpost.ldif"),
            ("/var/lib/ldap", f"{self.folder}/data"),
            ("/run/slapd", f"{self.folder}/run"),
        ):
            text = text.replace(path, ours)
        for password in (self.password, self.dhcp_password):  # in the order of base.ldif
            text = text.replace("userPassword: {CRYPT}*", f"userPassword: {password}", 1)
        (self.folder / as_name).write_text(text, "utf-8")

    def _tool(self, name: str, *arguments: str | Path) -> None:
        run([program(name) or name, "-F", self.configuration, *arguments])

    def _answers(self) -> bool:
        """The port is open and the server lets itself be asked."""
        try:
            socket.create_connection((self.host, self.port), timeout=START_SECONDS).close()
            run(["ldapsearch", "-x", "-LLL", "-H", self.url, "-b", SUFFIX, "-s", "base", "1.1"], env=ENVIRONMENT)
        except (OSError, BenchError) as error:
            # A server that lets nobody read unnamed (no-anonymous.ldif) has answered too.
            return "authentication required" in str(error)
        return True

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)
