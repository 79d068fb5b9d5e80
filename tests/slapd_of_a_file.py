"""OpenLDAP as others set it up beside our directory, from one short slapd.conf: a proxy, a replica.

    with FileSlapd("database ldap\n...", modules=("back_ldap",)) as slapd: run_tool("ldapsearch", ["-H", slapd.url])

It knows the schema of deploy/openldap. Making one skips the test where OpenLDAP is not installed.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from bench.processes import free_port, program, stop
from bench.slapd_instance import DEPLOY, ENVIRONMENT, START_SECONDS

HEAD = """\
{schemas}
include {deploy}/lanpost.schema
pidfile {folder}/pid
modulepath /usr/lib/ldap
{modules}
"""
SCHEMAS = ("core", "cosine", "inetorgperson", "nis", "misc")


class FileSlapd:
    """One server at 127.0.0.1. `databases`: what slapd.conf says behind its head; "{folder}": its own folder."""

    def __init__(self, databases: str, *, modules: Sequence[str]) -> None:
        if not program("slapd"):
            pytest.skip("slapd is not installed: scripts/install-peers")
        self.folder = Path(tempfile.mkdtemp(prefix="lanpost-slapd-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (self.folder / "data").mkdir()
        head = HEAD.format(
            schemas="\n".join(f"include /etc/ldap/schema/{name}.schema" for name in SCHEMAS),
            deploy=DEPLOY,
            folder=self.folder,
            modules="\n".join(f"moduleload {name}" for name in modules),
        )
        (self.folder / "slapd.conf").write_text(head + databases.replace("{folder}", str(self.folder)), "utf-8")

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it listens."""
        command = [program("slapd") or "slapd", "-f", str(self.folder / "slapd.conf"), "-h", f"{self.url}/"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*command, "-d", "sync"], stdout=log, stderr=log, env=ENVIRONMENT)
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), START_SECONDS).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > give_up:
                    self.stop()
                    pytest.fail(f"slapd does not start: {self.log()}")
                time.sleep(0.01)

    def stop(self) -> None:
        stop(self.process)

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
