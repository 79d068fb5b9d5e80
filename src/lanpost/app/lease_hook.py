"""What a DHCP server starts for each lease: `lanpost dhcp-hook kea POINT`, `lanpost dhcp-hook dnsmasq ACTION ...`.

Done in milliseconds, since dnsmasq waits for it: the word is put into a folder, and one process of all sends what
is there (`app/lease_sender.py`), in the background. Nothing that takes time to import is imported before that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from lanpost.content.dhcp_words import dnsmasq_words, kea_words
from lanpost.store.lease_spool import LeaseSpool, started

FOLDER = "/var/lib/lanpost-dhcp"
SERVERS = ("kea", "dnsmasq")
LOG_NAME = "lanpost-dhcp-hook"  # in the system's log
_OPEN_FILES = 1024  # that a DHCP server may have left open


def is_hook(arguments: Sequence[str]) -> bool:
    """A DHCP server calls: not the time to load a command line."""
    return len(arguments) >= 2 and arguments[0] == "dhcp-hook" and arguments[1] in SERVERS


def main(arguments: Sequence[str]) -> int:
    """The hook; `arguments` begin with the server's name. Returns its exit status.

    A folder other than FOLDER is named by `--folder DIR` behind that.
    """
    server, *rest = arguments
    folder = FOLDER
    if rest[:1] == ["--folder"] and len(rest) > 1:
        folder, rest = rest[1], rest[2:]
    environment = os.environ
    words = dnsmasq_words(rest, environment) if server == "dnsmasq" else kea_words("".join(rest[:1]), environment)
    spool = LeaseSpool(folder)
    try:
        said = started()
        kept = [spool.put(fields.pop("address"), fields, said) for fields in words]
        if any(kept) and (claimed := spool.claim()) is not None:
            _send_in_background(folder, claimed)
    except OSError as error:
        _complain(f"{folder}: {error.strerror or error}; see `lanpost dhcp-hook enrol --help`")
        return 1
    return 0


def _send_in_background(folder: str, claimed: int) -> None:
    """The right to send goes over to a process of its own, that the DHCP server neither waits for nor hears."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    # dnsmasq waits for the end of what its script prints, and neither server's sockets are our business.
    os.closerange(3, claimed)
    os.closerange(claimed + 1, _OPEN_FILES)
    status = 1
    try:
        from lanpost.app.lease_sender import send

        send(folder, claimed)
        status = 0
    except BaseException as error:
        _complain(repr(error))
    finally:
        os._exit(status)


def _complain(text: str) -> None:
    import syslog

    print(f"{LOG_NAME}: {text}", file=sys.stderr)
    syslog.openlog(LOG_NAME, syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_ERR, text)
