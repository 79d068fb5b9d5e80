"""Waiting mail in memory: nobody is taken twice, nobody forgotten, the woken go first."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient, Waiting
from lanpost.model.reply import UNANSWERED
from lanpost.service.waiting import Entry, Slot, WaitingMail


def mail(mail_id: str, *names: str, due: float = 0, waiting: Waiting = Waiting.DUE) -> QueuedMail:
    recipients = tuple(Recipient(MailAddress.parse(f"{name}@office.lan")) for name in names)
    return QueuedMail(
        mail_id,
        Envelope(None, recipients),
        0.0,
        1,
        tuple(QueuedRecipient(each, waiting, next_due=due) for each in recipients),
    )


def names(slots: list[Slot]) -> list[str]:
    return [slot.queued.recipient.address.local for slot in slots]


def taken(waiting: WaitingMail, now: float) -> list[tuple[str, list[str]]]:
    found = []
    while item := waiting.take_due(now):
        found.append((item[0].mail.id, names(item[1])))
    return found


def deferred(entry: Entry, due: float) -> QueuedMail:
    """The mail after an attempt that came to nothing."""
    later = tuple(replace(slot.queued, next_due=due) for slot in entry.slots.values())
    return replace(entry.mail, recipients=later)


def test_new_mail_is_due_at_once_and_taken_once() -> None:
    waiting = WaitingMail()
    waiting.add(mail("m1", "a", "b"), under_way=[MailAddress.parse("b@office.lan")])
    assert taken(waiting, 1.0) == [("m1", ["a"])]
    assert taken(waiting, 1e9) == []


def test_mail_found_at_the_start_keeps_its_time_until_held_mail_is_looked_at() -> None:
    waiting = WaitingMail()
    waiting.add(mail("later", "a", due=50), fresh=False)
    waiting.add(mail("held", "b", due=50, waiting=Waiting.HELD), fresh=False)
    assert taken(waiting, 1.0) == []
    waiting.wake_held()
    assert taken(waiting, 1.0) == [("held", ["b"])]
    assert waiting.next_due() == 50
    assert taken(waiting, 50.0) == [("later", ["a"])]


def test_what_the_chart_could_not_answer_is_due_when_it_may_be_back() -> None:
    waiting = WaitingMail()
    unanswered = mail("unanswered", "a", due=50)
    recipients = tuple(replace(each, last_reply=str(UNANSWERED)) for each in unanswered.recipients)
    waiting.add(replace(unanswered, recipients=recipients), fresh=False)
    waiting.wake_held()
    assert taken(waiting, 1.0) == [("unanswered", ["a"])]


def test_a_registration_makes_mail_due_and_is_remembered_by_who_is_busy() -> None:
    waiting = WaitingMail()
    idle = waiting.add(mail("idle", "a"))
    busy = waiting.add(mail("busy", "a"))
    assert len(taken(waiting, 1.0)) == 2
    waiting.apply(idle, deferred(idle, 500), idle.slots)
    found = waiting.wake(MailAddress.parse("A@office.lan"))
    assert [entry for entry, _ in found] == [busy]
    assert taken(waiting, 2.0) == [("idle", ["a"])]
    waiting.apply(busy, deferred(busy, 500), busy.slots)
    assert taken(waiting, 2.0) == [("busy", ["a"])]


def numbered(mail_id: str, number: str, gateway: str) -> QueuedMail:
    recipient = Recipient(MailAddress.parse(f"FAX={number}@{gateway}.office.lan"))
    return QueuedMail(mail_id, Envelope(None, (recipient,)), 0.0, 1, (QueuedRecipient(recipient),))


def test_a_registration_makes_mail_due_for_the_fax_numbers_behind_it() -> None:
    waiting = WaitingMail()
    gateway, other = (MailAddress.parse(f"{name}@office.lan") for name in ("gw", "other"))
    first, second = (waiting.add(numbered(f"m{number}", f"+4930{number}", "gw")) for number in (1, 2))
    assert len(taken(waiting, 1.0)) == 2
    for entry in (first, second):
        waiting.apply(entry, deferred(entry, 500), entry.slots)
        waiting.lead(next(iter(entry.slots)).address, gateway)
    waiting.wake(other)
    assert taken(waiting, 2.0) == []
    waiting.lead(next(iter(second.slots)).address, other)  # the number has another terminal now
    waiting.wake(gateway)
    assert [mail_id for mail_id, _ in taken(waiting, 2.0)] == ["m1"]
    waiting.remove(first)
    waiting.remove(second)
    assert waiting.wake(gateway) == waiting.wake(other) == []


def test_a_fax_number_that_nobody_has_asked_for_yet_is_due_at_any_registration() -> None:
    waiting = WaitingMail()
    entry = waiting.add(mail("m2", "FAX=+4930", due=500), fresh=False)
    waiting.wake(MailAddress.parse("gw@office.lan"))
    assert [mail_id for mail_id, _ in taken(waiting, 2.0)] == ["m2"]
    waiting.lead(next(iter(entry.slots)).address, None)
    waiting.apply(entry, deferred(entry, 500), entry.slots)
    waiting.wake(MailAddress.parse("gw@office.lan"))
    assert taken(waiting, 2.0) == []


def test_frozen_mail_is_not_taken_until_retried() -> None:
    waiting = WaitingMail()
    entry = waiting.add(mail("m1", "a"))
    waiting.freeze(entry, frozen=True)
    waiting.wake(MailAddress.parse("a@office.lan"))
    assert taken(waiting, 1e9) == []
    waiting.retry(entry)
    assert taken(waiting, 1.0) == [("m1", ["a"])]


def test_removed_mail_is_gone_from_everywhere() -> None:
    waiting = WaitingMail()
    waiting.remove(waiting.add(mail("m1", "a")))
    assert (taken(waiting, 1e9), waiting.wake(MailAddress.parse("a@office.lan")), len(waiting)) == ([], [], 0)


@given(st.lists(st.tuples(st.sampled_from("atdwfur"), st.integers(0, 5)), max_size=120))
def test_whatever_happens_nobody_is_taken_twice_or_forgotten(steps: list[tuple[str, int]]) -> None:
    waiting = WaitingMail()
    busy: list[tuple[Entry, list[Slot]]] = []
    now = 0.0
    for number, (step, which) in enumerate(steps):
        now += 1
        entries = list(waiting)
        some = entries[which % len(entries)] if entries else None
        if step == "a":
            waiting.add(mail(f"m{number}", "a", f"x{which}"))
        elif step == "t" and (found := waiting.take_due(now)):
            assert all(slot.busy for slot in found[1])
            assert not any(slot in other for _, other in busy for slot in found[1])
            busy.append(found)
        elif step == "d" and busy:
            entry, slots = busy.pop(which % len(busy))
            attempted = [slot.queued.recipient for slot in slots]
            left = [queued for queued in entry.mail.recipients if which % 2 or queued.recipient not in attempted]
            if waiting.get(entry.mail.id) is entry:
                again = tuple(replace(each, next_due=now + which) for each in left)
                waiting.apply(entry, replace(entry.mail, recipients=again), attempted)
        elif step == "w":
            waiting.wake(MailAddress.parse("a@office.lan"))
        elif step in "fu" and some:
            waiting.freeze(some, frozen=step == "f")
        elif step == "r" and some:
            waiting.remove(some)
    for entry in waiting:
        waiting.freeze(entry, frozen=False)
    idle = {id(slot) for entry in waiting for slot in entry.slots.values() if not slot.busy}
    found_at_last = set()
    while item := waiting.take_due(1e9):
        found_at_last |= {id(slot) for slot in item[1]}
    assert found_at_last == idle
