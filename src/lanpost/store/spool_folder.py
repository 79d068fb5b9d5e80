"""The spool's folder: its lock, its segments, what is found in them at opening, and how space is given back.

A segment in which nothing is needed any more is removed; one in which little is, is rewritten first: what it still
holds goes to the newest segment, is synced there, and only then is the old file unlinked. Needed are the mails, the
newest state of a mail kept elsewhere, and the removal of a mail of which an older segment still holds a copy.

Used by one thread at a time, the spool's writer. Raises StoreBusy, StoreError at opening, OSError later.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from lanpost.errors import StoreBusy, StoreError
from lanpost.model.queued import QueuedMail
from lanpost.store import queued_json
from lanpost.store.files import store_error, sync_folder, write_new_file
from lanpost.store.journal import SEGMENT_HEAD, Damage, Kind, Record, encode
from lanpost.store.segment import Segment

log = logging.getLogger(__name__)

SEGMENT_OCTETS = 32 * 1024 * 1024  # past it a new segment is begun
REWRITE_SHARE = 4  # a segment is rewritten once no more than 1/4 of it is needed
NOTE_OCTETS = 400  # of a state or a removal, about
REWRITE_BATCH = 4 * 1024 * 1024  # octets written at once when rewriting
TIDY_SECONDS = 1.0  # between two looks for space to give back


@dataclass(slots=True)
class MailPlace:
    """A mail and where its content is."""

    mail: QueuedMail
    segment: Segment
    offset: int
    length: int
    crc: int
    state_in: Segment | None = None  # where its newest state is, if not beside the content
    copies: set[int] = field(default_factory=set)  # other segments that hold the mail


class SpoolFolder:
    """Opening it locks the folder and reads all of it into `index`, mails by id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index: dict[str, MailPlace] = {}
        self._segments: dict[int, Segment] = {}  # by number: the older ones, never appended to again
        self._suspect: set[int] = set()  # segments with damage in them, to be rewritten
        self._stuck: set[int] = set()  # segments that cannot be rewritten, since they cannot be read whole
        self._current: Segment | None = None
        self._newest = 0  # number of the newest segment there ever was
        self._tidied = float("-inf")
        self.untidy = True  # something went since the last look for space to give back
        try:
            if not path.is_dir():
                path.mkdir(mode=0o700, parents=True)
                sync_folder(path.parent)
            self._lock_file = _lock(path / "lock")
        except OSError as error:
            raise store_error(error, f"the spool {path} cannot be opened") from None
        try:
            self._read_all()
        except BaseException as error:
            os.close(self._lock_file)
            if isinstance(error, OSError):
                raise store_error(error, f"the spool {path} cannot be read") from None
            raise

    def writable(self) -> Segment:
        """The segment to append to."""
        if self._current is not None and self._current.end >= SEGMENT_OCTETS:
            self._current.sync()
            self._seal()
        if self._current is None:
            self._newest += 1  # numbers are not used again: removals name segments by them
            self._current = Segment.create(self.path, self._newest)
        return self._current

    def sync(self) -> None:
        if self._current is not None:
            self._current.sync()

    def abandon(self) -> None:
        """A write failed half way: the rest of it is cut off, and the segment is not written to again."""
        if self._current is None:
            return
        try:
            self._current.truncate(self._current.end)
        except OSError as error:
            log.error(
                "spool: %s; what failed may be delivered in spite of it",
                store_error(error, str(self._current.path)),
            )
        self._seal()

    def account(self, mail_id: str, place: MailPlace, segment: Segment, *, removed: bool) -> None:
        """A state or a removal of a mail has been written to `segment`."""
        self.untidy = True
        if place.state_in is not None:
            place.state_in.states.discard(mail_id)
            place.state_in = None
        if removed:
            place.segment.drop(mail_id)
            elsewhere = self._copies(place) - {segment.number}
            if elsewhere:
                segment.removals[mail_id] = elsewhere
        elif place.segment is not segment:
            place.state_in = segment
            segment.states.add(mail_id)

    def holds_copy(self, place: MailPlace) -> bool:
        """Some file still holds that mail, so that its removal must be written down."""
        return bool(self._copies(place))

    def tidy(self, lock: threading.Lock) -> None:
        """Give back space, at most one rewriting at a time. `lock` guards `index`. Never raises for the disk."""
        now = time.monotonic()
        if not self.untidy or now - self._tidied < TIDY_SECONDS:
            return
        self._tidied = now
        self.untidy = False
        try:
            worst: tuple[int, Segment] | None = None
            for segment in list(self._segments.values()):
                needed = self._needed(segment)
                if not needed:
                    self._remove(segment)
                elif segment.number in self._stuck:
                    continue
                elif segment.number in self._suspect or needed * REWRITE_SHARE <= max(segment.end, SEGMENT_OCTETS):
                    worst = min(worst or (needed, segment), (needed, segment), key=lambda found: found[0])
            if worst is not None and (len(self._segments) > 1 or self._suspect):
                self.untidy = True
                self._rewrite(worst[1], lock)
        except OSError as error:
            log.error("spool: %s", store_error(error, f"space in {self.path} cannot be given back"))
            self.abandon()

    def drop_if_empty(self) -> None:
        """At closing: an empty spool leaves no files."""
        if not self.index:
            try:
                self._seal()
                for segment in list(self._segments.values()):
                    self._remove(segment)
            except OSError as error:
                log.error("spool: %s", store_error(error, str(self.path)))

    def close(self) -> None:
        """Forget all and unlock. Files stay open only for those who still read. Idempotent."""
        self.index.clear()
        self._segments.clear()
        self._current = None
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    # Space.

    def _copies(self, place: MailPlace) -> set[int]:
        present = self._segments.keys() | ({self._current.number} if self._current else set())
        return ({place.segment.number} | place.copies) & present

    def _seal(self) -> None:
        if self._current is not None:
            self._segments[self._current.number] = self._current
            self._current = None

    def _needed(self, segment: Segment) -> int:
        if segment.removals:
            present = self._segments.keys() - {segment.number}
            segment.removals = {
                mail_id: left for mail_id, where in segment.removals.items() if (left := where & present)
            }
        return segment.live_octets + len(segment.live) + NOTE_OCTETS * (len(segment.states) + len(segment.removals))

    def _remove(self, segment: Segment) -> None:
        segment.remove()
        self._segments.pop(segment.number, None)
        self._suspect.discard(segment.number)

    def _rewrite(self, segment: Segment, lock: threading.Lock) -> None:
        """Copy what is needed to the newest segment, sync, then unlink."""
        moved: list[tuple[MailPlace, MailPlace]] = []
        done = False
        try:
            done = self._copy(segment, moved, lock)
        finally:
            if not done:
                for place, copy in moved:  # dead copies: a removal must outlive them
                    place.copies.add(copy.segment.number)
        if not done:
            log.error("spool: %s holds a mail that is damaged on disk; the file is kept", segment.path)
            self._stuck.add(segment.number)
            return
        try:
            self._remove(segment)
        except OSError:
            for place, _ in moved:
                place.copies.add(segment.number)
            raise

    def _copy(self, segment: Segment, moved: list[tuple[MailPlace, MailPlace]], lock: threading.Lock) -> bool:
        """All that is needed of a segment is in newer ones, durably. False: a content is damaged."""
        target = self.writable()
        buffers: list[bytes] = []
        length = 0
        for mail_id in list(segment.live):
            with lock:
                place = self.index.get(mail_id)
            if place is None or place.segment is not segment:
                continue  # removed this moment; its removal is about to be written
            content = segment.read(place.offset, place.length)
            if zlib.crc32(content) != place.crc:
                return False
            head, size, crc = encode(target.mark, Kind.MAIL, queued_json.dump_mail(place.mail), (content,))
            moved.append((place, MailPlace(place.mail, target, target.end + length + len(head), size, crc)))
            buffers += (head, content)
            length += len(head) + size
            if length >= REWRITE_BATCH:
                target = self._flush(target, buffers, length)
                buffers, length = [], 0
        states = [place for mail_id in list(segment.states) if (place := self.index.get(mail_id))]
        removals = dict(segment.removals)
        for kind, meta in (
            *((Kind.UPDATE, queued_json.dump_state(place.mail)) for place in states),
            *((Kind.REMOVE, queued_json.dump_id(mail_id)) for mail_id in removals),
        ):
            head, _, _ = encode(target.mark, kind, meta)
            buffers.append(head)
            length += len(head)
        target.append(buffers, length)
        target.accept(length)
        target.sync()
        with lock:
            for place, copy in moved:
                if place.mail.id in self.index:
                    _move(place, copy)
                else:
                    place.copies.add(copy.segment.number)
        for place in states:
            self.account(place.mail.id, place, target, removed=False)
        for mail_id, where in removals.items():
            if elsewhere := where - {target.number}:
                target.removals[mail_id] = elsewhere
        return True

    def _flush(self, target: Segment, buffers: list[bytes], length: int) -> Segment:
        target.append(buffers, length)
        target.accept(length)
        return self.writable()

    # Opening.

    def _read_all(self) -> None:
        paths = sorted(self.path.glob("*.seg"))
        for path in paths:
            segment = Segment.open(path)
            if segment is None:
                self._bad_head(path)
                continue
            self._segments[segment.number] = segment
            self._newest = segment.number
            for found in segment.scan(whole=path == paths[-1]):
                if isinstance(found, Damage):
                    self._note_damage(segment, found)
                else:
                    self._replay(segment, found)

    def _bad_head(self, path: Path) -> None:
        if path.stat().st_size <= SEGMENT_HEAD:
            path.unlink()  # a crash came before its first mail
            return
        aside = self._aside()
        path.rename(aside / path.name)
        sync_folder(aside)
        sync_folder(self.path)
        log.error("spool: %s has no readable head; set aside as %s", path, aside / path.name)

    def _note_damage(self, segment: Segment, damage: Damage) -> None:
        if damage.torn:
            log.info("spool: %s: %d octets of an unfinished write cut", segment.path, damage.end - damage.start)
            segment.truncate(damage.start)
            return
        kept = self._aside() / f"{segment.path.stem}-{damage.start}.part"
        if not kept.exists():
            data = segment.read(damage.start, damage.end - damage.start)
            write_new_file(kept, (data,))
            sync_folder(kept.parent)
        self._suspect.add(segment.number)
        log.error(
            "spool: %s is damaged from octet %d to %d; a copy of that part is in %s; mail may be lost",
            segment.path,
            damage.start,
            damage.end,
            kept,
        )

    def _aside(self) -> Path:
        aside = self.path / "damaged"
        aside.mkdir(mode=0o700, exist_ok=True)
        return aside

    def _replay(self, segment: Segment, record: Record) -> None:
        try:
            if record.kind == Kind.MAIL:
                mail = queued_json.load_mail(record.meta)
                place = MailPlace(mail, segment, record.content_offset, record.content_length, record.content_crc)
                former = self.index.pop(mail.id, None)
                if former is not None:
                    place.copies = former.copies | {former.segment.number}
                    former.segment.drop(mail.id)
                    if former.state_in is not None:
                        former.state_in.states.discard(mail.id)
                self.index[mail.id] = place
                segment.keep(mail.id, record.content_length)
                return
            mail_id = queued_json.load_id(record.meta)
            known = self.index.get(mail_id)
            if known is None:
                return
            if record.kind == Kind.UPDATE:
                known.mail = queued_json.load_state(known.mail, record.meta)
            elif record.kind == Kind.REMOVE:
                del self.index[mail_id]
            self.account(mail_id, known, segment, removed=record.kind == Kind.REMOVE)
        except ValueError as error:
            # Sound on disk and yet not to be understood: our own bug, or a version between.
            raise StoreError(f"{segment.path}: a record cannot be understood: {error}") from error


def _move(place: MailPlace, copy: MailPlace) -> None:
    place.segment.drop(place.mail.id)
    place.segment, place.offset, place.length, place.crc = copy.segment, copy.offset, copy.length, copy.crc
    place.segment.keep(place.mail.id, place.length)
    if place.state_in is not None:
        place.state_in.states.discard(place.mail.id)
        place.state_in = None


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise StoreBusy(f"the spool {path.parent} is in use by process {owner}") from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle
