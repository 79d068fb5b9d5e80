"""Times as people write them: `20ms`, `5s`, `10m`, `24h`, `5d`, `2w`. Standard library only."""

from __future__ import annotations

import re

from lanpost.errors import InvalidValue

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(ms|s|m|h|d|w)\Z")


def parse_duration(text: object) -> float:
    """Seconds, more than 0. Raises InvalidValue, whose text is the remedy."""
    found = _DURATION.match(text) if isinstance(text, str) else None
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0
    if seconds <= 0:
        raise InvalidValue('write a time with its unit, as "20ms", "5s", "10m", "24h" or "5d"')
    return seconds
