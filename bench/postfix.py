"""Postfix as the mail server, asking OpenLDAP for each recipient's endpoint."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.postfix_instance import PostfixInstance
from bench.processes import BenchError, await_banner, free_port, program, run, stop
from bench.target import DOMAIN, START_SECONDS, Stage, Target

SUFFIX = "ou=chart,o=lan"
# What the stock schemas lack: an endpoint with its port, ready for Postfix. From OpenLDAP's experimental arc.
SCHEMA = """\
attributetype ( 1.3.6.1.4.1.4203.666.1.9001 NAME 'chartNextHop'
  EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.4203.666.3.9001 NAME 'chartTerminal' SUP top AUXILIARY MAY chartNextHop )
"""
SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/misc.schema
include {folder}/chart.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "o=lan"
directory {folder}/data
maxsize 1073741824
index objectClass,mailLocalAddress,cn eq
access to * by * read
"""
# As much at a time as the load wants, and nobody slowed down.
SETTINGS = {
    "myhostname": f"mail.{DOMAIN}",
    "relay_domains": DOMAIN,
    "default_process_limit": "100",
    "default_destination_concurrency_limit": "100",
    "initial_destination_concurrency": "100",
    "smtp_destination_concurrency_limit": "100",
    "smtpd_client_connection_count_limit": "0",
    "in_flow_delay": "0",
}


class Slapd:
    """OpenLDAP with the whole chart."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"ldap://127.0.0.1:{free_port()}"
        (folder / "data").mkdir(parents=True)
        (folder / "chart.schema").write_text(SCHEMA, "ascii")
        (folder / "slapd.conf").write_text(SLAPD.format(folder=folder), "ascii")
        (folder / "chart.ldif").write_text(self._ldif(stage), "ascii")
        run([program("slapadd") or "slapadd", "-q", "-f", folder / "slapd.conf", "-l", folder / "chart.ldif"])

    def start(self) -> None:
        with (self._folder / "slapd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("slapd") or "slapd", "-h", self.url, "-f", str(self._folder / "slapd.conf"), "-d", "0"],
                stdout=log,
                stderr=log,
            )
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                run(["ldapsearch", "-x", "-LLL", "-H", self.url, "-b", SUFFIX, "-s", "base", "1.1"])
                return
            except BenchError:
                if time.monotonic() > give_up or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        stop(self._process)

    def roots(self) -> list[int]:
        return [self._process.pid] if self._process else []

    @staticmethod
    def _ldif(stage: Stage) -> str:
        head = "dn: o=lan\nobjectClass: organization\no: lan\n\n"
        head += f"dn: {SUFFIX}\nobjectClass: organizationalUnit\nou: chart\n\n"
        return head + "".join(
            f"dn: cn={name},{SUFFIX}\nobjectClass: device\nobjectClass: ipHost\n"
            "objectClass: inetLocalMailRecipient\nobjectClass: chartTerminal\n"
            f"cn: {name}\nipHostNumber: 127.0.0.1\nmailLocalAddress: {name}\nmailHost: [127.0.0.1]\n"
            f"chartNextHop: smtp:[127.0.0.1]:{stage.sink_port}\n\n"
            for name in stage.addresses()
        )


class Postfix(Target):
    """Queue on disk, as always with Postfix; `smtp:` to the endpoint that slapd names."""

    name = "postfix"
    durable = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._slapd = Slapd(stage, self.folder / "slapd")
        transport = self.folder / "transport.cf"
        transport.write_text(
            f"server_host = {self._slapd.url}\nversion = 3\nbind = no\nsearch_base = {SUFFIX}\nscope = one\n"
            f"domain = {DOMAIN}\nquery_filter = (mailLocalAddress=%s)\nresult_attribute = chartNextHop\n",
            "ascii",
        )
        settings = {**SETTINGS, "transport_maps": f"ldap:{transport}"}
        self._postfix = PostfixInstance(self.folder / "postfix", f"127.0.0.1:{self.port}", settings)

    @staticmethod
    def lacks() -> str:
        absent = [name for name in ("slapd", "slapadd", "ldapsearch") if not program(name)]
        if absent:
            return f"{', '.join(absent)} not installed: scripts/install-peers"
        return PostfixInstance.lacks()

    def start(self) -> None:
        self._slapd.start()
        self._postfix.start()
        await_banner(self.port, START_SECONDS)

    def stop(self) -> None:
        self._postfix.stop()
        self._slapd.stop()

    def roots(self) -> list[int]:
        return self._postfix.roots() + self._slapd.roots()
