"""Times as a directory writes them: GeneralizedTime (RFC 4517 §3.3.13)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from lanpost.errors import InvalidValue

_FORM = re.compile(
    r"(\d{4})(\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)?)?(?:[.,](\d{1,12}))?(?:Z|([+-])(\d\d)(\d\d)?)\Z", re.ASCII
)


# As every directory writes them; what is not so, or no time at all, goes the long way.
_PLAIN = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)([0-5]\d)(?:\.(\d{1,6}))?Z\Z", re.ASCII)


def time_text(time: datetime) -> str:
    """In UTC, exact: `20261123201500.5Z` has as many decimals as it needs."""
    time = time.astimezone(UTC)
    fraction = f".{time.microsecond:06}".rstrip("0") if time.microsecond else ""
    return f"{time.year:04}{time:%m%d%H%M%S}{fraction}Z"  # strftime does not pad the year


def time_of(text: str) -> datetime:
    """Aware, in UTC, cut to microseconds. Raises InvalidValue."""
    if (plain := _PLAIN.match(text)) and (time := _plain(*plain.groups("0"))):
        return time
    found = _FORM.match(text)
    if not found:
        raise _not_a_time(text)
    year, month, day, hour, minute, second, fraction, sign, zone_hour, zone_minute = found.groups()
    # A fraction belongs to the smallest unit that is there.
    unit = timedelta(seconds=1) if second else timedelta(minutes=1) if minute else timedelta(hours=1)
    offset = timedelta(hours=int(zone_hour or 0), minutes=int(zone_minute or 0))
    leap = second == "60"  # allowed; Python has no such second
    try:
        whole = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute or 0),
            59 if leap else int(second or 0),
            tzinfo=timezone(-offset if sign == "-" else offset),
        )
        part = unit * int(fraction) // 10 ** len(fraction) if fraction else timedelta()
        return (whole + part).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _not_a_time(text) from None


def _plain(year: str, month: str, day: str, hour: str, minute: str, second: str, fraction: str) -> datetime | None:
    try:
        return datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), int(fraction.ljust(6, "0")), UTC
        )
    except ValueError:
        return None


def _not_a_time(text: str) -> InvalidValue:
    return InvalidValue(f"{text[:40]!r} is no time; write it as 20261123201500Z")
