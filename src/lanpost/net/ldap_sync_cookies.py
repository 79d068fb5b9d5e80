"""The cookies of content synchronisation (RFC 4533 §2.1.2) that our directory gives: `GENERATION:NUMBER,csn=CSN`.

Generation and number name the last change that the consumer has seen, the CSN says up to when he has been told of
bindings that expired. A CSN also is what OpenLDAP's consumer keeps of a cookie, and nothing else: without one he
never drops what is gone, and what comes with one that is not greater than the greatest he has he takes for old and
passes over. So it grows with every cookie, past all that he has shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta

_OURS = re.compile(rb"([0-9a-z]+):([0-9]{1,18}),csn=([0-9]{14}\.[0-9]{6})Z#000000#000#000000\Z")
_CSN = re.compile(rb"([0-9]{14}\.[0-9]{6})Z#[0-9a-f]{6}#[0-9a-f]{3}#[0-9a-f]{6}")
_STEP = timedelta(microseconds=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a consumer has been told: every change up to that number, every lapse up to that time."""

    number: int
    lapses: datetime


def seen_by(cookie: bytes | None, generation: str, now: datetime) -> Seen | None:
    """By the cookie that he shows; None: it is not whole, not of this chart, or not of the past."""
    found = _OURS.match(cookie or b"")
    if found is None or found[1].decode() != generation:
        return None
    time = _time_of(found[3])
    return Seen(int(found[2]), time) if _NEVER < time <= now else None


class Cookies:
    """Those of one search, each greater than the one before. `shown`: the cookie that the consumer came with."""

    def __init__(self, generation: str, shown: bytes | None, lapses: datetime) -> None:
        self.lapses = lapses  # up to then every lapse has been told
        self._generation = generation
        self._last = max(map(_time_of, _CSN.findall(shown or b"")), default=_NEVER)

    def next(self, number: int) -> bytes:
        """For one who has seen every change up to that one."""
        self._last = time = max(self.lapses.astimezone(UTC), self._last + _STEP)
        return f"{self._generation}:{number},csn={time.year:04}{time:%m%d%H%M%S.%f}Z#000000#000#000000".encode()


def _time_of(csn: bytes) -> datetime:
    try:
        time = datetime.strptime(f"{csn.decode()}+0000", "%Y%m%d%H%M%S.%f%z")
    except ValueError:
        return _NEVER
    return time if time.year < MAXYEAR else _NEVER  # nothing comes after that
