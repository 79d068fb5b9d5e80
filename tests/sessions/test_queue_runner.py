"""The queue: fresh inquiries, held mail sent at once, nobody held up, nothing lost, nothing sent twice."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from tests.queue_bench import CONTENT, QUICK, QueueBench, address, queue_bench

from lanpost.app import queue_runner
from lanpost.errors import DeliveryError, StoreFull
from lanpost.model.address import MailAddress
from lanpost.model.binding import Entry
from lanpost.model.delivery import Outcome
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, Waiting
from lanpost.model.reply import OK, Reply
from lanpost.service.schedule import Schedule

BUSY = Reply(450, "4.2.1", "busy, come again")
NO = Reply(550, "5.1.1", "who is that?")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[QueueBench]:
    async with queue_bench(tmp_path) as made:
        yield made


class Replies:
    """An endpoint that answers this, then that, then takes everything."""

    def __init__(self, endpoint: Endpoint, *replies: Reply) -> None:
        self.endpoint = endpoint
        self.replies = list(replies)

    async def __call__(self, envelope: Envelope, content: bytes) -> Sequence[Outcome]:
        reply = self.replies.pop(0) if self.replies else OK
        return [Outcome.of(recipient, reply, self.endpoint) for recipient in envelope.recipients]


async def refuse(envelope: Envelope, content: bytes) -> Sequence[Outcome]:
    raise DeliveryError("connection refused by 10.0.0.9:25", permanent=False, status="4.4.1")


async def stall(envelope: Envelope, content: bytes) -> Sequence[Outcome]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_mail_goes_to_its_endpoint_as_it_was_put(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    await bench.accept("fax1")
    sent = await bench.sender.next()
    assert (sent.endpoint, sent.to, sent.content) == (where, ["fax1"], CONTENT)
    await bench.empty()
    assert not list(bench.spool.mails())
    assert bench.queue.counters.delivered == 1


async def test_recipients_at_one_endpoint_share_an_attempt(bench: QueueBench) -> None:
    await bench.bind("fax1", "10.0.0.7:25")
    await bench.bind("fax2", "10.0.0.7:25")
    await bench.bind("fax3", "10.0.0.8:25")
    await bench.accept("fax1", "fax2", "fax3")
    found = sorted([(await bench.sender.next()).to for _ in range(2)])
    assert found == [["fax1", "fax2"], ["fax3"]]
    await bench.empty()


async def test_a_mailbox_gets_the_text_unstuffed_with_its_return_path(bench: QueueBench) -> None:
    bench.mailboxes.create(address("anna"))
    await bench.accept("anna")
    await bench.empty()
    (text,) = bench.mailbox("anna")
    assert text == b"Return-Path: <a@office.lan>\r\n" + CONTENT.replace(b"\r\n..", b"\r\n.")


async def test_each_try_asks_afresh_so_mail_follows_a_moved_terminal(bench: QueueBench) -> None:
    old = await bench.bind("fax1", "10.0.0.7:25")

    async def moved(envelope: Envelope, content: bytes) -> Sequence[Outcome]:
        await bench.bind("fax1", "10.0.0.8:25")
        raise DeliveryError("connection refused by 10.0.0.7:25", permanent=False, status="4.4.1")

    bench.sender.behaviours[old] = moved
    await bench.accept("fax1")
    assert [str((await bench.sender.next()).endpoint) for _ in range(2)] == ["10.0.0.7:25", "10.0.0.8:25"]
    await bench.empty()


async def test_a_temporary_refusal_is_tried_again(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    bench.sender.behaviours[where] = Replies(where, BUSY, BUSY)
    mail = await bench.accept("fax1")
    for _ in range(2):
        await bench.sender.next()
    await bench.until(lambda: len(bench.queue) == 0 or bench.queue.list()[0].recipients[0].attempts == 2)
    if shown := bench.queue.show(mail.id):
        assert shown.recipients[0].last_reply == "10.0.0.7:25: 450 4.2.1 busy, come again"
    await bench.sender.next()
    await bench.empty()
    assert bench.queue.counters.deferred == 2


async def test_only_the_recipients_still_open_are_tried_again(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    await bench.bind("fax2", "10.0.0.7:25")

    async def one_busy(envelope: Envelope, content: bytes) -> Sequence[Outcome]:
        del bench.sender.behaviours[where]
        return [Outcome.of(each, reply, where) for each, reply in zip(envelope.recipients, (OK, BUSY), strict=True)]

    bench.sender.behaviours[where] = one_busy
    await bench.accept("fax1", "fax2")
    assert [(await bench.sender.next()).to for _ in range(2)] == [["fax1", "fax2"], ["fax2"]]
    await bench.empty()


# Held mail.


async def test_held_mail_goes_the_moment_its_terminal_registers(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, Schedule()) as bench:  # its pauses are far longer than this test
        await bench.chart.add(address("fax1"))
        mail = await bench.accept("fax1")
        await bench.until(lambda: mail.id in [each.id for each in bench.spool.mails() if _held(each)])
        where = await bench.bind("fax1", "10.0.0.7:25")
        assert (await bench.sender.next()).endpoint == where
        await bench.empty()


async def test_held_mail_for_a_fax_number_goes_the_moment_its_gateway_registers(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, Schedule()) as bench:
        await bench.chart.add(address("gw"))
        number = MailAddress.parse("FAX=+4930123/T33S=7@gw.office.lan")
        mail = await bench.accept(Recipient(number))
        await bench.until(lambda: mail.id in [each.id for each in bench.spool.mails() if _held(each)])
        await bench.restart()
        where = await bench.bind("gw", "10.0.0.7:25")
        sent = await bench.sender.next()
        assert (sent.endpoint, sent.to) == (where, [number.local])
        await bench.empty()


async def test_deferred_mail_for_a_fax_number_goes_the_moment_its_terminal_registers_again(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, Schedule(first_retry=300)) as bench:
        old = await bench.bind("gw", "10.0.0.9:25")
        bench.sender.behaviours[old] = refuse
        await bench.accept(Recipient(MailAddress.parse("FAX=+4930123@gw.office.lan")))
        await bench.sender.next()
        await bench.until(lambda: bench.queue.counters.deferred == 1)
        where = await bench.bind("gw", "10.0.0.7:25")
        assert (await bench.sender.next()).endpoint == where
        await bench.empty()


def _held(mail: object) -> bool:
    return any(each.waiting is Waiting.HELD for each in mail.recipients)  # type: ignore[attr-defined]


async def test_deferred_mail_goes_the_moment_its_terminal_registers_again(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, Schedule(first_retry=300)) as bench:
        old = await bench.bind("fax1", "10.0.0.9:25")
        bench.sender.behaviours[old] = refuse
        await bench.accept("fax1")
        await bench.sender.next()
        await bench.until(lambda: bench.queue.counters.deferred == 1)
        where = await bench.bind("fax1", "10.0.0.7:25")
        assert (await bench.sender.next()).endpoint == where
        await bench.empty()


async def test_a_registration_during_an_attempt_is_not_forgotten(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, Schedule(first_retry=300)) as bench:
        old = await bench.bind("fax1", "10.0.0.9:25")

        async def register_then_fail(envelope: Envelope, content: bytes) -> Sequence[Outcome]:
            del bench.sender.behaviours[old]
            await bench.bind("fax1", "10.0.0.9:25")
            await asyncio.sleep(0.05)  # until the watch has told of it
            return [Outcome.of(each, BUSY, old) for each in envelope.recipients]

        bench.sender.behaviours[old] = register_then_fail
        await bench.accept("fax1")
        await bench.sender.next()
        await bench.sender.next()
        await bench.empty()


async def test_an_attempt_at_an_address_left_behind_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_runner, "MOVED_GRACE", 0.05)
    async with queue_bench(tmp_path, Schedule(first_retry=300)) as bench:
        old = await bench.bind("fax1", "10.0.0.9:25")
        bench.sender.behaviours[old] = stall
        await bench.accept("fax1")
        await bench.sender.next()
        where = await bench.bind("fax1", "10.0.0.7:25")
        assert (await bench.sender.next()).endpoint == where
        await bench.empty()


# Nobody holds up others.


@pytest.mark.parametrize("behaviour", [stall, refuse])
async def test_a_dead_endpoint_delays_nobody_else(bench: QueueBench, behaviour: object) -> None:
    dead = await bench.bind("dead", "10.0.0.9:25")
    bench.sender.behaviours[dead] = behaviour  # type: ignore[assignment]
    alive = await bench.bind("alive", "10.0.0.7:25")
    for _ in range(100):
        await bench.accept("dead")
    for _ in range(20):
        await bench.accept("alive")
    async with asyncio.timeout(10):
        served = 0
        while served < 20:
            served += (await bench.sender.next()).endpoint == alive
    await bench.until(lambda: bench.queue.counters.delivered == 20)


async def test_attempts_are_bounded_in_all(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, places=(4, 2)) as bench:
        for number in range(10):
            where = await bench.bind(f"fax{number}", f"10.0.0.{number + 1}:25")
            bench.sender.behaviours[where] = stall
            await bench.accept(f"fax{number}")
        for _ in range(4):
            await bench.sender.next()
        await bench.until(lambda: bench.queue.attempts_under_way == 4)
        assert bench.sender.most_under_way == 4


async def test_mail_stuck_behind_a_dead_endpoint_follows_its_terminal(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, places=(50, 1)) as bench:
        dead = await bench.bind("fax1", "10.0.0.9:25")
        await bench.bind("fax2", "10.0.0.9:25")
        bench.sender.behaviours[dead] = stall
        await bench.accept("fax1")
        await bench.sender.next()
        await bench.accept("fax2")
        await bench.until(lambda: bench.queue._lanes.waiting() == 1)
        where = await bench.bind("fax2", "10.0.0.7:25")
        assert (await bench.sender.next()).endpoint == where


# The chart.


async def test_while_the_chart_is_down_mail_waits_and_then_goes(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    bench.chart.is_down = True
    await bench.accept("fax1")
    await bench.until(lambda: bench.queue.counters.deferred >= 2)
    bench.chart.is_down = False
    assert (await bench.sender.next()).endpoint == where
    await bench.empty()


async def test_an_address_removed_meanwhile_is_reported(bench: QueueBench) -> None:
    bench.mailboxes.create(address("a"))
    await bench.accept("nobody")
    await bench.empty()
    (text,) = bench.mailbox("a")
    assert text.startswith(b"Return-Path: <>\r\n")
    assert b"550 5.1.1 No such mail address here" in text


# Reports.


async def test_a_failure_is_reported_to_the_sender(bench: QueueBench) -> None:
    bench.mailboxes.create(address("a"))
    where = await bench.bind("fax1", "10.0.0.7:25")
    bench.sender.behaviours[where] = Replies(where, NO)
    await bench.accept("fax1")
    await bench.empty()
    (text,) = bench.mailbox("a")
    message = email.message_from_bytes(text, policy=email.policy.SMTP)
    assert message.get_content_type() == "multipart/report"
    words = next(message.iter_parts()).get_content()
    assert "fax1@office.lan" in words
    assert "10.0.0.7:25 said: 550 5.1.1 who is that?" in words
    assert b"\r\n.dot\r\n" in text
    assert bench.queue.counters.reports == 1


async def test_a_report_that_fails_is_not_reported(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    bench.sender.behaviours[where] = Replies(where, NO)
    await bench.accept("fax1", sender="gone@office.lan")
    await bench.empty()
    assert bench.queue.counters.reports == 1
    assert bench.queue.counters.failed == 2


async def test_success_in_a_mailbox_is_reported_if_asked_for(bench: QueueBench) -> None:
    bench.mailboxes.create(address("a"))
    bench.mailboxes.create(address("anna"))
    await bench.accept(Recipient(address("anna"), frozenset({"SUCCESS"})))
    await bench.empty()
    (text,) = bench.mailbox("a")
    assert b"\r\nAction: delivered\r\n" in text


async def test_old_mail_is_given_up_and_its_sender_told(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, replace(QUICK, give_up=100)) as bench:
        bench.mailboxes.create(address("a"))
        await bench.chart.add(address("fax1"))
        await bench.accept("fax1", age=200)
        await bench.empty()
        (text,) = bench.mailbox("a")
        assert b"\r\nStatus: 4.4.7\r\n" in text


async def test_a_delay_is_told_once_and_the_mail_still_tried(tmp_path: Path) -> None:
    async with queue_bench(tmp_path, replace(QUICK, delay_notice=100)) as bench:
        bench.mailboxes.create(address("a"))
        where = await bench.bind("fax1", "10.0.0.7:25")
        bench.sender.behaviours[where] = Replies(where, BUSY, BUSY, BUSY)
        await bench.accept("fax1", age=200)
        await bench.empty()
        (text,) = bench.mailbox("a")
        assert b"\r\nAction: delayed\r\n" in text
        assert bench.queue.counters.delivered == 2  # the mail, and the report


async def test_without_room_for_the_report_the_mail_is_kept(
    bench: QueueBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    bench.sender.behaviours[where] = Replies(where, NO, NO)
    mail = await bench.put("fax1")
    real = bench.spool.put
    refused = asyncio.Event()

    def full(*arguments: object) -> object:
        refused.set()
        raise StoreFull("no room")

    monkeypatch.setattr(bench.spool, "put", full)
    bench.queue.accept(mail)
    await refused.wait()
    await bench.until(lambda: not bench.queue.under_way(mail.id))
    assert bench.spool.get(mail.id)
    monkeypatch.setattr(bench.spool, "put", real)
    bench.queue.retry(mail.id)
    await bench.empty()
    assert bench.queue.counters.reports == 1


async def test_a_report_that_was_written_goes_though_another_had_no_room(
    bench: QueueBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    await bench.bind("fax2", "10.0.0.7:25")

    async def mixed(envelope: Envelope, _: bytes) -> Sequence[Outcome]:
        return [
            Outcome.of(each, NO if each.address == address("fax1") else OK, where) for each in envelope.recipients
        ]

    bench.sender.behaviours[where] = mixed
    mail = await bench.put("fax1", Recipient(address("fax2"), notify=frozenset({"SUCCESS"})))
    real = bench.spool.put
    written: list[QueuedMail] = []

    def room_for_one(report: QueuedMail, content: Sequence[bytes]) -> Future[None]:
        if written:
            raise StoreFull("no room")
        written.append(report)
        return real(report, content)

    monkeypatch.setattr(bench.spool, "put", room_for_one)
    bench.queue.accept(mail)
    await bench.empty()
    assert bench.queue.counters.reports == 1
    assert len(bench.spool) == 0, "no report waits there that the queue knows nothing of"


# Reception's own attempts.


async def test_recipients_under_way_are_left_alone_until_settled(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    await bench.bind("fax2", "10.0.0.8:25")
    mail = await bench.put("fax1", "fax2")
    bench.queue.accept(mail, under_way=[address("fax1")])
    assert (await bench.sender.next()).to == ["fax2"]
    await bench.until(lambda: len(mail_left(bench, mail.id)) == 1)
    assert bench.sender.attempts.empty()
    bench.queue.settle(mail.id, [Outcome.of(mail.envelope.recipients[0], OK, where)])
    await bench.empty()
    assert bench.sender.attempts.empty()
    assert not list(bench.spool.mails())


def mail_left(bench: QueueBench, mail_id: str) -> Sequence[object]:
    mail = bench.spool.get(mail_id)
    return mail.recipients if mail else ()


async def test_an_attempt_of_receptions_that_failed_is_made_again(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    mail = await bench.put("fax1")
    bench.queue.accept(mail, under_way=[address("fax1")])
    bench.queue.settle(mail.id, [Outcome.of(mail.envelope.recipients[0], BUSY, where)])
    await bench.sender.next()
    await bench.empty()


# Starting, stopping, the administrator.


async def test_a_bug_amid_an_attempt_leaves_nobody_busy_for_ever(
    bench: QueueBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_runner, "ROUTE_AGE", 0.0)  # asked once more when its turn comes
    monkeypatch.setattr(queue_runner, "REPORT_PAUSE", 0.01)
    await bench.bind("fax1", "10.0.0.7:25")
    look_up = bench.chart.look_up

    async def fail_at_the_second(address: MailAddress, *, whole: bool = True) -> Entry | None:
        if bench.chart.inquiries == 1:
            bench.chart.inquiries += 1
            raise ZeroDivisionError
        return await look_up(address, whole=whole)

    monkeypatch.setattr(bench.chart, "look_up", fail_at_the_second)
    await bench.accept("fax1")
    await bench.empty()
    assert (await bench.sender.next()).to == ["fax1"]
    assert bench.chart.inquiries > 2


async def test_a_restart_resumes_exactly_what_was_there(bench: QueueBench) -> None:
    dead = await bench.bind("dead", "10.0.0.9:25")
    bench.sender.behaviours[dead] = stall
    await bench.chart.add(address("held"))
    mails = [await bench.accept("dead"), await bench.accept("held"), await bench.accept("dead", "held")]
    for _ in range(2):
        await bench.sender.next()
    await bench.until(lambda: bench.queue.counters.held == 2)
    del bench.sender.behaviours[dead]
    await bench.stop()
    bench.start()
    assert [mail.id for mail in bench.queue.list()] == [mail.id for mail in mails]
    assert [(await bench.sender.next()).to for _ in range(2)] == [["dead"], ["dead"]]
    await bench.bind("held", "10.0.0.7:25")
    assert [(await bench.sender.next()).to for _ in range(2)] == [["held"], ["held"]]
    await bench.empty()


async def test_draining_lets_attempts_finish_and_begins_none(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    go_on = asyncio.Event()

    async def slow(envelope: Envelope, content: bytes) -> Sequence[Outcome]:
        await go_on.wait()
        return [Outcome.of(recipient, OK, where) for recipient in envelope.recipients]

    bench.sender.behaviours[where] = slow
    first = await bench.accept("fax1")
    await bench.sender.next()
    draining = asyncio.create_task(bench.queue.drain(10))
    await asyncio.sleep(0)
    second = await bench.accept("fax1")
    go_on.set()
    await draining
    await bench.running
    assert bench.spool.get(first.id) is None
    assert bench.spool.get(second.id)


async def test_draining_breaks_off_what_takes_too_long(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    bench.sender.behaviours[where] = stall
    mail = await bench.accept("fax1")
    await bench.sender.next()
    await bench.queue.drain(0.01)
    await bench.running
    assert bench.sender.under_way == 0
    assert bench.spool.get(mail.id)


async def test_a_mail_on_hold_is_not_tried_until_retried_even_after_a_restart(bench: QueueBench) -> None:
    await bench.chart.add(address("fax1"))
    mail = await bench.accept("fax1")
    await bench.until(lambda: bench.queue.counters.held == 1)
    assert bench.queue.hold(mail.id)
    await bench.restart()
    await bench.bind("fax1", "10.0.0.7:25")
    inquiries = bench.chart.inquiries
    assert bench.queue.retry() == 0
    await asyncio.sleep(0.05)
    assert (bench.chart.inquiries, bench.sender.attempts.empty()) == (inquiries, True)
    assert bench.queue.retry(mail.id) == 1
    await bench.sender.next()
    await bench.empty()


async def test_a_mail_taken_off_hold_goes(bench: QueueBench) -> None:
    await bench.bind("fax1", "10.0.0.7:25")
    mail = await bench.put("fax1")
    bench.queue.accept(mail)
    bench.queue.hold(mail.id)
    bench.queue.hold(mail.id, frozen=False)
    await bench.sender.next()
    await bench.empty()


async def test_a_removed_mail_is_forgotten(bench: QueueBench) -> None:
    await bench.chart.add(address("fax1"))
    mail = await bench.accept("fax1")
    await bench.until(lambda: bench.queue.counters.held == 1)
    assert bench.queue.remove(mail.id)
    assert not bench.queue.remove(mail.id)
    assert not bench.queue.hold(mail.id)
    assert bench.queue.retry(mail.id) == 0
    await bench.restart()
    assert not bench.queue.list()


async def test_a_mail_removed_while_it_is_sent_stays_removed(bench: QueueBench) -> None:
    where = await bench.bind("fax1", "10.0.0.7:25")
    bench.sender.behaviours[where] = Replies(where, BUSY)
    mail = await bench.accept("fax1")
    await bench.sender.next()
    bench.queue.remove(mail.id)
    await bench.until(lambda: not bench.queue.attempts_under_way)
    assert not list(bench.spool.mails())
