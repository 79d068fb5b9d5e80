"""Who has his turn when, by a clock that the work itself moves on."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from lanpost.net.turns import Turns


class Work:
    """Takes so many seconds each time, and remembers the round of the event loop in which each was done."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.turns = Turns(0.01, lambda: self.now)
        self.seconds = seconds
        self.round = 0
        self.done: list[tuple[int, str]] = []

    def do(self, name: str) -> None:
        self.now += self.seconds
        self.done.append((self.round, name))

    async def finish(self) -> None:
        while len(self.turns):
            await asyncio.sleep(0)
            self.round += 1


async def test_others_have_their_turn_after_each_helping() -> None:
    work = Work(0.004)
    for number in range(7):
        work.turns.take(partial(work.do, str(number)))
    await work.finish()
    assert [name for _, name in work.done] == list("0123456")
    assert [number for number, _ in work.done] == [0, 0, 0, 1, 1, 1, 2]


async def test_what_is_begun_is_gone_on_with_before_anything_new() -> None:
    work = Work(0.02)
    for name in ("new 1", "new 2"):
        work.turns.take(partial(work.do, name), begins=True)
    await asyncio.sleep(0)
    work.turns.take(partial(work.do, "old"))
    await work.finish()
    assert [name for _, name in work.done] == ["new 1", "old", "new 2"]


async def test_work_that_fails_keeps_nobody_from_his_turn(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(0.001)

    def fail() -> None:
        raise ValueError("of the test")

    work.turns.take(fail)
    work.turns.take(partial(work.do, "next"))
    await work.finish()
    assert [name for _, name in work.done] == ["next"]
    assert "of the test" in caplog.text


async def test_nothing_is_done_at_once() -> None:
    work = Work(0.001)
    work.turns.take(partial(work.do, "it"))
    assert work.done == []
    await work.finish()
    assert work.done
