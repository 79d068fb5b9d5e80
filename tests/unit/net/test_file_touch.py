"""A file that is touched is told of at once, and by looking where the system has no inotify."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lanpost.net import file_touch
from lanpost.net.file_touch import FileTouch


class Told:
    """Counts what a FileTouch tells, and waits for it."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()

    async def again(self) -> None:
        async with asyncio.timeout(5):
            await self._event.wait()
        self._event.clear()


@pytest.fixture(params=["inotify", "looking"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "looking":
        monkeypatch.setattr(file_touch, "_open_inotify", lambda _: -1)
    return str(request.param)


async def test_it_tells_of_a_file_that_is_made_written_touched_and_replaced(tmp_path: Path, way: str) -> None:
    file, told = tmp_path / "hook", Told()
    touch = FileTouch(file, told, seconds=0.001)
    for command in (
        f"echo look >|{file}",
        f"echo look >|{file}",
        f"touch {file}",
        f"echo look > {file}.new && mv {file}.new {file}",
        f"rm {file} && echo look > {file}",
    ):
        shell = await asyncio.create_subprocess_exec("sh", "-c", command)
        assert await shell.wait() == 0
        await told.again()
    touch.close()
    touch.close()


async def test_neighbours_of_the_file_are_nothing_to_it(tmp_path: Path, way: str) -> None:
    told = Told()
    touch = FileTouch(tmp_path / "hook", told, seconds=0.001)
    (tmp_path / "hook.old").write_text("x")
    (tmp_path / "hoo").write_text("x")
    (tmp_path / "hook").write_text("x")
    await told.again()
    if way == "inotify":
        assert told.count == 1
    touch.close()


async def test_a_folder_that_goes_and_comes_back_does_not_end_it(tmp_path: Path) -> None:
    folder, told = tmp_path / "run", Told()
    folder.mkdir()
    touch = FileTouch(folder / "hook", told, seconds=0.001)
    folder.rmdir()
    folder.mkdir()
    (folder / "hook").write_text("x")
    await told.again()
    touch.close()


async def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    told = Told()
    touch = FileTouch(tmp_path / "later" / "hook", told, seconds=0.001)
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "hook").write_text("x")
    await told.again()
    touch.close()


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = open_descriptors()
    for folder in (tmp_path, tmp_path / "missing"):
        FileTouch(folder / "hook", lambda: None).close()
    assert open_descriptors() == before
