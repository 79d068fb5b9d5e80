"""Work on one page goes on while the next is made; order, failures and leaving early are as without."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lanpost.content.fax.ahead import ahead


def test_results_come_in_order() -> None:
    assert list(ahead(lambda number: number * number, range(50))) == [number * number for number in range(50)]
    assert list(ahead(str, [])) == []


def test_the_next_item_is_made_while_one_is_worked_on_and_no_more() -> None:
    made = threading.Semaphore(0)
    under_way = 0

    def work(number: int) -> int:
        nonlocal under_way
        if number < 9:
            assert made.acquire(timeout=30), "the next item was not made meanwhile"
        under_way -= 1
        return number

    def items() -> Iterator[int]:
        nonlocal under_way
        for number in range(10):
            under_way += 1
            assert under_way <= 2
            if number:
                made.release()
            yield number

    assert list(ahead(work, items())) == list(range(10))


def test_what_the_work_raises_comes_in_its_place() -> None:
    results = ahead(lambda number: 6 // (2 - number), range(5))
    assert [next(results), next(results)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_the_items_raise_is_raised_once_the_thread_is_idle() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError

    before = threading.active_count()
    with pytest.raises(LookupError):
        list(ahead(str, items()))
    assert threading.active_count() == before


def test_who_leaves_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = ahead(str, range(10))
    assert next(results) == "0"
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
