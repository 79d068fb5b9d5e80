"""What an address book says of an entry beside its mail address: a name, an organisation, telephone numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lanpost.errors import InvalidDetails

# By their names in a directory (RFC 4519, RFC 2798), which every form of the chart uses.
DETAIL_NAMES = (
    "description",
    "displayName",
    "facsimileTelephoneNumber",
    "l",
    "o",
    "ou",
    "serialNumber",
    "telephoneNumber",
)
MAX_VALUES = 64  # of one entry
MAX_VALUE = 1024  # characters

_CANONICAL = {name.lower(): name for name in DETAIL_NAMES}


@dataclass(frozen=True, slots=True)
class Details:
    """Names of DETAIL_NAMES with their values; a name may stand several times. `of` makes a valid one."""

    pairs: tuple[tuple[str, str], ...] = ()  # sorted, each once

    @staticmethod
    def of(pairs: Iterable[tuple[str, str]]) -> Details:
        """Raises InvalidDetails, whose text is the remedy."""
        found = sorted({(detail_name(name), _checked(name, value)) for name, value in pairs})
        if len(found) > MAX_VALUES:
            raise InvalidDetails(f"an entry has at most {MAX_VALUES} details, not {len(found)}")
        return Details(tuple(found)) if found else NO_DETAILS

    def values(self, name: str) -> tuple[str, ...]:
        """What stands under that canonical name."""
        return tuple(value for key, value in self.pairs if key == name)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)


NO_DETAILS = Details()


def detail_name(name: str) -> str:
    """The canonical spelling. Raises InvalidDetails where there is no such detail."""
    try:
        return _CANONICAL[name.lower()]
    except KeyError:
        raise InvalidDetails(f"{name[:40]!r} is no detail; there are {', '.join(DETAIL_NAMES)}") from None


def _checked(name: str, value: str) -> str:
    if not value.strip() or len(value) > MAX_VALUE or not value.isprintable():
        raise InvalidDetails(f"{name} is {value[:40]!r}; write 1 to {MAX_VALUE} printable characters")
    return value
