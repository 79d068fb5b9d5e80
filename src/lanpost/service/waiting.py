"""The mail that waits, in memory: which recipients are due, under way or held, and who is woken by a registration.

Pure: the spool keeps the mail itself, this only the order of things to do. Times are seconds since the epoch.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from lanpost.model.address import MailAddress
from lanpost.model.envelope import Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient, Waiting
from lanpost.model.reply import UNANSWERED
from lanpost.service.fax_numbers import fax_number

NOW = 0.0  # due at once


@dataclass(slots=True, eq=False)
class Slot:
    """One recipient of one waiting mail."""

    queued: QueuedRecipient
    due: float
    busy: bool = False  # somebody is at it: an inquiry, an attempt, or reception's own
    woken: bool = False  # its terminal registered meanwhile: whatever comes of it, try again at once


@dataclass(slots=True, eq=False)
class Entry:
    """One waiting mail."""

    mail: QueuedMail
    slots: dict[Recipient, Slot]
    scheduled: float = field(default=float("inf"))  # its earliest place in the heap


class WaitingMail:
    """All mail that waits. A mail leaves when its last recipient does, or by `remove`."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._by_address: dict[MailAddress, dict[str, Entry]] = {}
        self._terminals: dict[
            MailAddress, MailAddress
        ] = {}  # that fax numbers led to, when they were last asked for
        self._behind: dict[MailAddress, set[MailAddress]] = {}  # the other way round
        self._unasked: set[MailAddress] = set()  # fax numbers not asked for yet: any terminal may have them
        self._heap: list[tuple[float, int, Entry]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def get(self, mail_id: str) -> Entry | None:
        return self._entries.get(mail_id)

    def add(self, mail: QueuedMail, under_way: Collection[MailAddress] = (), *, fresh: bool = True) -> Entry:
        """A mail to be delivered. `under_way`: recipients somebody is at already, until `apply`.

        `fresh`: all others are due at once; else each at its time.
        """
        slots = {}
        for queued in mail.recipients:
            due = NOW if fresh else queued.next_due
            slots[queued.recipient] = Slot(queued, due, busy=queued.recipient.address in under_way)
        entry = Entry(mail, slots)
        self._entries[mail.id] = entry
        for recipient in slots:
            self._by_address.setdefault(recipient.address, {})[mail.id] = entry
            if recipient.address not in self._terminals and fax_number(recipient.address) is not None:
                self._unasked.add(recipient.address)
        self._schedule(entry)
        return entry

    def take_due(self, now: float) -> tuple[Entry, list[Slot]] | None:
        """A mail with recipients that are due, who are busy from now on. None: nothing is due."""
        while self._heap and self._heap[0][0] <= now:
            scheduled, _, entry = heapq.heappop(self._heap)
            if scheduled > entry.scheduled or self._entries.get(entry.mail.id) is not entry:
                continue  # another place in the heap stands for it, or it is gone
            entry.scheduled = float("inf")
            due = [slot for slot in entry.slots.values() if not slot.busy and slot.due <= now]
            if due and not entry.mail.frozen:
                for slot in due:
                    slot.busy = True
                self._schedule(entry)
                return entry, due
            self._schedule(entry)
        return None

    def next_due(self) -> float | None:
        """When `take_due` may next have something."""
        return self._heap[0][0] if self._heap else None

    def apply(self, entry: Entry, mail: QueuedMail, attempted: Collection[Recipient]) -> bool:
        """An attempt for some recipients is over and the mail is now this. False: nobody is left in it."""
        entry.mail = mail
        left = {queued.recipient: queued for queued in mail.recipients}
        for recipient in attempted:
            slot = entry.slots.get(recipient)
            if slot is None:
                continue
            queued = left.get(recipient)
            if queued is None:
                self._forget_slot(entry, recipient)
                continue
            slot.queued = queued
            slot.due = NOW if slot.woken else queued.next_due
            slot.busy = slot.woken = False
        if not entry.slots:
            self._entries.pop(mail.id, None)
            return False
        self._schedule(entry)
        return True

    def postpone(self, entry: Entry, recipients: Collection[Recipient], due: float) -> None:
        """Nothing came of the attempt: free them for another."""
        for recipient in recipients:
            if (slot := entry.slots.get(recipient)) is not None:
                slot.busy, slot.due = False, due
        self._schedule(entry)

    def lead(self, address: MailAddress, terminal: MailAddress | None) -> None:
        """An inquiry has led from a fax number to that terminal; None: it is no such number, or led nowhere."""
        self._unasked.discard(address)
        if self._terminals.get(address) == terminal:
            return
        self._unlead(address)
        if terminal is not None and address in self._by_address:
            self._terminals[address] = terminal
            self._behind.setdefault(terminal, set()).add(address)

    def _unlead(self, address: MailAddress) -> None:
        terminal = self._terminals.pop(address, None)
        if terminal is None:
            return
        self._behind[terminal].discard(address)
        if not self._behind[terminal]:
            del self._behind[terminal]

    def wake(self, terminal: MailAddress) -> list[tuple[Entry, Slot]]:
        """A terminal has registered: its mail, and that for fax numbers behind it, is due at once.

        Returns the busy ones, which are noted as woken.
        """
        busy = []
        for address in (terminal, *self._behind.get(terminal, ()), *self._unasked):
            busy += self._wake(address)
        return busy

    def _wake(self, address: MailAddress) -> list[tuple[Entry, Slot]]:
        busy = []
        for entry in list(self._by_address.get(address, {}).values()):
            for recipient, slot in entry.slots.items():
                if recipient.address != address:
                    continue
                if slot.busy:
                    slot.woken = True
                    busy.append((entry, slot))
                else:
                    slot.due = NOW
            self._schedule(entry)
        return busy

    def wake_held(self) -> None:
        """The chart may be back, or registrations have been missed: all that waits for either is looked at once."""
        for entry in self:
            held = [slot for slot in entry.slots.values() if _waits_for_chart(slot.queued) and not slot.busy]
            for slot in held:
                slot.due = NOW
            if held:
                self._schedule(entry)

    def retry(self, entry: Entry) -> None:
        """Due at once, frozen or not."""
        entry.mail = replace(entry.mail, frozen=False)
        for slot in entry.slots.values():
            slot.due = NOW
        self._schedule(entry)

    def freeze(self, entry: Entry, *, frozen: bool) -> None:
        """Not tried any more until told; or tried again at its times."""
        entry.mail = replace(entry.mail, frozen=frozen)
        self._schedule(entry)

    def remove(self, entry: Entry) -> None:
        """Forget a mail."""
        for recipient in list(entry.slots):
            self._forget_slot(entry, recipient)
        self._entries.pop(entry.mail.id, None)

    def _forget_slot(self, entry: Entry, recipient: Recipient) -> None:
        del entry.slots[recipient]
        if any(other.address == recipient.address for other in entry.slots):
            return
        mails = self._by_address.get(recipient.address, {})
        mails.pop(entry.mail.id, None)
        if not mails:
            self._by_address.pop(recipient.address, None)
            self._unlead(recipient.address)
            self._unasked.discard(recipient.address)

    def _schedule(self, entry: Entry) -> None:
        if entry.mail.frozen:
            return
        due = min((slot.due for slot in entry.slots.values() if not slot.busy), default=float("inf"))
        if due < entry.scheduled:
            entry.scheduled = due
            heapq.heappush(self._heap, (due, next(self._order), entry))


def _waits_for_chart(queued: QueuedRecipient) -> bool:
    return queued.waiting is Waiting.HELD or queued.last_reply == str(UNANSWERED)
