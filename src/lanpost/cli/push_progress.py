"""How a push to several machines is shown: a line for each with a bar, or plain lines where nobody looks on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

BAR = 24  # characters
REDRAWN_EVERY = 0.1  # seconds


@dataclass(slots=True)
class _Row:
    """One machine."""

    host: str
    text: str = "connecting"
    share: float | None = None  # of the file, that is there


class Progress:
    """On a terminal a line for each of `hosts`, drawn again in place; otherwise one a line as it happens."""

    def __init__(self, hosts: Sequence[str], stream: TextIO) -> None:
        self._rows = {host: _Row(host) for host in hosts}
        self._width = max(map(len, hosts))
        self._stream = stream
        # What has scrolled out of sight cannot be drawn again.
        self._draws = stream.isatty() and len(hosts) < shutil.get_terminal_size().lines
        self._drawn = 0  # lines
        self._last = 0.0

    def row(self, host: str) -> HostProgress:
        """The watcher of one machine."""
        return HostProgress(self, self._rows[host])

    def draw(self, *, now: bool = False) -> None:
        """Draw all lines again, if it is time or has to be `now`."""
        if not self._draws or (not now and time.monotonic() - self._last < REDRAWN_EVERY):
            return
        self._last = time.monotonic()
        columns = shutil.get_terminal_size().columns - 1
        lines = "".join(f"\x1b[2K{self._line(row)[:columns]}\n" for row in self._rows.values())
        self._stream.write((f"\x1b[{self._drawn}A" if self._drawn else "") + lines)
        self._stream.flush()
        self._drawn = len(self._rows)

    def tell(self, row: _Row) -> None:
        """Something happened to one machine."""
        if self._draws:
            self.draw(now=True)
        else:
            print(self._line(row), file=self._stream, flush=True)

    def _line(self, row: _Row) -> str:
        bar = ""
        if row.share is not None and row.share < 1.0 and self._draws:
            full = round(BAR * row.share)
            bar = f"[{'#' * full}{'-' * (BAR - full)}] {row.share:4.0%}  "
        return f"{row.host.ljust(self._width)}  {bar}{row.text}"


class HostProgress:
    """What is told of one machine: satisfies `Watcher` of app/pushing.py."""

    def __init__(self, progress: Progress, row: _Row) -> None:
        self._progress = progress
        self._row = row

    def sent(self, octets: int, total: int) -> None:
        """So much of the file is there."""
        is_first = self._row.share is None
        if self._row.share == 1.0:
            return
        self._row.share = octets / total if total else 1.0
        self._row.text = f"{octets / 1e6:.1f} of {total / 1e6:.1f} MB"
        if octets >= total:
            self._row.text = f"{total / 1e6:.1f} MB there" if total else "the file is there"
        if is_first or octets >= total:
            self._progress.tell(self._row)
        else:
            self._progress.draw()

    def said(self, line: str) -> None:
        """A line of the installation's; its last word, "done", is said better by `ended`."""
        if line and line != "done":
            self._row.text = line
            self._progress.tell(self._row)

    def ended(self, text: str) -> None:
        """It is done."""
        self._row.text = text
        self._progress.tell(self._row)

    def failed(self) -> None:
        """It is not; why is said elsewhere, where there is room for it."""
        self._row.text = "failed"
        self._row.share = None
        self._progress.draw(now=True)
