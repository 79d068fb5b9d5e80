"""Postfix as the mail server, asking OpenLDAP for each recipient's endpoint."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from bench.processes import STOP_SECONDS, BenchError, await_banner, free_port, program, run, stop, tree
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
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/postfix.log
myhostname = mail.{domain}
mydestination =
relay_domains = {domain}
transport_maps = ldap:{folder}/conf/transport.cf
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
# No DNS at all.
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
# As much at a time as the load wants, and nobody slowed down.
default_process_limit = 100
default_destination_concurrency_limit = 100
initial_destination_concurrency = 100
smtp_destination_concurrency_limit = 100
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
message_size_limit = 52428800
"""
# smtpd is one process a connection: a thousand connections for the memory figure need as many.
MASTER = """\
127.0.0.1:{port} inet n - n - 1100 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


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
        self._conf = self.folder / "conf"
        for name in ("conf", "queue", "data"):
            (self.folder / name).mkdir()
        run(["chown", "postfix", self.folder / "data"])
        self._slapd = Slapd(stage, self.folder / "slapd")
        (self._conf / "main.cf").write_text(MAIN.format(folder=self.folder, domain=DOMAIN), "ascii")
        (self._conf / "master.cf").write_text(MASTER.format(port=self.port), "ascii")
        (self._conf / "transport.cf").write_text(
            f"server_host = {self._slapd.url}\nversion = 3\nbind = no\nsearch_base = {SUFFIX}\nscope = one\n"
            f"domain = {DOMAIN}\nquery_filter = (mailLocalAddress=%s)\nresult_attribute = chartNextHop\n",
            "ascii",
        )

    @staticmethod
    def lacks() -> str:
        absent = [name for name in ("postfix", "slapd", "slapadd", "ldapsearch") if not program(name)]
        if absent:
            return f"{', '.join(absent)} not installed: scripts/install-peers"
        return "" if os.geteuid() == 0 else "Postfix starts only as root"

    def start(self) -> None:
        self._slapd.start()
        run([program("postfix") or "postfix", "-c", self._conf, "start"])
        await_banner(self.port, START_SECONDS)

    def stop(self) -> None:
        master = self._master()
        if master:
            # Its children are gone some moments after itself.
            family = tree([master])
            subprocess.run(
                [program("postfix") or "postfix", "-c", self._conf, "stop"], capture_output=True, check=False
            )
            give_up = time.monotonic() + STOP_SECONDS
            while any(Path(f"/proc/{pid}").exists() for pid in family) and time.monotonic() < give_up:
                time.sleep(0.05)
        self._slapd.stop()

    def roots(self) -> list[int]:
        master = self._master()
        return ([master] if master else []) + self._slapd.roots()

    def _master(self) -> int:
        """Process id of Postfix's master; 0 when it is not running."""
        try:
            pid = int((self.folder / "queue/pid/master.pid").read_text("ascii"))
        except (OSError, ValueError):
            return 0
        return pid if Path(f"/proc/{pid}").exists() else 0
