"""`lanpost demo` as `make run` starts it: it shows everything, and leaves nothing behind however it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PATIENCE = 60.0  # seconds that an end may take


class Demonstration:
    """One run, in a session of its own, with a folder of its own for what it makes. Its stdin is closed."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.seen = ""
        self.process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "lanpost", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A configuration of the user's own is not what is shown.
            env={**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(folder), "LANPOST_CONFIG": "/none.toml"},
        )

    def read_until(self, words: str) -> str:
        """The line that holds `words`."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.seen += line
            if words in line:
                return line
        pytest.fail(f"ended with status {self.process.wait()} before {words!r}:\n{self.seen}")

    def end(self) -> int:
        """Its status; fails where anything is left."""
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.seen += rest
        assert list(self.folder.iterdir()) == []
        assert self.processes() == []
        return self.process.returncode

    def processes(self) -> list[str]:
        """The command lines of all that still runs in its session."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = status.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    found.append(status.with_name("cmdline").read_text().replace("\0", " "))
            except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
                continue
        return found

    def clean(self) -> None:
        """Whatever failed: nothing of it outlives the test."""
        if self.process.poll() is None or self.processes():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as cleaning:
        yield cleaning


def started(stack: ExitStack, folder: Path, *arguments: str) -> Demonstration:
    folder.mkdir()
    demonstration = Demonstration(folder, *arguments)
    stack.callback(demonstration.clean)
    return demonstration


def test_it_stays_up_until_ctrl_c_and_another_beside_it_takes_other_ports(tmp_path: Path, stack: ExitStack) -> None:
    first = started(stack, tmp_path / "first")
    ports_of_first = first.read_until("a mail server").partition("(")[2]
    first.read_until("It stays up")
    second = started(stack, tmp_path / "second", "--once")
    assert second.read_until("a mail server").partition("(")[2] != ports_of_first
    second.read_until("Every step worked.")
    assert second.end() == 0

    # As a terminal does it: all processes in the foreground are told.
    os.killpg(first.process.pid, signal.SIGINT)

    assert first.end() == 0
    assert "Traceback" not in first.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_by_a_signal_amid_the_steps_it_leaves_nothing_and_says_so_by_its_status(
    tmp_path: Path, stack: ExitStack, number: signal.Signals
) -> None:
    demonstration = started(stack, tmp_path / "demo")
    demonstration.read_until("fax1 has registered itself")

    demonstration.process.send_signal(number)

    assert demonstration.end() == 128 + number
    assert "Traceback" not in demonstration.seen
