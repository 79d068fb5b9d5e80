"""What an attempt means for a mail: which recipients stay, and what the sender is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lanpost.content.reports import Action
from lanpost.errors import DeliveryError
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome, Route, Verdict, Way
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient, Waiting
from lanpost.model.reply import OK, RELAY_DENIED, Reply
from lanpost.service.delivery import Result, outcomes_of, result_of_route, settle
from lanpost.service.schedule import Schedule

SCHEDULE = Schedule()
AT = Endpoint.parse("10.0.0.7:25")
BUSY = Reply(450, "4.2.1", "busy")
REFUSED = Reply(550, "5.1.1", "who?")


def recipient(name: str, *notify: str) -> Recipient:
    return Recipient(MailAddress.parse(f"{name}@office.lan"), frozenset(notify))


def mail(*recipients: Recipient, sender: str | None = "a@office.lan") -> QueuedMail:
    envelope = Envelope(MailAddress.parse(sender) if sender else None, recipients)
    return QueuedMail("m1", envelope, 0.0, 100, tuple(QueuedRecipient(each) for each in recipients))


def of(who: Recipient, reply: Reply, **more: object) -> Result:
    return replace(Result(Outcome.of(who, reply, AT)), **more)  # type: ignore[arg-type]


def test_each_recipient_goes_its_own_way() -> None:
    done, later, failed, untouched = (recipient(name) for name in ("done", "later", "failed", "untouched"))
    found = settle(
        mail(done, later, failed, untouched),
        [of(done, OK), of(later, BUSY), of(failed, REFUSED)],
        now=10.0,
        schedule=SCHEDULE,
        chance=0.5,
    )
    assert [each.recipient for each in found.mail.recipients] == [later, untouched]
    waiting = found.mail.recipients[0]
    assert (waiting.attempts, waiting.next_due, waiting.waiting) == (1, 15.0, Waiting.DUE)
    assert waiting.last_reply == "10.0.0.7:25: 450 4.2.1 busy"
    assert [(notice.action, notice.recipient, notice.endpoint) for notice in found.notices] == [
        (Action.FAILED, failed, AT)
    ]


@pytest.mark.parametrize(
    ("notify", "told"), [((), True), (("FAILURE",), True), (("SUCCESS", "DELAY"), False), (("NEVER",), False)]
)
def test_failure_is_told_to_who_wants_it(notify: tuple[str, ...], told: bool) -> None:
    who = recipient("x", *notify)
    assert bool(settle(mail(who), [of(who, REFUSED)], 1.0, SCHEDULE, 0.5).notices) is told


@pytest.mark.parametrize("reply", [OK, BUSY, REFUSED])
def test_the_null_sender_is_never_told(reply: Reply) -> None:
    who = recipient("x", "SUCCESS", "FAILURE", "DELAY")
    found = settle(mail(who, sender=None), [of(who, reply, final=True)], 10**7, SCHEDULE, 0.5)
    assert not found.notices
    assert not found.mail.recipients


def test_success_in_a_mailbox_here_is_told_only_when_asked_for() -> None:
    asked, not_asked = recipient("x", "SUCCESS"), recipient("y")
    results = [of(asked, OK, final=True), of(not_asked, OK, final=True)]
    found = settle(mail(asked, not_asked), results, 1.0, SCHEDULE, 0.5)
    assert [(notice.action, notice.recipient) for notice in found.notices] == [(Action.DELIVERED, asked)]


@pytest.mark.parametrize("notify", ["SUCCESS", "FAILURE", "NEVER", ""])
@pytest.mark.parametrize("reports", [False, True])
def test_of_an_endpoint_that_sends_no_reports_it_is_told_that_it_has_the_mail(notify: str, reports: bool) -> None:
    who = recipient("x", *filter(None, [notify]))
    result = Result(Outcome.of(who, OK, AT, reports=reports))
    notices = settle(mail(who), [result], 1.0, SCHEDULE, 0.5).notices
    wanted = notify == "SUCCESS" and not reports
    assert [(each.action, each.endpoint) for each in notices] == ([(Action.RELAYED, AT)] if wanted else [])


def test_delay_is_told_once() -> None:
    who = recipient("x")
    early = settle(mail(who), [of(who, BUSY)], SCHEDULE.delay_notice - 1, SCHEDULE, 0.5)
    assert not early.notices
    due = settle(early.mail, [of(who, BUSY)], SCHEDULE.delay_notice, SCHEDULE, 0.5)
    assert [notice.action for notice in due.notices] == [Action.DELAYED]
    assert due.notices[0].retry_until == SCHEDULE.give_up
    assert not settle(due.mail, [of(who, BUSY)], SCHEDULE.delay_notice + 99, SCHEDULE, 0.5).notices


@pytest.mark.parametrize("held", [True, False])
def test_what_has_waited_too_long_fails(held: bool) -> None:
    who = recipient("x")
    found = settle(mail(who), [of(who, BUSY, held=held)], SCHEDULE.give_up, SCHEDULE, 0.5)
    assert not found.mail.recipients
    assert [(notice.action, notice.expired) for notice in found.notices] == [(Action.FAILED, True)]


def test_a_known_terminal_without_a_binding_holds_its_mail() -> None:
    who = recipient("x")
    found = settle(mail(who), [result_of_route(who, Route(who.address, Way.HOLD))], 1.0, SCHEDULE, 0.5)
    (waiting,) = found.mail.recipients
    assert (waiting.waiting, waiting.attempts) == (Waiting.HELD, 0)
    assert "register" in waiting.last_reply


def test_a_removed_address_fails_with_the_routers_words() -> None:
    who = recipient("x")
    result = result_of_route(who, Route(who.address, Way.UNKNOWN, refusal=RELAY_DENIED))
    assert (result.outcome.verdict, result.outcome.reply) == (Verdict.FAILED, RELAY_DENIED)


def test_an_unanswered_inquiry_is_repeated_soon() -> None:
    who = recipient("x")
    old = replace(mail(who), recipients=(replace(mail(who).recipients[0], attempts=50),))
    found = settle(old, [result_of_route(who, Route(who.address, Way.UNANSWERED))], 100.0, SCHEDULE, 0.5)
    assert found.mail.recipients[0].next_due == 130.0


@pytest.mark.parametrize(("permanent", "verdict"), [(False, Verdict.DEFERRED), (True, Verdict.FAILED)])
def test_a_failed_connection_is_an_outcome_for_everybody(permanent: bool, verdict: Verdict) -> None:
    error = DeliveryError("connection refused by 10.0.0.7:25", permanent=permanent, status="4.4.1")
    found = outcomes_of(error, [recipient("x"), recipient("y")], AT)
    assert [each.verdict for each in found] == [verdict, verdict]
    assert "refused" in found[0].reply.text
