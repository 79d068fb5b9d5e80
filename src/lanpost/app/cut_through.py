"""Cut-through: a mail handed on to its endpoints while it is still coming in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from lanpost.app.growing_content import GrowingContent, Reader
from lanpost.errors import DeliveryError
from lanpost.model.delivery import Outcome, Route
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.reply import Reply
from lanpost.service.delivery import outcomes_of
from lanpost.service.ports import Sender

log = structlog.get_logger()

MAX_ENDPOINTS = 20  # at once for one mail; the recipients of further ones get theirs from the spool
NO_VERDICT = Reply(451, "4.3.0", "the attempt ended without a verdict")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One endpoint being handed the mail, for those recipients who are bound there."""

    endpoint: Endpoint
    recipients: Sequence[Recipient]
    reader: Reader
    task: asyncio.Task[Sequence[Outcome]]

    def outcomes(self) -> Sequence[Outcome]:
        """What an attempt that is over means: one for each recipient; whatever ended it oddly is temporary."""
        if self.task.cancelled():
            return self._all(Reply(451, "4.3.2", "the attempt was broken off"))
        error = self.task.exception()
        if isinstance(error, DeliveryError):
            return outcomes_of(error, self.recipients, self.endpoint)
        if error is not None:
            log.error("attempt failed unexpectedly", endpoint=str(self.endpoint), exc_info=error)
            return self._all(Reply(451, "4.3.0", f"internal error: {type(error).__name__}"))
        outcomes = self.task.result()
        if len(outcomes) == len(self.recipients):
            return outcomes
        # A sender's bug, and no reason to leave a recipient without an outcome: he would be waited for for ever.
        log.error("attempt told of other recipients than it was for", endpoint=str(self.endpoint))
        told = {outcome.recipient: outcome for outcome in outcomes}
        return [told.get(outcome.recipient, outcome) for outcome in self._all(NO_VERDICT)]

    def give_up(self) -> None:
        """Drop the connection; how the attempt ends interests nobody any more."""
        self.task.cancel()
        self.task.add_done_callback(_retrieve)

    def given_up_for(self, seconds: float) -> Sequence[Outcome]:
        """Given up because it had not begun within the time that the sender can be kept waiting."""
        self.give_up()
        return self._all(Reply(450, "4.4.1", f"{self.endpoint} was not ready within {seconds:g} s"))

    def when_over(self, told: Callable[[Attempt], object]) -> None:
        self.task.add_done_callback(lambda _: told(self))

    def _all(self, said: Reply) -> list[Outcome]:
        return [Outcome.of(recipient, said, self.endpoint) for recipient in self.recipients]


class CutThrough:
    """The attempts made for one mail while it comes in."""

    __slots__ = ("_attempts", "_sender", "_timeout")

    def __init__(self, sender: Sender, timeout_seconds: float) -> None:
        self._sender = sender
        self._timeout = timeout_seconds
        self._attempts: list[Attempt] = []

    def start(self, envelope: Envelope, content: GrowingContent, routes: Iterable[tuple[Recipient, Route]]) -> None:
        """Begin an attempt for each endpoint that the routes lead to; they follow the content as it grows."""
        by_endpoint: dict[Endpoint, list[Recipient]] = {}
        for recipient, route in routes:
            # A success report is the queue's work: it knows what the endpoint promised to report itself.
            if route.endpoint is not None and "SUCCESS" not in recipient.notify:
                by_endpoint.setdefault(route.endpoint, []).append(recipient)
        for endpoint, recipients in by_endpoint.items():
            if len(self._attempts) == MAX_ENDPOINTS:
                break
            reader = content.reader()
            whole = len(recipients) == len(envelope.recipients)
            part = envelope if whole else replace(envelope, recipients=tuple(recipients))
            task = asyncio.ensure_future(self._sender.send(endpoint, part, reader))
            self._attempts.append(Attempt(endpoint, recipients, reader, task))

    async def settled_or_timeout(self) -> None:
        """Until every attempt is over, or the sender has been kept waiting long enough."""
        left = sum(not attempt.task.done() for attempt in self._attempts)
        if not left:
            return
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def note(_attempt: object = None) -> None:
            nonlocal left
            left -= 1
            if not left and not over.done():
                over.set_result(None)

        def time_is_up() -> None:
            if not over.done():
                over.set_result(None)

        for attempt in self._attempts:
            if not attempt.task.done():
                attempt.when_over(note)
        timer = loop.call_later(self._timeout, time_is_up)
        try:
            await over
        finally:
            timer.cancel()

    def reckon(self) -> tuple[list[Outcome], list[Attempt]]:
        """The outcomes so far, and the attempts that go on although the sender is not kept waiting for them."""
        outcomes: list[Outcome] = []
        late: list[Attempt] = []
        for attempt in self._attempts:
            if attempt.task.done():
                outcomes += attempt.outcomes()
            elif attempt.reader.started:
                late.append(attempt)
            else:
                # Not one octet of the content has gone there, so ending it now cannot make a second copy.
                outcomes += attempt.given_up_for(self._timeout)
        return outcomes, late

    def cancel(self) -> None:
        """Nobody gets this mail: connections are dropped before its end."""
        for attempt in self._attempts:
            attempt.give_up()


def _retrieve(task: asyncio.Task[Sequence[Outcome]]) -> None:
    """asyncio wants a failure to be seen, also one that no longer matters."""
    if not task.cancelled():
        task.exception()
