"""The spool: mail accepted and not yet handed on, in an append-only journal with group commit.

One thread writes: it takes all that waits, writes it with one system call, makes it durable with one fdatasync
and then tells everybody whose mail was in it. Contents are never kept in memory; what is known of each mail is.

Promise: once the Future of a `put` is done, the mail is there after any crash. A removal or an update may be
forgotten by a power failure within SYNC_DELAY: then a mail is sent twice, never lost.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from lanpost.errors import StoreError, StoreFull
from lanpost.model.queued import QueuedMail
from lanpost.store import queued_json
from lanpost.store.files import store_error
from lanpost.store.journal import Kind, encode
from lanpost.store.segment import Segment
from lanpost.store.spool_folder import TIDY_SECONDS, MailPlace, SpoolFolder

log = logging.getLogger(__name__)

MAX_BATCH = 16 * 1024 * 1024  # octets in memory, and the last mail beside, written before the next sync
MAX_WAITING = 256 * 1024 * 1024  # octets of content waiting for the disk; past it, StoreFull
RETRY_DELAY = 5.0  # seconds until updates and removals that could not be written are tried again
SYNC_DELAY = 0.2  # seconds until updates and removals are synced where no mail shares the sync before
ROOM_AGE = 1.0  # seconds for which a look at the free space is good
CHUNK = 64 * 1024  # octets of content read back at a time
CACHED = 128 * 1024  # octets of a content that is taken from the system's memory at once, without a thread
READ_WHOLE = 1024 * 1024  # octets; longer contents are read while they are used


@dataclass(slots=True)
class _Put:
    mail: QueuedMail
    content: Sequence[bytes]
    done: Future[None] = field(default_factory=Future)


@dataclass(slots=True)
class _Note:
    """A change to a mail that is not in the journal yet."""

    place: MailPlace
    removed: bool


class JournalSpool:
    """Satisfies the port Spool; may be used from any thread.

    Opening it raises StoreBusy where another process has the folder, StoreError where it cannot be used.
    `free_disk`: octets that new mail must leave free on the disk.
    """

    def __init__(self, folder: Path, *, free_disk: int = 0) -> None:
        self.commits = 0  # syncs that made mail durable, for the benchmark and metrics
        self._free_disk = free_disk
        self._folder = SpoolFolder(folder)
        self._index = self._folder.index
        self._lock = threading.Lock()  # over _index, _notes, _waiting
        self._notes: dict[str, _Note] = {}  # one a mail at most
        self._waiting = 0  # octets
        self._unsynced = False
        self._failing = False
        self._closed = False
        self._free = 0
        self._free_seen = float("-inf")
        self._jobs: SimpleQueue[_Put | None] = SimpleQueue()  # None: look at _notes and _closed
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="spool-read")
        self._writer = threading.Thread(target=self._run, name="spool-write", daemon=True)
        self._writer.start()

    # Any thread.

    def put(self, mail: QueuedMail, content: Sequence[bytes]) -> Future[None]:
        """See the port. The chunks must not change before the Future is done."""
        job = _Put(mail, content)
        with self._lock:
            if self._closed:
                job.done.set_exception(StoreError("the spool is closed"))
            elif self._waiting + mail.size > MAX_WAITING and self._waiting:
                job.done.set_exception(StoreFull("the disk cannot keep up with the mail that comes in"))
            else:
                self._waiting += mail.size
                self._jobs.put(job)
        return job.done

    def update(self, mail: QueuedMail) -> None:
        """See the port. An unknown mail is ignored."""
        with self._lock:
            place = self._index.get(mail.id)
            if place is not None:
                place.mail = mail
                self._note(mail.id, _Note(place, removed=False))

    def remove(self, mail_id: str) -> None:
        """See the port."""
        with self._lock:
            place = self._index.pop(mail_id, None)
            if place is not None:
                self._note(mail_id, _Note(place, removed=True))

    def _note(self, mail_id: str, note: _Note) -> None:
        if not self._notes:
            self._jobs.put(None)
        self._notes[mail_id] = note

    def get(self, mail_id: str) -> QueuedMail | None:
        """What is known of a mail now."""
        place = self._index.get(mail_id)
        return place.mail if place else None

    def mails(self) -> Iterator[QueuedMail]:
        """See the port: a list as of now, oldest first."""
        with self._lock:
            known = [place.mail for place in self._index.values()]
        return iter(sorted(known, key=lambda mail: (mail.arrived, mail.id)))

    def __len__(self) -> int:
        return len(self._index)

    def room(self) -> bool:
        """New mail may come: more than the free space kept back is left, and the disk keeps up. Microseconds."""
        return self._room_left() > 0 and self._waiting < MAX_WAITING

    def content(self, mail_id: str) -> Future[Iterator[bytes]]:
        """See the port. KeyError, raised here: no such mail. StoreError, in the Future or the iterator: damaged."""
        with self._lock:
            place = self._index[mail_id]
            segment, offset, length, crc = place.segment, place.offset, place.length, place.crc
        if length <= CACHED and (data := segment.read_cached(offset, length)) is not None:
            ready: Future[Iterator[bytes]] = Future()
            if zlib.crc32(data) == crc:
                ready.set_result(data[start : start + CHUNK] for start in range(0, length, CHUNK))
            else:
                ready.set_exception(_damaged(segment, offset))
            return ready
        return self._readers.submit(_read, segment, offset, length, crc)

    def close(self) -> None:
        """Commit what waits and let go. Idempotent."""
        with self._lock:
            self._closed = True
            self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        self._folder.close()

    # The writer's thread.

    def _run(self) -> None:
        over = False
        while not over:
            puts: list[_Put] = []
            try:
                self._take(puts)
                self._commit(puts)
            except Exception as error:  # a bug, but nobody may wait for ever because of it
                log.exception("spool: internal error")
                for job in puts:
                    if not job.done.done():
                        job.done.set_exception(StoreError(f"internal error of the spool: {error!r}"))
            with self._lock:
                self._waiting -= sum(job.mail.size for job in puts)
                over = self._closed and self._jobs.empty()
        self._sync()
        self._folder.drop_if_empty()

    def _take(self, puts: list[_Put]) -> None:
        """Add all puts that wait; none where only notes do, or the time to look after the files has come."""
        octets = 0
        try:
            job = self._jobs.get(timeout=self._patience())
            while True:
                if job is not None and job.done.set_running_or_notify_cancel():
                    puts.append(job)
                    octets += job.mail.size
                elif job is not None:
                    with self._lock:
                        self._waiting -= job.mail.size
                if octets >= MAX_BATCH:
                    break
                job = self._jobs.get_nowait()
        except Empty:
            if not puts and not self._notes:
                self._sync()
                self._folder.tidy(self._lock)

    def _patience(self) -> float | None:
        if self._failing:
            return RETRY_DELAY
        if self._unsynced:
            return SYNC_DELAY
        return TIDY_SECONDS if self._folder.untidy else None

    def _commit(self, puts: Sequence[_Put]) -> None:
        with self._lock:
            notes, self._notes = self._notes, {}
        puts = self._with_room(puts)
        if not puts and not notes:
            return
        try:
            segment, places = self._write(puts, notes)
        except OSError as error:
            self._fail(puts, notes, store_error(error, f"the spool {self._folder.path} cannot be written"))
            return
        except Exception:
            self._fail((), notes, StoreError("internal error of the spool"))
            raise
        self._failing = False
        with self._lock:
            for job, place in zip(puts, places, strict=True):
                self._index[job.mail.id] = place
        for job, place in zip(puts, places, strict=True):
            segment.keep(job.mail.id, place.length)
            job.done.set_result(None)
        for mail_id, note in notes.items():
            self._folder.account(mail_id, note.place, segment, removed=note.removed)
        self._folder.tidy(self._lock)

    def _write(self, puts: Sequence[_Put], notes: dict[str, _Note]) -> tuple[Segment, list[MailPlace]]:
        """Append puts and notes; synced where there are puts."""
        segment = self._folder.writable()
        buffers: list[bytes] = []
        places = []
        length = 0
        for job in puts:
            content = list(job.content)  # once: it may come from a file
            head, size, crc = encode(segment.mark, Kind.MAIL, queued_json.dump_mail(job.mail), content)
            places.append(MailPlace(job.mail, segment, segment.end + length + len(head), size, crc))
            buffers.append(head)
            buffers += content
            length += len(head) + size
        for mail_id, note in notes.items():
            if note.removed:
                note.place.segment.drop(mail_id)
                if not self._folder.holds_copy(note.place):
                    continue
                meta, kind = queued_json.dump_id(mail_id), Kind.REMOVE
            else:
                meta, kind = queued_json.dump_state(note.place.mail), Kind.UPDATE
            head, _, _ = encode(segment.mark, kind, meta)
            buffers.append(head)
            length += len(head)
        segment.append(buffers, length)
        if puts:
            segment.sync()
            self.commits += 1
        self._unsynced = not puts
        segment.accept(length)
        return segment, places

    def _fail(self, puts: Sequence[_Put], notes: dict[str, _Note], failure: StoreError) -> None:
        """The batch is not on disk: its puts fail, its notes wait for the next one."""
        if puts or not self._failing:
            log.error("spool: %s; %d mails refused", failure, len(puts))
        self._failing = True
        self._folder.abandon()
        with self._lock:
            self._notes = notes | self._notes
        for job in puts:
            job.done.set_exception(type(failure)(str(failure)))
        self._folder.tidy(self._lock)

    def _with_room(self, puts: Sequence[_Put]) -> Sequence[_Put]:
        """The puts that leave enough of the disk free; the others are refused."""
        if not puts:
            return puts
        left = self._room_left()
        taken = []
        for job in puts:
            left -= job.mail.size
            if left > 0:
                taken.append(job)
            else:
                job.done.set_exception(
                    StoreFull(
                        f"less than {self._free_disk} octets would be left free on the disk of {self._folder.path}"
                    )
                )
        self._free -= sum(job.mail.size for job in taken)
        return taken

    def _room_left(self) -> int:
        now = time.monotonic()
        if now - self._free_seen > ROOM_AGE:
            try:
                found = os.statvfs(self._folder.path)
                self._free = found.f_bavail * found.f_frsize
            except OSError as error:
                log.error("spool: %s", store_error(error, f"{self._folder.path} cannot be looked at"))
                self._free = 0
            self._free_seen = now
        return self._free - self._free_disk

    def _sync(self) -> None:
        if self._unsynced:
            self._unsynced = False
            try:
                self._folder.sync()
            except OSError as error:
                log.error("spool: %s", store_error(error, f"{self._folder.path} cannot be synced"))
                self._folder.abandon()


def _read(segment: Segment, offset: int, length: int, crc: int) -> Iterator[bytes]:
    chunks = _chunks(segment, offset, length, crc)
    return iter(list(chunks)) if length <= READ_WHOLE else chunks


def _chunks(segment: Segment, offset: int, length: int, crc: int) -> Iterator[bytes]:
    """The content, read as it is used; StoreError at its end where it is not what was written."""
    found, place, end = 0, offset, offset + length
    while place < end:
        try:
            data = segment.read(place, min(CHUNK, end - place))
        except OSError as error:
            raise store_error(error, f"{segment.path} cannot be read") from None
        found = zlib.crc32(data, found)
        place += len(data)
        if place == end and found != crc:
            raise _damaged(segment, offset)
        yield data


def _damaged(segment: Segment, offset: int) -> StoreError:
    return StoreError(f"{segment.path}: the mail at octet {offset} is damaged on disk")
