"""Two things at once: what is done with one page, and the making of the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

One = TypeVar("One")
Other = TypeVar("Other")


def ahead(work: Callable[[One], Other], items: Iterable[One]) -> Iterator[Other]:
    """`work` on each item, in their order, by a thread of its own while the next item is asked for.

    Never are there more than two items: that which is worked on, and the next. What either raises is raised here,
    once the thread is idle. It pays where both leave the interpreter to others meanwhile, as drawing does.
    """
    with ThreadPoolExecutor(1, "pages") as thread:
        under_way: Future[Other] | None = None
        for item in items:
            if under_way is None:
                under_way = _begun(thread, work, item)
            else:
                result = under_way.result()
                under_way = _begun(thread, work, item)
                yield result
        if under_way is not None:
            yield under_way.result()


def _begun(thread: ThreadPoolExecutor, work: Callable[[One], Other], item: One) -> Future[Other]:
    try:
        return thread.submit(work, item)
    except RuntimeError as error:  # no thread can be had, which within a limit of memory is what lacks
        raise MemoryError(str(error)) from error
