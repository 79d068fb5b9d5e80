"""Further processes that cannot be started: said at the start, survived later."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from lanpost.app import workers as app_workers
from lanpost.app.workers import Workers
from lanpost.errors import LanpostError

# A stand-in for the program: tells its figures, and lives as long as the first process does.
STAND_IN = "#!/bin/sh\necho '{\"received\": 1}'\nread line\n"


class Log:
    """Takes the place of the log: what was said can be waited for."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str] = asyncio.Queue()

    def error(self, event: str, **_about: object) -> None:
        self.said.put_nowait(event)


class Watched(Workers):
    """Each report can be waited for."""

    def __init__(self) -> None:
        super().__init__(2, None)
        self.reports: asyncio.Queue[bytes] = asyncio.Queue()

    def _note(self, number: int, line: bytes) -> bool:
        noted = super()._note(number, line)
        if noted:
            self.reports.put_nowait(line)
        return noted


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "python"
    file.write_text(STAND_IN)
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))
    monkeypatch.setattr(app_workers, "RESTART_SECONDS", 0.01)
    return file


@pytest.fixture
def useless(program: Path) -> Path:
    program.chmod(0o644)
    return program


def hide(program: Path) -> Path:
    return program.rename(program.with_name("hidden"))


def bring_back(hidden: Path, program: Path) -> None:
    hidden.rename(program)


async def test_a_program_that_cannot_be_run_is_an_error_with_its_name(useless: Path) -> None:
    with pytest.raises(LanpostError, match=f"{useless}: Permission denied"):
        await Workers(2, None).start()


async def test_a_process_that_cannot_be_started_again_is_tried_until_it_can(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    monkeypatch.setattr(app_workers, "log", log)
    workers = Watched()
    await workers.start()
    await workers.reports.get()
    hidden = hide(program)
    duty = asyncio.create_task(workers.run())
    workers.signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await log.said.get() == "worker ended and is started again"
        assert await log.said.get() == "worker not started"
        bring_back(hidden, program)
        await workers.reports.get()
        assert workers.total("received") == 2  # of the one that has ended, and of the new one
        await workers.stop()
        await duty


async def test_a_process_that_hangs_is_killed_and_started_again(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    monkeypatch.setattr(app_workers, "log", log)
    monkeypatch.setattr(app_workers, "SILENT_SECONDS", 0.05)  # the stand-in reports once and no more
    workers = Watched()
    await workers.start()
    await workers.reports.get()
    duty = asyncio.create_task(workers.run())
    async with asyncio.timeout(10):
        assert await log.said.get() == "worker hangs and is killed"
        assert await log.said.get() == "worker ended and is started again"
        await workers.reports.get()
        await workers.stop()
        await duty
