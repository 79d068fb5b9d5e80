"""A spooled mail's content as a Sender reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from lanpost.errors import ContentAborted, StoreError

READ_IN_LOOP = 1024 * 1024  # octets; the spool has read contents up to this whole before it gives them out
CHUNKS_AT_ONCE = 4  # of 64 KiB, read by one trip to a thread


class SpooledContent:
    """Satisfies the port ContentReader over what `Spool.content` gave."""

    def __init__(self, chunks: Iterator[bytes], size: int) -> None:
        self._chunks = chunks
        self._size = size

    @property
    def size_octets(self) -> int | None:
        return self._size

    async def read(self) -> bytes:
        """The next octets. ContentAborted: they are damaged on disk, the endpoint must not get the mail's end."""
        try:
            if self._size <= READ_IN_LOOP:
                return next(self._chunks, b"")
            return b"".join(await asyncio.to_thread(lambda: list(islice(self._chunks, CHUNKS_AT_ONCE))))
        except StoreError as error:
            raise ContentAborted(str(error)) from None
