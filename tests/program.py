"""`lanpost serve` as its users run it: a process of its own, in a folder of its own, at ports of its own.

    with Program(tmp_path) as program:
        program.bind("fax1", program.new_endpoint())
        with program.smtp() as client: client.sendmail(...)

The fixture `program` (tests/conftest.py) is one such for all tests of a session: take addresses of your own from
`new_name`, and do not stop it.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from bench.processes import free_port

SOURCE = Path(__file__).resolve().parent.parent / "src"
HOST = "127.0.0.1"
DOMAIN = "office.lan"
PATIENCE = 30.0  # seconds that a start, a stop or a command may take
# No test waits for what only a person would wait for.
SETTINGS: dict[str, Any] = {
    "domain": DOMAIN,
    "hostname": f"post.{DOMAIN}",
    "data": "data",
    "workers": 1,  # more are started in the tests that are about them
    "delivery": {"first_retry": "200ms", "last_retry": "1s", "cut_through_timeout": "2s"},
    "log": {"format": "json"},
}
TOGETHER = """
import contextlib, io, json, sys
from lanpost.cli.main import main
printed = []
for words in json.load(sys.stdin):
    printed.append(io.StringIO())
    with contextlib.redirect_stdout(printed[-1]):
        try:
            main(words)
        except SystemExit as stop:
            if stop.code:
                sys.exit(f"{words}: status {stop.code}")
print(json.dumps([each.getvalue() for each in printed]))
"""
SERVICES = ("smtp", "submission", "pop3", "http")


class Program:
    """One server. `settings` are laid over SETTINGS, table by table, and over the ports that it chooses.

    `within`: a command that becomes the one behind it, in surroundings of its own. `source`: of another version.
    """

    command = "serve"

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        within: Sequence[str | Path] = (),
        source: Path = SOURCE,
    ) -> None:
        self.folder = folder
        self.within = within
        self.ports = {name: free_port() for name in SERVICES}
        self.endpoint_port = free_port()  # of every terminal; their addresses differ
        self.file = folder / "lanpost.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._log = folder / "server.log"
        self.use(source)
        listen = {name: {"listen": [f"{HOST}:{port}"]} for name, port in self.ports.items()}
        endpoints = {"delivery": {"endpoint_ports": [self.endpoint_port]}}
        self.settings: dict[str, Any] = {}
        for layer in (SETTINGS, listen, endpoints, settings or {}):
            lay_over(self.settings, layer)
        folder.mkdir(parents=True, exist_ok=True)
        self.write_settings()

    def use(self, source: Path) -> None:
        """Start and ask from now on with the version whose package lies there."""
        self._environment = environment_of(source)

    def write_settings(self) -> None:
        """The configuration file, from `settings` as they are now."""
        self.file.write_text(as_toml(self.settings), "utf-8")

    # -- its life

    def start(self) -> None:
        """Return when it takes mail. Fails the test with the log when it does not come up."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.within, sys.executable, "-m", "lanpost", self.command, "--config", self.file],
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        process = self.process
        self.wait_until(lambda: process.poll() is not None or self._greets(), "a greeting")
        if process.poll() is not None:
            pytest.fail(f"lanpost {self.command} ended with status {process.returncode}:\n{self.log()}")

    def stop(self) -> int:
        """SIGTERM, and wait for the end. Its exit status; fails the test where it does not end in time."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"lanpost {self.command} did not end {PATIENCE:.0f} s after SIGTERM:\n{self.log()}")

    def kill(self) -> None:
        """SIGKILL, as a power cut would: nothing is finished."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def reload(self) -> None:
        """SIGHUP, after writing the settings."""
        assert self.process
        self.write_settings()
        self.process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    # -- what one does with it

    def lanpost(
        self,
        *words: str,
        given: str = "",
        status: int = 0,
        config: Path | None = None,
        printed: bool = False,
    ) -> str:
        """A command on this server's configuration; `given` is its standard input. What it printed.

        Where it fails, what it complained of; `printed`: what it printed then, too. `config`: another's, as a
        terminal's on this machine.
        """
        return run_lanpost(
            self._environment, config or self.file, *words, given=given, status=status, printed=printed
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """In which a program of ours runs from this source, with no configuration but what it is given."""
        return self._environment

    def lanpost_json(self, *words: str) -> Any:
        """A command with `--json`, read."""
        return json.loads(self.lanpost(*words, "--json"))

    def lanpost_together(self, *commands: Sequence[str]) -> list[str]:
        """Commands one after the other in one process, which is started once. What each printed."""
        given = json.dumps([[*words, "--config", str(self.file)] for words in commands])
        done = subprocess.run(
            [sys.executable, "-c", TOGETHER],
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env=self._environment,
        )
        assert done.returncode == 0, f"{commands}: {done.stderr}"
        printed: list[str] = json.loads(done.stdout)
        return printed

    def new_name(self, kind: str = "fax") -> str:
        """A terminal's or person's name that nobody else in this session has."""
        return f"{kind}{next(self._numbers)}"

    def new_endpoint(self) -> tuple[str, int]:
        """A loopback address of its own for a terminal (Linux has all of 127.0.0.0/8), at the port allowed."""
        number = next(self._numbers)
        return f"127.20.{number // 250}.{number % 250 + 1}", self.endpoint_port

    def bind(self, address: str, endpoint: tuple[str, int]) -> None:
        """What an administrator does by hand: this address is there."""
        self.lanpost("chart", "set", address, f"{endpoint[0]}:{endpoint[1]}")

    def add_user(self, address: str, password: str) -> None:
        """A person with a mailbox."""
        self.lanpost("user", "add", address, "--password-stdin", given=password + "\n")

    def smtp(self, service: str = "smtp") -> smtplib.SMTP:
        """A client, connected; `with` sends QUIT."""
        return smtplib.SMTP(HOST, self.ports[service], timeout=PATIENCE)

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def wait_until(self, done: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Return when `done()` is true; fail the test, with the log, when it does not come to be."""
        give_up = time.monotonic() + seconds
        while not done():
            if time.monotonic() > give_up:
                pytest.fail(f"waited {seconds:.0f} s in vain for {what}:\n{self.log()[-8000:]}")
            time.sleep(0.02)

    def _greets(self) -> bool:
        try:
            with smtplib.SMTP(HOST, self.ports["smtp"], timeout=PATIENCE):
                return True
        except OSError:
            return False


def environment_of(source: Path) -> dict[str, str]:
    """In which the version runs whose package lies there, with no configuration but what it is given."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    environment.pop("LANPOST_CONFIG", None)
    return environment


def run_lanpost(
    environment: Mapping[str, str],
    config: Path,
    *words: str,
    given: str = "",
    status: int = 0,
    printed: bool = False,
) -> str:
    """A command to its end, which must be with that status. What it printed, or (not `printed`) its complaint."""
    done = subprocess.run(
        [sys.executable, "-m", "lanpost", *words, "--config", str(config)],
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )
    command = " ".join(words)
    assert done.returncode == status, f"lanpost {command}: status {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout if status == 0 or printed else done.stderr


def lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Put tables over tables, key by key."""
    for key, value in above.items():
        if isinstance(value, Mapping):
            lay_over(below.setdefault(key, {}), value)
        else:
            below[key] = value


def as_toml(settings: Mapping[str, Any]) -> str:
    """Tables one deep, as lanpost.toml has them; TOML writes plain values as JSON does."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, Mapping)]
    for name, table in settings.items():
        if isinstance(table, Mapping):
            plain += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(plain) + "\n"
