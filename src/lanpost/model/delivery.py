"""One attempt and its outcome, temporary or permanent; decided where the failure is seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Recipient
from lanpost.model.reply import Reply


class Way(StrEnum):
    """The answers an inquiry can have; the words `lanpost lookup` prints."""

    ENDPOINT = "endpoint"  # a live binding
    MAILBOX = "mailbox"  # a person's mailbox here
    HOLD = "hold"  # a known terminal without a live binding
    RELAY = "relay"  # outside, by way of the smarthost
    UNKNOWN = "unknown"
    UNANSWERED = "unanswered"  # the chart could not be asked


@dataclass(frozen=True, slots=True)
class Route:
    """Which way one recipient's mail goes."""

    address: MailAddress
    way: Way
    endpoint: Endpoint | None = None  # for ENDPOINT and RELAY
    mailbox: MailAddress | None = None  # for MAILBOX; for UNANSWERED the fallback mailbox, if any
    binding: Binding | None = None  # also an expired one, for HOLD
    instead: MailAddress | None = None  # the terminal's own address, where the recipient's names it by a fax number
    terminal: MailAddress | None = None  # that a fax number leads to: its registration brings the mail on
    refusal: Reply | None = None  # why UNKNOWN (or an UNANSWERED stranger) is refused at RCPT


class Verdict(StrEnum):
    DELIVERED = "delivered"
    DEFERRED = "deferred"  # try again later
    FAILED = "failed"  # never again: report it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient in one attempt."""

    recipient: Recipient
    verdict: Verdict
    reply: Reply  # the endpoint's words, or ours where it said none
    endpoint: Endpoint | None = None
    reports: bool = False  # it offers DSN, so what is to be reported from there on is its duty (RFC 3461 §5.2.2)

    @staticmethod
    def of(
        recipient: Recipient, reply: Reply, endpoint: Endpoint | None = None, *, reports: bool = False
    ) -> Outcome:
        """The outcome that a final reply means (RFC 5321 §4.2.1)."""
        if reply.is_positive:
            verdict = Verdict.DELIVERED
        elif reply.is_permanent:
            verdict = Verdict.FAILED
        else:
            verdict = Verdict.DEFERRED
        return Outcome(recipient, verdict, reply, endpoint, reports)
