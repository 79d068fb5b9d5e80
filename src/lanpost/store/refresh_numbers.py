"""The numbers of refresh requests: each greater than every one before, stored before it is used.

`refresh.json` in the data folder. A new epoch begins with each opening, at the later of the stored one's successor
and the seconds since 1970: a data folder restored from an old backup does not use a number again, as long as the
clock is about right; `raise_above` is for when it is not. Raises StoreError.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from lanpost.errors import StoreError
from lanpost.store.files import replace_file, store_error

FILE_NAME = "refresh.json"
VERSION = 1  # of what is in it
Number = tuple[int, int]  # epoch, sequence


class RefreshNumbers:
    """For any thread; one process at a time uses a data folder."""

    def __init__(self, data: Path, now_seconds: int) -> None:
        """Reads what is stored, writes nothing."""
        self._path = data / FILE_NAME
        self._lock = threading.Lock()
        self._epoch = max(_stored(self._path) + 1, now_seconds)
        self._sequence = 0

    @property
    def last(self) -> Number:
        """The number given out last; sequence 0: none of this epoch."""
        return self._epoch, self._sequence

    def next(self, count: int = 1) -> Number:
        """The first of `count` consecutive numbers of one epoch, durable on return: nobody gets them again."""
        with self._lock:
            first = self._sequence + 1
            self._store(self._epoch, self._sequence + count)
            self._sequence += count
            return self._epoch, first

    def raise_above(self, number: Number) -> bool:
        """A terminal has proved to know a greater number than we do: go on above it. False: it is none."""
        with self._lock:
            if number <= (self._epoch, self._sequence):
                return False
            self._store(number[0] + 1, 0)
            self._epoch, self._sequence = number[0] + 1, 0
            return True

    def _store(self, epoch: int, sequence: int) -> None:
        document = {"version": VERSION, "epoch": epoch, "sequence": sequence}
        try:
            replace_file(self._path, json.dumps(document).encode() + b"\n")
        except OSError as error:
            raise store_error(error, str(self._path)) from None


def _stored(path: Path) -> int:
    try:
        document = json.loads(path.read_text("utf-8"))
        epoch = document["epoch"]
        if document["version"] > VERSION:
            raise StoreError(
                f"{path}: written by a newer lanpost (version {document['version']}, known here: {VERSION}); "
                "install that, or restore the backup from before the upgrade"
            )
        if document["version"] != VERSION or type(epoch) is not int or epoch < 0:
            raise ValueError  # noqa: TRY301
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise store_error(error, str(path)) from None
    except (ValueError, LookupError, TypeError):
        raise StoreError(
            f"{path}: cannot be read; remove it: terminals that know greater numbers will tell them"
        ) from None
    return epoch
