"""Two folders change places, so that nobody ever finds one of the names missing."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE, renameat2(2)


def exchange(one: Path, other: Path) -> None:
    """Both are there before and after, each under the other's name.

    At once where the system can do that (Linux 3.15, glibc 2.28, and the usual file systems); elsewhere by three
    renames, amid which a crash leaves `one` missing. Raises OSError.
    """
    if not _at_once(one, other):
        aside = one.with_name(f"{one.name}.aside")
        one.rename(aside)
        other.rename(one)
        aside.rename(other)


def _at_once(one: Path, other: Path) -> bool:
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    status: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)
    return status == 0
