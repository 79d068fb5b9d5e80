"""Services without systemd: which process is one, and when it has ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lanpost.app.plain_service import PlainService
from lanpost.model.role import Role

WAITING = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
# Starts one that waits, and never asks how it ended.
CARELESS = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {WAITING!r}, "lanpost", "serve"])
sys.stdin.read()
"""


@contextmanager
def running(program: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def service(folder: Path, pid: int) -> PlainService:
    """As an earlier start has left it."""
    (folder / "lanpost-serve.pid").write_text(f"{pid}\n")
    return PlainService(Role.SERVE, folder, folder)


@pytest.mark.parametrize(
    ("words", "is_it"),
    [
        (("/opt/lanpost/current/bin/lanpost", "serve"), True),
        (("lanpost.pyz", "serve"), True),
        (("/opt/lanpost/current/bin/lanpost", "service", "start", "serve"), False),
        (("/opt/lanpost/current/bin/lanpost", "directory"), False),
        (("postfix", "serve"), False),
    ],
)
def test_a_number_that_has_become_another_processs_is_not_taken_for_the_service(
    tmp_path: Path, words: tuple[str, ...], is_it: bool
) -> None:
    with running(WAITING, *words) as process:
        assert process.stdout
        process.stdout.readline()
        assert service(tmp_path, process.pid).pid() == (process.pid if is_it else None)


def test_stop_returns_where_nobody_asks_how_the_service_ended(tmp_path: Path) -> None:
    """As in a container whose first process is no init."""
    with running(CARELESS) as parent:
        assert parent.stdout
        one = service(tmp_path, int(parent.stdout.readline()))
        assert one.pid()
        one.stop()
        assert one.pid() is None
        assert not (tmp_path / "lanpost-serve.pid").exists()
