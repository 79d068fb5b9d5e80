"""A fax machine for tests of whole programs: `lanpost fax receive`, enrolled, at an address of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.enrolled import Enrolled
from tests.program import Program, as_toml


class FaxMachine:
    """A terminal's folder, and the program when it runs."""

    def __init__(self, program: Program, folder: Path, fax: Mapping[str, Any] | None = None) -> None:
        """`fax`: settings of that table."""
        self.program = program
        self.terminal = Enrolled.new(program)
        self.at = program.new_endpoint()
        self.folder = folder
        self.log = folder / "fax.log"
        self.config = folder / "lanpost.toml"
        host, port = self.at
        agent = {"port": port, "listen": [f"{host}:{port}"], "address": host}
        settings: dict[str, Any] = {"data": "data", "hostname": "fax", "agent": agent, "log": {"format": "json"}}
        if fax:
            settings["fax"] = fax
        self.config.write_text(as_toml(settings))
        program.lanpost("agent", "enrol", self.terminal.token, config=self.config)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Until it takes faxes and is registered; it is killed at the end if it runs still."""
        self.log.write_text("")
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "lanpost", "fax", "receive", "--config", self.config],
                stdout=log,
                stderr=log,
                env=self.program.environment,
            )
        try:
            self.logged("registered: ")
            yield process
        finally:
            process.kill()
            process.wait()

    def logged(self, words: str) -> None:
        self.program.wait_until(lambda: words in self.log.read_text(), f"{words!r} in the log of the fax machine")

    def faxes(self) -> list[Path]:
        return sorted((self.folder / "data" / "faxes").glob("2*"))
