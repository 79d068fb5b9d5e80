"""Tells when a file is written or touched: by inotify where the system has it, by looking at it elsewhere.

Standard library only. Nothing is read: who may write the file decides who is heard, and all he can say is "now".
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between looks at the file where there is no inotify
RECEIVE_OCTETS = 65536

_EVENT = struct.Struct("=iIII")  # watch, mask, cookie, octets of the name behind (struct inotify_event)
_CLOSE_WRITE, _MOVED_TO, _OVERFLOW, _IGNORED, _ONLY_FOLDER = 0x8, 0x80, 0x4000, 0x8000, 0x01000000


class FileTouch:
    """Calls `notify` each time that `file` is written, made or replaced, until closed. It need not be there yet.

    Its folder is watched, not the file: that needs no right to read it, and the file may come and go.
    """

    def __init__(self, file: Path, notify: Callable[[], object], seconds: float = LOOK_SECONDS) -> None:
        self._file = file
        self._name = os.fsencode(file.name)
        self._notify = notify
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._handle = _open_inotify(file.parent)
        if self._handle >= 0:
            self._loop.add_reader(self._handle, self._readable)
        else:
            self._begin_looking()

    def close(self) -> None:
        """Stop telling. Idempotent."""
        if self._handle >= 0:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1
        if self._timer:
            self._timer.cancel()

    def _readable(self) -> None:
        try:
            data = os.read(self._handle, RECEIVE_OCTETS)
        except BlockingIOError:
            return
        touched = gone = False
        at = 0
        while at < len(data):
            _, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            touched |= bool(mask & _OVERFLOW) or data[at : at + length].rstrip(b"\0") == self._name
            gone |= bool(mask & _IGNORED)
            at += length
        if gone:  # the folder was removed, or its file system unmounted: who knows what was missed
            self.close()
            self._begin_looking()
        if touched or gone:
            self._notify()

    def _begin_looking(self) -> None:
        self._seen = _state_of(self._file)
        self._timer = self._loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        self._timer = self._loop.call_later(self._seconds, self._look)
        seen = _state_of(self._file)
        if seen != self._seen:
            self._seen = seen
            if seen:
                self._notify()


def _state_of(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _open_inotify(folder: Path) -> int:
    """An inotify descriptor that hears of the files written in a folder; -1 where that is not to be had."""
    import ctypes  # not on every small device

    handle = -1
    try:
        library = ctypes.CDLL(None, use_errno=True)
        handle = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _CLOSE_WRITE | _MOVED_TO | _ONLY_FOLDER
        if handle >= 0 and library.inotify_add_watch(handle, os.fsencode(folder), mask) >= 0:
            return int(handle)
        reason = os.strerror(ctypes.get_errno())
    except (OSError, AttributeError) as error:  # another system, or a C library without it
        reason = str(error)
    if handle >= 0:
        os.close(handle)
    log.debug("no inotify for %s (%s): looking every %g s", folder, reason, LOOK_SECONDS)
    return -1
