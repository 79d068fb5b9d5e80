"""The spool's file format: a segment is a head and then records, each of which proves itself.

Pure but for reading from a file descriptor. Nothing here changes a file; nothing here knows what a record means.
Raises StoreError for a segment of a newer format.

A segment's head holds a random mark that opens each of its records: so, behind damage, the next true record is
found again, and a mail's content cannot pass for one.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from lanpost.errors import StoreError

FORMAT = 1
MARK_OCTETS = 8
MAX_META = 16 * 1024 * 1024  # octets; thousands of recipients take 300 octets each
READ_AHEAD = 256 * 1024  # octets
UNFILLED = 512  # octets of zeros at the end: a block that was allotted and never written

_MAGIC = b"lanpost spool\r\n\0"
_SEGMENT = struct.Struct(">16sI8sI")  # magic, format, mark, CRC-32 of the former
# Mark, format, kind, octets of meta and of content, CRC-32 of content, of meta, of all the former. The head proves
# itself, so that its lengths can tell a write cut short from damage.
_RECORD = struct.Struct(">8sBBxxIIIII")
_CRC = struct.Struct(">I")

SEGMENT_HEAD = _SEGMENT.size
RECORD_HEAD = _RECORD.size


class Kind(IntEnum):
    MAIL = 1  # meta: envelope and state; content
    UPDATE = 2  # meta: state
    REMOVE = 3  # meta: id


@dataclass(frozen=True, slots=True)
class Record:
    """One sound record and where it is. Offsets and lengths are octets in the file."""

    kind: int
    meta: bytes
    content_offset: int
    content_length: int
    content_crc: int

    @property
    def end(self) -> int:
        return self.content_offset + self.content_length


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch that holds no sound record. `torn`: merely a write that a crash cut short, at the file's end."""

    start: int
    end: int
    torn: bool


def segment_head(mark: bytes) -> bytes:
    """The first octets of a new segment."""
    head = _SEGMENT.pack(_MAGIC, FORMAT, mark, 0)[: -_CRC.size]
    return head + _CRC.pack(zlib.crc32(head))


def read_mark(head: bytes, name: str) -> bytes | None:
    """The mark in a segment's head; None where the head is torn or damaged.

    StoreError: a later version of lanpost wrote it.
    """
    if len(head) < SEGMENT_HEAD:
        return None
    magic, form, mark, crc = _SEGMENT.unpack(head[:SEGMENT_HEAD])
    if magic != _MAGIC or crc != zlib.crc32(head[: SEGMENT_HEAD - _CRC.size]):
        return None
    if form > FORMAT:
        raise StoreError(
            f"{name}: written by a newer lanpost (spool format {form}, this one knows {FORMAT}); "
            "start the newer version again and let it empty its queue first"
        )
    return bytes(mark)


def encode(mark: bytes, kind: Kind, meta: bytes, content: Sequence[bytes] = ()) -> tuple[bytes, int, int]:
    """Head and meta of a record, then the length and CRC-32 of the content that must follow it."""
    length = crc = 0
    for chunk in content:
        length += len(chunk)
        crc = zlib.crc32(chunk, crc)
    head = _RECORD.pack(mark, FORMAT, kind, len(meta), length, crc, zlib.crc32(meta), 0)[: -_CRC.size]
    return head + _CRC.pack(zlib.crc32(head)) + meta, length, crc


def scan(fd: int, size: int, mark: bytes, *, whole: bool) -> Iterator[Record | Damage]:
    """Every record of a segment in order, and the damage between them.

    `whole`: prove the contents too; else heads and metas alone, and contents when they are read.
    """
    offset = SEGMENT_HEAD
    while offset < size:
        record = _read(fd, offset, size, mark, whole=whole)
        if record is not None:
            yield record
            offset = record.end
            continue
        found = _find(fd, offset + 1, size, mark)
        yield Damage(offset, found, torn=found == size and _is_torn(fd, offset, size, mark))
        offset = found


def content_crc(fd: int, offset: int, length: int) -> int:
    """CRC-32 of a stretch of a file."""
    crc, end = 0, offset + length
    while offset < end and (data := os.pread(fd, min(READ_AHEAD, end - offset), offset)):
        crc = zlib.crc32(data, crc)
        offset += len(data)
    return crc


def _read(fd: int, offset: int, size: int, mark: bytes, *, whole: bool) -> Record | None:
    head = os.pread(fd, RECORD_HEAD, offset)
    if not _is_sound_head(head, mark):
        return None
    _, form, kind, meta_length, length, crc, meta_crc, _ = _RECORD.unpack(head)
    start = offset + RECORD_HEAD + meta_length
    if form > FORMAT or meta_length > MAX_META or start + length > size:
        return None
    meta = os.pread(fd, meta_length, offset + RECORD_HEAD)
    if zlib.crc32(meta) != meta_crc:
        return None
    if whole and content_crc(fd, start, length) != crc:
        return None
    return Record(kind, meta, start, length, crc)


def _find(fd: int, offset: int, size: int, mark: bytes) -> int:
    """Where the next sound record begins, proven to its last octet; `size` where there is none."""
    while offset < size:
        data = os.pread(fd, READ_AHEAD, offset)
        place = data.find(mark)
        if place < 0:
            offset += max(1, len(data) - MARK_OCTETS + 1)
        elif _read(fd, offset + place, size, mark, whole=True) is not None:
            return offset + place
        else:
            offset += place + 1
    return size


def _is_torn(fd: int, offset: int, size: int, mark: bytes) -> bool:
    """The last write did not get as far as it should have: too short, or its last blocks were never filled."""
    head = os.pread(fd, RECORD_HEAD, offset)
    if len(head) < RECORD_HEAD:
        return head.startswith(mark[: len(head)])
    if _is_sound_head(head, mark):
        meta_length, length = _RECORD.unpack(head)[3:5]
        if offset + RECORD_HEAD + meta_length + length > size:
            return True
    return not any(os.pread(fd, UNFILLED, max(offset, size - UNFILLED)))


def _is_sound_head(head: bytes, mark: bytes) -> bool:
    return (
        len(head) == RECORD_HEAD
        and head.startswith(mark)
        and _CRC.pack(zlib.crc32(head[: -_CRC.size])) == head[-_CRC.size :]
    )
