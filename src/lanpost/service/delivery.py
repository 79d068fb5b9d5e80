"""What an attempt means for a mail: done, later, held, or failed; and what its sender is told of it.

Pure: the clock and chance are arguments, and nobody is told anything here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lanpost.content.reports import Action, Notice
from lanpost.errors import DeliveryError, StoreError, StoreFull
from lanpost.model.delivery import Outcome, Route, Verdict, Way
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient, Waiting
from lanpost.model.reply import NO_SUCH_USER, UNANSWERED, Reply
from lanpost.service.schedule import Schedule

MAX_LAST_REPLY = 500  # characters kept of why a mail waits

NOT_REGISTERED = Reply(450, "4.4.1", "The terminal has not registered an address; the mail is held until it does")


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one attempt for one recipient, and what else the schedule needs to know of it."""

    outcome: Outcome
    held: bool = False  # it waits for the terminal's registration, not for a time
    soon: bool = False  # nothing is known against the endpoint: try again without a long pause
    final: bool = False  # delivered into a mailbox here: there is no further on
    registered: float | None = None  # when the terminal last said where it is, seconds since the epoch


@dataclass(frozen=True, slots=True)
class Settlement:
    """The mail as it is after an attempt (no recipients left: done with), and what its sender is to be told."""

    mail: QueuedMail
    notices: tuple[Notice, ...]


def settle(
    mail: QueuedMail, results: Sequence[Result], now: float, schedule: Schedule, chance: float
) -> Settlement:
    """`mail` after an attempt for some of its recipients. Results for recipients it no longer has are ignored.

    A null sender is never told anything (RFC 5321 §4.5.5), nobody what he declined by NOTIFY (RFC 3461 §4.1).
    """
    by_recipient = {result.outcome.recipient: result for result in results}
    left: list[QueuedRecipient] = []
    notices: list[Notice] = []
    for queued in mail.recipients:
        result = by_recipient.get(queued.recipient)
        if result is None:
            left.append(queued)
            continue
        kept, notice = _settle_one(mail, queued, result, now, schedule, chance)
        if kept is not None:
            left.append(kept)
        if notice is not None and mail.envelope.sender is not None:
            notices.append(notice)
    return Settlement(replace(mail, recipients=tuple(left)), tuple(notices))


def _settle_one(
    mail: QueuedMail, queued: QueuedRecipient, result: Result, now: float, schedule: Schedule, chance: float
) -> tuple[QueuedRecipient | None, Notice | None]:
    recipient, outcome = queued.recipient, result.outcome
    if outcome.verdict is Verdict.DELIVERED:
        return None, _success(result) if "SUCCESS" in recipient.notify else None
    expired = outcome.verdict is Verdict.DEFERRED and schedule.is_expired(now, mail.arrived)
    if outcome.verdict is Verdict.FAILED or expired:
        notice = Notice(Action.FAILED, recipient, outcome.reply, outcome.endpoint, expired=expired)
        return None, notice if recipient.wants_failure else None
    tell = schedule.is_delayed(now, mail.arrived) and not queued.delay_told and recipient.wants_delay
    attempts = queued.attempts if result.held else queued.attempts + 1
    if result.held:
        next_due = schedule.next_look(now, mail.arrived, chance, delay_told=queued.delay_told or tell)
    else:
        next_due = schedule.next_try(
            now, mail.arrived, attempts, chance, registered=result.registered, soon=result.soon
        )
    where = f"{outcome.endpoint}: " if outcome.endpoint else ""
    kept = replace(
        queued,
        waiting=Waiting.HELD if result.held else Waiting.DUE,
        attempts=attempts,
        next_due=next_due,
        last_reply=f"{where}{outcome.reply}"[:MAX_LAST_REPLY],
        delay_told=queued.delay_told or tell,
    )
    retry_until = schedule.expiry(mail.arrived)
    notice = Notice(Action.DELAYED, recipient, outcome.reply, outcome.endpoint, retry_until=retry_until)
    return kept, notice if tell else None


def _success(result: Result) -> Notice | None:
    """What is told of a mail that was taken; None: whoever took it tells (RFC 3461 §5.2.2)."""
    outcome = result.outcome
    if outcome.reports:
        return None
    action = Action.DELIVERED if result.final else Action.RELAYED
    return Notice(action, outcome.recipient, outcome.reply, outcome.endpoint)


def result_of_route(recipient: Recipient, route: Route) -> Result:
    """What a route means by which nothing can be sent now: HOLD, UNANSWERED, UNKNOWN."""
    if route.way is Way.HOLD:
        return Result(Outcome(recipient, Verdict.DEFERRED, NOT_REGISTERED), held=True)
    if route.way is Way.UNKNOWN:
        return Result(Outcome(recipient, Verdict.FAILED, route.refusal or NO_SUCH_USER))
    return Result(Outcome(recipient, Verdict.DEFERRED, UNANSWERED), soon=True)


def outcomes_of(error: DeliveryError, recipients: Sequence[Recipient], endpoint: Endpoint | None) -> list[Outcome]:
    """What a failed connection means for each recipient of the attempt."""
    said = Reply(550 if error.permanent else 451, error.status, str(error))
    return [Outcome.of(recipient, said, endpoint) for recipient in recipients]


def mailbox_failure(recipient: Recipient, error: StoreError) -> Outcome:
    """What it means that a mailbox here could not take a mail: its owner or the administrator can make room."""
    said = Reply(452, "4.2.2", str(error)) if isinstance(error, StoreFull) else Reply(451, "4.2.0", str(error))
    return Outcome.of(recipient, said)
