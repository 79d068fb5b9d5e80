"""Words of a DHCP server that its registrar has not heard yet: a file for each address, holding the last one.

However many leases there are and however long the registrar is away, there is one file for each address, and one
process that sends. Written by short-lived programs that are started for each lease: nothing is imported here but
what the interpreter holds ready. Methods raise OSError.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping, Sequence

MAX_VALUE = 600  # octets kept of a field; a client identifier has 510 hexadecimal digits
MAX_FILE = 4096
SENDING, WRITING = ".sending", ".writing"  # locks
ADDRESS_CHARACTERS = frozenset("0123456789abcdefABCDEF.:")
_LONGEST_ADDRESS = 39
_TICKS = os.sysconf("SC_CLK_TCK")

Word = tuple[str, float, dict[str, str]]  # name of its file, when it was said, its fields


def started() -> float:
    """When this process was started: seconds since the machine was, asleep or not. Exact to a hundredth.

    Programs started one after the other are told apart by it, whichever comes to write first.
    """
    with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - pathlib would take longer than all the rest
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[19]) / _TICKS


def age_of(said: float) -> float:
    """Seconds since then; negative where it was before the machine was started anew."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - said


class LeaseSpool:
    """The words in one folder, which must be there. Right with any number of processes."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def put(self, address: str, fields: Mapping[str, str], said: float) -> bool:
        """Keep a word, unless a later one about that address is there. False: that is no address.

        Not made durable: what a power cut takes with it, the next renewal says again.
        """
        if not 2 <= len(address) <= _LONGEST_ADDRESS or not ADDRESS_CHARACTERS.issuperset(address):
            return False
        lines = [f"said={said!r}", f"address={address}"]
        for name, value in fields.items():
            if 0 < len(value) <= MAX_VALUE and value.isascii() and value.isprintable():
                lines.append(f"{name}={value}")
        path = self._path(address.lower().replace(":", "_"))
        with _Lock(self._path(WRITING)):
            if (former := _read(path)) is not None and former[0] > said >= 0 and age_of(former[0]) >= 0:
                return True
            fresh = f"{path}.new"
            with open(fresh, "w", encoding="ascii") as file:  # noqa: PTH123
                file.write("\n".join(lines))
            os.replace(fresh, path)  # noqa: PTH105
        return True

    def waiting(self) -> Sequence[Word]:
        """What is to be sent, in the order in which it was said."""
        names = os.listdir(self.folder)  # noqa: PTH208
        addresses = [name for name in names if ADDRESS_CHARACTERS.issuperset(name.replace("_", ""))]
        found = [(name, *word) for name in addresses if (word := _read(self._path(name))) is not None]
        return sorted(found, key=lambda word: word[1])

    def remove(self, name: str, said: float) -> None:
        """That word was heard; a later one about the same address stays."""
        path = self._path(name)
        with _Lock(self._path(WRITING)):
            if (word := _read(path)) is not None and word[0] == said:
                os.unlink(path)  # noqa: PTH108

    def claim(self) -> int | None:
        """The right to send, as an open file: it ends with the last process that has it. None: somebody has it."""
        handle = os.open(self._path(SENDING), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}"


class _Lock:
    """A file's lock, waited for; held for microseconds."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _read(path: str) -> tuple[float, dict[str, str]] | None:
    """None: it is not there, or it is not ours."""
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            lines = file.read(MAX_FILE).split("\n")
        fields = dict(line.split("=", 1) for line in lines)
        return float(fields.pop("said")), fields
    except (OSError, ValueError, KeyError):
        return None
