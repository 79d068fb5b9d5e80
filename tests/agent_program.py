"""`lanpost agent` as a terminal runs it: a process on this machine that registers from an address of its own.

agent = AgentProgram(tmp_path, token, program.new_endpoint())
with agent.running():
    agent.wait_until(lambda: "registered: fax1@office.lan" in agent.log(), "the registration")
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.program import PATIENCE, SOURCE, as_toml, environment_of, run_lanpost


class AgentProgram:
    """Enrolled with that token; mail is taken at `at`. `settings` are further ones of its table `agent`.

    `source`: of another version.
    """

    def __init__(
        self,
        folder: Path,
        token: str,
        at: tuple[str, int],
        settings: Mapping[str, Any] | None = None,
        source: Path = SOURCE,
    ) -> None:
        self.folder = folder
        self.file = folder / "agent.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = dict(settings or {})
        self._environment = environment_of(source)
        self._log = folder / "agent.log"
        folder.mkdir(parents=True, exist_ok=True)
        self.says_it_is_at(at)
        self.lanpost("agent", "enrol", token)

    def says_it_is_at(self, at: tuple[str, int]) -> None:
        """Its configuration; what a change of the network is to a terminal, a change of this is here."""
        own = {"port": at[1], "address": at[0], "goodbye": True, **self._settings}
        self.file.write_text(as_toml({"data": "agent", "agent": own}))
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the end of the block; then it must end well."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lanpost", "agent", "--config", self.file],
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        try:
            yield
        finally:
            self.process.terminate()
            status = self.process.wait(PATIENCE)
            self.process = None
        assert status == 0, self.log()

    def lanpost(self, *words: str) -> str:
        """A command at the terminal."""
        return run_lanpost(self._environment, self.file, *words)

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def wait_until(self, done: Callable[[], bool], what: str) -> None:
        """Return when `done()` is true; fail the test, with the log, when it does not come to be."""
        give_up = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > give_up:
                pytest.fail(f"waited {PATIENCE:.0f} s in vain for {what}:\n{self.log()[-8000:]}")
            time.sleep(0.02)
