"""A mail's content while it is received: in memory while small, in an unsynced file past that; read as it grows.

The tee of cut-through: any number of readers follow at their own speed, and what they all read is still whole
for the spool when an endpoint fails. A slow endpoint costs memory no more than the limits below.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import overload

from lanpost.errors import ContentAborted

MEMORY_PER_MAIL = 256 * 1024  # octets kept in memory of one mail
MEMORY_IN_ALL = 128 * 1024 * 1024  # octets of all mails being received; past it every further chunk is spilled
HEAD_IN_MEMORY = 16 * 1024  # octets of each mail that are kept in memory all the same
READ_SIZE = 64 * 1024  # octets a reader takes from the file at once
UNWRITTEN = 512 * 1024  # octets on their way to the file before the client must wait


class ContentFolder:
    """Where content that outgrows memory goes; what a killed process left there is worthless and removed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            leftover.unlink(missing_ok=True)
        self.folder = folder
        self.in_memory = 0  # octets, of all contents
        self.disk = ThreadPoolExecutor(max_workers=4, thread_name_prefix="content")

    def close(self) -> None:
        self.disk.shutdown(wait=True)


class GrowingContent:
    """One writer, any number of readers, one event loop. Chunks are dot-stuffed CRLF lines."""

    __slots__ = (
        "_chunks",
        "_closed",
        "_complete",
        "_error",
        "_file",
        "_folder",
        "_memory",
        "_pending",
        "_room",
        "_unwritten",
        "_waiters",
        "_writing",
        "_written",
        "size",
    )

    def __init__(self, folder: ContentFolder) -> None:
        self.size = 0  # octets so far
        self._folder = folder
        self._chunks: list[bytes] = []
        self._memory = 0  # octets in _chunks
        self._file: int | None = None
        self._written = 0  # octets in the file that can be read
        self._unwritten = 0
        self._pending: list[bytes] = []
        self._writing = False
        self._room: Future[None] | None = None  # done when the client may go on
        self._closed = False
        self._complete = False
        self._error = ""
        self._waiters: list[asyncio.Future[None]] = []

    def write(self, chunk: bytes) -> Future[None] | None:
        """More of it. A Future: write no more until it is done. A full disk is told by `finish`."""
        self.size += len(chunk)
        folder = self._folder
        if self._file is None:
            if self._memory + len(chunk) <= MEMORY_PER_MAIL and folder.in_memory < MEMORY_IN_ALL:
                self._remember(chunk)
                return None
            if self._memory < HEAD_IN_MEMORY:
                # However full memory is: the header is looked at before anybody is promised anything.
                first, chunk = chunk[:HEAD_IN_MEMORY], chunk[HEAD_IN_MEMORY:]
                self._remember(first)
                if not chunk:
                    return None
            descriptor, name = tempfile.mkstemp(dir=folder.folder)
            Path(name).unlink()  # nothing is left behind, however this process ends
            self._file = descriptor
        self._unwritten += len(chunk)
        self._pending.append(chunk)
        if not self._writing:
            self._write_pending()
        if self._unwritten > UNWRITTEN and self._room is None:
            self._room = Future()
        return self._room

    def _remember(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._memory += len(chunk)
        self._folder.in_memory += len(chunk)
        if self._waiters:
            self._wake()

    def _write_pending(self) -> None:
        """One write at a time, of all that waits: what is written is always a whole beginning."""
        assert self._file is not None
        data, self._pending, self._writing = b"".join(self._pending), [], True
        loop = asyncio.get_running_loop()
        done = self._folder.disk.submit(_write_at, self._file, data, self._written)
        done.add_done_callback(lambda future: loop.call_soon_threadsafe(self._note_written, len(data), future))

    def _note_written(self, octets: int, future: Future[None]) -> None:
        self._writing = False
        self._unwritten -= octets
        self._written += octets
        error = future.exception()
        if error is not None and not self._error:
            self._error = f"the content cannot be kept: {error}"
        if self._closed:
            self._close_file()
        elif self._pending:
            self._write_pending()
        if self._room is not None and self._unwritten <= UNWRITTEN // 2:
            self._room.set_result(None)
            self._room = None
        self._wake()

    async def finish(self) -> None:
        """The mail is complete and may be passed on whole. Raises ContentAborted if the disk failed it."""
        while self._unwritten:
            await self._changed()
        if self._error:
            raise ContentAborted(self._error)
        self._complete = True
        self._wake()

    def abort(self, why: str) -> None:
        """It will never be complete; every reader is told."""
        self._error = self._error or why
        self._wake()

    def close(self) -> None:
        """Give memory and file back. Idempotent. A reader that is not done is told, and never sees an end."""
        self.abort("nobody may read this mail any more")
        self._folder.in_memory -= self._memory
        self._memory = 0
        self._chunks = []
        self._closed = True
        if not self._writing:
            self._close_file()

    def __del__(self) -> None:
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def head(self) -> bytes:
        """The beginning, as far as it is in memory, with at least the header section where that is there."""
        head = b""
        for chunk in self._chunks:
            head += chunk
            if b"\r\n\r\n" in head:
                break
        return head

    def chunks(self) -> Sequence[bytes]:
        """All of a finished mail, to be read in any thread, also after `close`."""
        if self._file is None:
            return self._chunks
        return _Spilled(self._chunks, os.dup(self._file), self._written)

    def reader(self) -> Reader:
        return Reader(self)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def _read(self, reader: Reader) -> bytes:
        while True:
            if self._error:
                raise ContentAborted(self._error)
            if reader.index < len(self._chunks):
                ready = self._chunks[reader.index :] if reader.index else self._chunks
                reader.index += len(ready)
                return ready[0] if len(ready) == 1 else b"".join(ready)
            if self._file is not None and reader.offset < self._written:
                size = min(READ_SIZE, self._written - reader.offset)
                loop = asyncio.get_running_loop()
                data = await loop.run_in_executor(self._folder.disk, os.pread, self._file, size, reader.offset)
                reader.offset += len(data)
                return data
            if self._complete:
                return b""
            await self._changed()


def _write_at(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, offset)
        offset += count
        view = view[count:]


class Reader:
    """A place in a growing content: the ContentReader that a Sender is given."""

    __slots__ = ("_content", "index", "offset", "started")

    def __init__(self, content: GrowingContent) -> None:
        self._content = content
        self.index = 0  # of the next chunk in memory
        self.offset = 0  # of the next octet in the file
        self.started = False  # the endpoint has asked for content

    @property
    def size_octets(self) -> int | None:
        return self._content.size if self._content._complete else None  # noqa: SLF001

    async def read(self) -> bytes:
        self.started = True
        return await self._content._read(self)  # noqa: SLF001


class _Spilled(Sequence[bytes]):
    """Chunks in memory followed by those in a file, read when asked for. It owns its descriptor."""

    def __init__(self, chunks: list[bytes], file: int, size: int) -> None:
        self._chunks = chunks
        self._file = file
        self._size = size

    def __del__(self) -> None:
        os.close(self._file)

    def __len__(self) -> int:
        return len(self._chunks) + -(-self._size // READ_SIZE)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if index < len(self._chunks):
            return self._chunks[index]
        offset = (index - len(self._chunks)) * READ_SIZE
        if index < 0 or offset >= self._size:
            raise IndexError(index)
        return os.pread(self._file, min(READ_SIZE, self._size - offset), offset)

    def __iter__(self) -> Iterator[bytes]:
        return chain(self._chunks, (self[number] for number in range(len(self._chunks), len(self))))
