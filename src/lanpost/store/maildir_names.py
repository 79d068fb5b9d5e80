"""File names in a Maildir: made, read, put in order.

A name is `UNIQUE[,S=octets on disk,W=octets with CRLF][:2,FLAGS]`, as Dovecot and Courier write it. Programs may
rename a mail to change its folder and flags; UNIQUE stays.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

MAX_FOLDER_NAME = 200  # octets; file systems take 255
_TIME = re.compile(r"(\d{1,15})\.(?:M(\d{1,6}))?(?:P\d+)?(?:Q(\d{1,15}))?")
_SIZES = re.compile(r",([SW])=(\d{1,15})(?=[,:]|\Z)")
_UNIQUE_ID = re.compile(r"[\x21-\x7e]{1,70}\Z")  # RFC 1939 §7

_counter = itertools.count()
_token = secrets.token_hex(2)  # two containers on one disk may have equal host names and process ids


@dataclass(frozen=True, slots=True)
class StoredMail:
    """One mail as its file's name tells it."""

    unique: str
    path: str  # relative to the Maildir: "new/NAME" or "cur/NAME"
    order: tuple[int, int, int, str]  # by arrival, as far as the name tells
    size: int | None  # octets on disk
    wire_size: int | None  # octets with CRLF line ends

    @property
    def unique_id(self) -> str:
        """Its UIDL (RFC 1939 §7)."""
        if _UNIQUE_ID.match(self.unique):
            return self.unique
        return hashlib.sha256(os.fsencode(self.unique)).hexdigest()[:40]


@lru_cache(maxsize=8192)
def folder_name(key: str) -> str:
    """A mailbox's folder for an address key: readable, safe on any file system, one for each key."""
    name = quote(key, safe="@+=_-").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > MAX_FOLDER_NAME:
        name = f"{name[: MAX_FOLDER_NAME - 70]}%_{hashlib.sha256(key.encode()).hexdigest()}"
    return name


def fresh_unique(now: float) -> str:
    """A unique part that no other delivery has, in any process on any host; at most 70 visible characters."""
    host = re.sub(r"[^A-Za-z0-9.-]", "_", os.uname().nodename)[:24]
    seconds, micros = divmod(int(now * 1_000_000), 1_000_000)
    return f"{seconds}.M{micros:06d}P{os.getpid()}Q{next(_counter) % 10**9}R{_token}.{host}"


def parse_name(folder: str, name: str) -> StoredMail:
    """Whatever a file in `new` or `cur` is called, it is a mail."""
    base = name.partition(":")[0]
    unique = base.partition(",")[0]
    sizes = dict(_SIZES.findall(base))
    found = _TIME.match(unique)
    seconds, micros, number = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    size, wire = sizes.get("S"), sizes.get("W")
    return StoredMail(
        unique=unique,
        path=f"{folder}/{name}",
        order=(seconds, micros, number, unique),
        size=int(size) if size else None,
        wire_size=int(wire) if wire else None,
    )


def stored_mails(maildir: Path) -> Iterator[StoredMail]:
    """Every mail in a Maildir, in no order. Raises OSError."""
    for folder in ("new", "cur"):
        with os.scandir(maildir / folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    yield parse_name(folder, entry.name)
