"""CUPS as a process of a test, with one printer that prints nothing and keeps what it was given.

    with CupsServer(tmp_path / "cups") as cups: ... cups.url ...; cups.documents()

Entering one skips the test when CUPS is not installed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from bench.processes import free_port, stop
from tests.mail_servers import wait_until

CUPSD = "/usr/sbin/cupsd"
FILES = """\
ServerRoot {0}/etc
RequestRoot {0}/spool
CacheDir {0}/cache
StateDir {0}/run
TempDir {0}/tmp
AccessLog {0}/access
PageLog {0}/pages
ErrorLog {0}/log
Printcap
ServerKeychain {0}/etc/ssl
FileDevice Yes
Sandboxing relaxed
"""
DAEMON = """\
Listen 127.0.0.1:{1}
ServerName localhost
Browsing Off
DefaultAuthType None
WebInterface No
LogLevel info
PreserveJobFiles Yes
<Location />
Order allow,deny
Allow all
</Location>
<Policy default>
<Limit All>
Order deny,allow
</Limit>
</Policy>
"""
PRINTER = """\
<Printer office>
DeviceURI file:///dev/null
State Idle
Accepting {2}
Shared Yes
JobSheets none none
</Printer>
"""


class CupsServer:
    """One that is running; `accepting`: its printer takes jobs."""

    def __init__(self, folder: Path, *, accepting: bool = True, tls: bytes = b"") -> None:
        self.folder = folder
        self.port = free_port()
        self._accepting = accepting
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ipp://127.0.0.1:{self.port}/printers/office"

    @property
    def safe_url(self) -> str:
        """The same by TLS: `tls` is the certificate that is shown then, with its key, PEM."""
        return self.url.replace("ipp:", "ipps:")

    def __enter__(self) -> Self:
        if not shutil.which(CUPSD):
            pytest.skip("cupsd is not installed")
        for name in ("etc/ssl", "spool", "cache", "run", "tmp"):
            (self.folder / name).mkdir(parents=True)
        for name, text in (("cups-files.conf", FILES), ("cupsd.conf", DAEMON), ("printers.conf", PRINTER)):
            filled = text.format(self.folder, self.port, "Yes" if self._accepting else "No")
            (self.folder / "etc" / name).write_text(filled)
        etc = self.folder / "etc"
        if self._tls:
            key, begin, certificate = self._tls.partition(b"-----BEGIN CERTIFICATE-----")
            (etc / "ssl" / "localhost.key").write_bytes(key)
            (etc / "ssl" / "localhost.crt").write_bytes(begin + certificate)
        self._process = subprocess.Popen(
            [CUPSD, "-f", "-c", etc / "cupsd.conf", "-s", etc / "cups-files.conf"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: "Listening to" in self.log(), "CUPS listens", self.log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            stop(self._process)

    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def documents(self) -> list[bytes]:
        """What was printed, the first first."""
        return [file.read_bytes() for file in sorted((self.folder / "spool").glob("d*"))]
