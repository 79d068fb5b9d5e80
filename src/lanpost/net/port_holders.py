"""Whether a port can be listened at, and if not, which process has it. Linux; raises nothing.

Only root sees the processes of others.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass
from pathlib import Path

_LISTENING = "0A"  # in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that listens. `command`: what it was started with."""

    pid: int
    name: str
    command: tuple[str, ...]


def is_taken(host: str, port: int) -> bool:
    """Whether somebody else listens there. An address that this machine has not got now is not taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections are no listener
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]
            trial.bind(address)
            trial.listen(1)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def holders(port: int, proc: Path = Path("/proc")) -> list[Holder]:
    """The processes that listen at a TCP port, whatever the address; as far as this user may see them."""
    wanted = {f"socket:[{inode}]" for inode in _sockets(port, proc)}
    found = []
    for folder in proc.iterdir() if wanted else ():
        if folder.name.isdecimal() and wanted & set(_open_files(folder)):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
                name = (folder / "comm").read_text("utf-8", "replace").strip()
                found.append(Holder(int(folder.name), name, tuple(command)))
    return sorted(found, key=lambda holder: holder.pid)


def _sockets(port: int, proc: Path) -> list[str]:
    inodes = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / table).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.append(fields[9])
    return inodes


def _open_files(folder: Path) -> list[str]:
    targets = []
    with contextlib.suppress(OSError):
        for handle in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                targets.append(str(handle.readlink()))
    return targets
