"""The `lanpost.pyz` that this server hands out: the one that it came in itself, with its digests and our signature.

Read once, and again where the file is another one; in a thread, for it has fifty megabytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from lanpost.app.certificates import FOLDER as KEYS_FOLDER
from lanpost.content.sshsig import allowed_signer, armored, to_be_signed
from lanpost.net.program_download import Offer
from lanpost.store.archive_file import publisher_signature, publisher_signature_of
from lanpost.store.files import store_error
from lanpost.store.program_file import own_archive
from lanpost.store.program_key import ProgramKey

PRINCIPAL = "lanpost"  # as whom the server signs: `ssh-keygen -Y verify -I lanpost`
CHUNK = 2**20  # octets read at a time


@dataclass(frozen=True, slots=True)
class _State:
    """What tells one file, and one publisher's signature, from another at the same place."""

    file: tuple[int, int, int]
    signature: tuple[int, int, int] | None


class ProgramOffer:
    """`offer` answers what is handed out now."""

    def __init__(self, data: Path) -> None:
        """`data`: the server's data folder, whose key signs."""
        self._keys = data / KEYS_FOLDER
        self._reading = asyncio.Lock()
        self._known: tuple[_State, Offer] | None = None

    async def offer(self) -> Offer | None:
        """None where this program did not come in a file. Raises StoreError."""
        async with self._reading:  # of many who ask at once, one reads
            return await asyncio.to_thread(self._current)

    def _current(self) -> Offer | None:
        file = own_archive()
        if file is None:
            return None
        try:
            state = _state_of(file)
            if self._known is None or self._known[0] != state:
                self._known = state, read_offer(file, self._keys)
        except FileNotFoundError:
            return None  # removed since we were started
        except OSError as error:
            raise store_error(error, str(file)) from None
        return self._known[1]


def read_offer(file: Path, keys: Path) -> Offer:
    """Any lanpost.pyz, signed by the server's key in the folder `keys`. Raises StoreError, OSError."""
    sha256, sha512 = hashlib.sha256(), hashlib.sha512()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            sha256.update(chunk)
            sha512.update(chunk)
    key = ProgramKey.open(keys)
    signature = armored(key.public, key.sign(to_be_signed(sha512.digest())))
    return Offer(
        file, sha256.hexdigest(), signature, allowed_signer(key.public, PRINCIPAL), publisher_signature(file)
    )


def _state_of(file: Path) -> _State:
    try:
        signature = _identity(publisher_signature_of(file).stat())
    except FileNotFoundError:
        signature = None
    return _State(_identity(file.stat()), signature)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
