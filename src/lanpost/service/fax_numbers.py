"""Which terminal has a fax number: `facsimileTelephoneNumber` of the chart's entries (RFC 4519 §2.10).

No kind of chart looks up by number cheaply, and few mails need it: the whole chart is read once, kept as a table of
numbers, and read again when that has grown old. Each answer is checked by one inquiry, so a terminal that gave its
number away is never found by it. Of several terminals with one number it is the first by its address.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from lanpost.content.fax.address import FaxAddress, bare, read
from lanpost.content.report_text import xtext_decoded
from lanpost.errors import InvalidAddress
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.model.envelope import Recipient
from lanpost.model.fax_number import normal
from lanpost.service.ports import Chart, Clock

DETAIL = "facsimileTelephoneNumber"
OLD = timedelta(minutes=1)
# An unknown number may have been entered just now; but strangers who ask must not make us read all the time.
MISSED = timedelta(seconds=5)
MAX_ENTRIES = 200_000  # numbers of a larger chart's further entries are not found


class FaxNumbers:
    """Raises ChartUnavailable."""

    def __init__(self, chart: Chart, clock: Clock) -> None:
        self._chart = chart
        self._clock = clock
        self._table: dict[str, MailAddress] = {}
        self._read_at: datetime | None = None

    async def find(self, number: str) -> Entry | None:
        """The entry whose number that is, with or without its plus. None: nobody here has it."""
        wanted = _key(number)
        found = await self._entry(wanted) if self._age() < OLD else None
        if found is None and self._age() >= MISSED:
            await self._read()
            found = await self._entry(wanted)
        return found

    async def _entry(self, key: str) -> Entry | None:
        address = self._table.get(key)
        entry = await self._chart.look_up(address) if address is not None else None
        return entry if entry is not None and key in _keys(entry) else None

    async def _read(self) -> None:
        table: dict[str, MailAddress] = {}
        left = MAX_ENTRIES
        async for entry in self._chart.entries():
            for key in _keys(entry):
                table.setdefault(key, entry.address)
            left -= 1
            if not left:
                break
        self._table, self._read_at = table, self._clock()

    def _age(self) -> timedelta:
        return timedelta.max if self._read_at is None else abs(self._clock() - self._read_at)


def fax_number(address: MailAddress) -> FaxAddress | None:
    """The number that an address says; None: it says none."""
    try:
        return read(address.local) or bare(address.local)
    except InvalidAddress:
        return None


def is_same(one: str, other: str) -> bool:
    """Whether two numbers are one, a plus aside."""
    return _key(one) == _key(other)


def subaddress_of(recipient: Recipient) -> str:
    """Whom behind a number a fax is for (T33S; ITU-T T.33): of the address, else of the one that the sender gave.

    Empty: nobody in particular.
    """
    kind, _, original = xtext_decoded(recipient.orcpt).partition(";")
    given = [recipient.address]
    if kind.lower() == "rfc822":
        with suppress(InvalidAddress):
            given.append(MailAddress.parse(original))
    found = (number.subaddress for number in map(fax_number, given) if number is not None)
    return next(filter(None, found), "")


def _keys(entry: Entry) -> list[str]:
    numbers = map(normal, entry.details.values(DETAIL))
    return [_key(number) for number in numbers if number is not None]


def _key(number: str) -> str:
    return number.removeprefix("+")
