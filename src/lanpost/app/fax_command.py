"""Runs the command that the administrator has set for each fax. Never by a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from lanpost.errors import ConfigurationError

TEMPORARY = 75  # the exit status that says: try again later (EX_TEMPFAIL of sysexits.h, as mail servers take it)
KEPT_WORDS = 4096  # octets of what it printed last; the log shows them


class CommandFailed(Exception):
    """`str()` says how it ended, with its last words. Never leaves the fax machine."""

    def __init__(self, text: str, *, permanent: bool) -> None:
        super().__init__(text)
        self.permanent = permanent


def check(command: Sequence[str]) -> None:
    """Raises ConfigurationError where the program is not there."""
    if command and shutil.which(command[0]) is None:
        raise ConfigurationError(
            f"[fax] command: there is no program {command[0]!r} that may be run; give its path, and `chmod +x` it"
        )


async def run(command: Sequence[str], folder: Path, timeout_seconds: float) -> None:
    """Run it with the fax's folder as last argument, and in that folder. Raises CommandFailed.

    What it started and left behind is killed with it when its time is up.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(folder),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(f"{command[0]}: {error.strerror or error}", permanent=True) from None
    try:
        async with asyncio.timeout(timeout_seconds):
            words = await _last_words(process)
            status = await process.wait()
    except TimeoutError:
        raise CommandFailed(f"{command[0]} was not done after {timeout_seconds:g} s", permanent=True) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if status:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise CommandFailed(f"{command[0]} {how}" + (f": {words}" if words else ""), permanent=status != TEMPORARY)


async def _last_words(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    kept = b""
    while data := await process.stdout.read(65536):
        kept = (kept + data)[-KEPT_WORDS:]
    return " ".join(kept.decode("utf-8", "replace").split())[-400:]
