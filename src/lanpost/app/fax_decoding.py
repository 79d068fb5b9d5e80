"""Has received faxes looked at, each by a process of its own, a few at a time, for a limited time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lanpost.app.settings import Fax
from lanpost.errors import InvalidFax, StoreError
from lanpost.store.program_file import import_path

WAIT_SECONDS = 120.0  # for others to be looked at first; senders wait ten minutes (RFC 5321 §4.5.3.2.6)
MAX_WORDS = 2000  # of what a process said on stderr
# By its own limits, or by a library that gave up or fell over. Not SIGKILL: that is somebody else's doing.
_FELL = (
    *(signal.SIGXCPU, signal.SIGXFSZ, signal.SIGABRT, signal.SIGTRAP, signal.SIGILL),
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a fax is: the damaged lines of each page, and those header fields that are needed."""

    damaged_lines: Sequence[int]
    headers: Sequence[tuple[str, str]]


class FaxDecoding:
    """`look` at a fax that lies in a folder."""

    def __init__(self, settings: Fax) -> None:
        self._settings = settings
        self._free = asyncio.Semaphore(settings.decoders)

    async def look(self, folder: Path, about: Mapping[str, object]) -> Found | None:
        """Make the fax's files beside its `mail.eml`; `about` goes into fax.json. None: too busy, try again later.

        Raises InvalidFax where it cannot be read, StoreError where that is no fault of the fax.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            return None
        try:
            return await self._look(folder, about)
        finally:
            self._free.release()

    async def _look(self, folder: Path, about: Mapping[str, object]) -> Found:
        settings = self._settings
        order = {
            "folder": str(folder),
            "pages": settings.pages,
            "memory": settings.decode_memory,
            "seconds": settings.decode_timeout,
            "about": about,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "lanpost.app.fax_worker"),
            env={**os.environ, "PYTHONPATH": import_path()},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(settings.decode_timeout):
                answered, said = await process.communicate(json.dumps(order).encode())
        except TimeoutError:
            raise InvalidFax(f"to read it takes more than {settings.decode_timeout:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        status = process.returncode or 0
        if -status in _FELL:
            raise InvalidFax(f"nothing here can read it ({signal.Signals(-status).name})")
        if status:
            words = said.decode("utf-8", "replace").strip()[-MAX_WORDS:] or f"status {status}"
            raise StoreError(f"the fax could not be looked at: {words}")
        answer = json.loads(answered)
        if refused := answer.get("refused"):
            raise InvalidFax(refused)
        return Found(answer["pages"], [(name, value) for name, value in answer["headers"]])
