"""Fax numbers as they are compared (RFC 3191 §2)."""

from __future__ import annotations

import re

_SEPARATORS = str.maketrans("", "", " .-()")  # visual separators mean nothing
_NUMBER = re.compile(r"\+?[0-9*#]{1,40}\Z")


def without_separators(text: str) -> str:
    return text.translate(_SEPARATORS)


def normal(text: str) -> str | None:
    """A number as it is compared: no separators, nothing behind `$` (RFC 4517 §3.3.11). None: it is none."""
    number = without_separators(text.partition("$")[0].strip())
    return number if _NUMBER.match(number) and any(char.isdigit() for char in number) else None
