"""A Postfix of its own: configuration, queue and log in one folder, beside whatever the machine has."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from bench.processes import STOP_SECONDS, is_alive, program, run, tree

# No DNS, no maps of the machine's own.
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/postfix.log
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
mydestination =
mynetworks = 127.0.0.0/8
smtp_host_lookup = native
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
message_size_limit = 52428800
"""
# smtpd is one process a connection: a thousand connections need as many.
MASTER = """\
{listen} inet n - n - 1100 smtpd
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


class PostfixInstance:
    """Made in a new folder, which Postfix's user must be able to enter; started and stopped at will, as root."""

    def __init__(self, folder: Path, listen: str, settings: Mapping[str, str], services: str = "") -> None:
        """`listen`: IP:port; `settings`: lines of main.cf; `services`: more lines of master.cf."""
        self.folder = folder
        self.conf = folder / "conf"
        for name in ("conf", "queue", "data"):
            (folder / name).mkdir(parents=True)
        run(["chown", "postfix", folder / "data"])
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self.conf / "main.cf").write_text(MAIN.format(folder=folder) + lines, "ascii")
        (self.conf / "master.cf").write_text(MASTER.format(listen=listen) + services, "ascii")

    @staticmethod
    def lacks() -> str:
        """Why there can be none on this machine; "" when there can."""
        if not program("postfix"):
            return "Postfix is not installed: scripts/install-peers"
        return "" if os.geteuid() == 0 else "Postfix starts only as root"

    def start(self) -> None:
        """Its port may take some moments more. BenchError with Postfix's words."""
        run([program("postfix") or "postfix", "-c", self.conf, "start"])

    def stop(self) -> None:
        """Return when all of its processes are gone. Idempotent."""
        family = tree(self.roots())  # they end some moments after their master
        for master in family[:1]:
            os.kill(master, signal.SIGTERM)  # it passes it on; `postfix stop` does so too, but naps for a second
        give_up = time.monotonic() + STOP_SECONDS
        while any(is_alive(pid) for pid in family) and time.monotonic() < give_up:
            time.sleep(0.02)

    def roots(self) -> list[int]:
        """Its master's process id; empty when it is not running."""
        try:
            pid = int((self.folder / "queue/pid/master.pid").read_text("ascii"))
        except (OSError, ValueError):
            return []
        return [pid] if is_alive(pid) else []

    def log(self) -> str:
        file = self.folder / "postfix.log"
        return file.read_text("utf-8", "replace") if file.exists() else ""
