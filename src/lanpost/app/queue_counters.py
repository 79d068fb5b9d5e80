"""What became of each recipient of spooled mail: counted, and one line in the log."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from lanpost.model.delivery import Verdict
from lanpost.model.envelope import Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient
from lanpost.service.delivery import Result

log = structlog.get_logger()


@dataclass(slots=True)
class QueueCounters:
    """What the metrics and `lanpost status` show of the queue, since the start."""

    delivered: int = 0  # recipients
    failed: int = 0  # recipients
    deferred: int = 0  # attempts put off
    held: int = 0  # looks at a terminal that was not registered
    reports: int = 0

    def tell(self, before: QueuedMail, mail: QueuedMail, result: Result, now: float) -> None:
        """Count and log one outcome; `mail` is as it is after it, `now` in seconds since the epoch.

        Another look at a terminal that is still not registered is no news: it is logged at debug.
        """
        outcome = result.outcome
        left = _find(mail, outcome.recipient)
        say = log.info
        if outcome.verdict is Verdict.DELIVERED:
            event = "mail delivered"
            self.delivered += 1
        elif left is None:
            event = "mail failed"
            self.failed += 1
        elif result.held:
            event = "mail held"
            self.held += 1
            former = _find(before, outcome.recipient)
            if former is not None and former.last_reply == left.last_reply:
                say = log.debug
        else:
            event = "mail deferred"
            self.deferred += 1
        say(
            event,
            mail=mail.id,
            to=str(outcome.recipient.address),
            endpoint=str(outcome.endpoint or "here"),
            reply=str(outcome.reply),
            seconds=round(now - mail.arrived, 3),
            **({"attempts": left.attempts, "next_in": round(left.next_due - now, 1)} if left else {}),
        )


def _find(mail: QueuedMail, recipient: Recipient) -> QueuedRecipient | None:
    return next((queued for queued in mail.recipients if queued.recipient == recipient), None)
