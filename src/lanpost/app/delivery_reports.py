"""Writes delivery reports into the spool: they go the ordinary way of all mail from there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import structlog

from lanpost.content.reports import Action, Notice, Reporter, report
from lanpost.errors import StoreError
from lanpost.model.queued import QueuedMail, QueuedRecipient
from lanpost.service.ports import Clock, Spool

log = structlog.get_logger()


class DeliveryReports:
    """Reports to the senders of spooled mail."""

    def __init__(self, reporter: Reporter, spool: Spool, ids: Iterator[str], clock: Clock) -> None:
        self._reporter = reporter
        self._spool = spool
        self._ids = ids
        self._clock = clock

    async def write(self, mail: QueuedMail, notices: Sequence[Notice]) -> AsyncIterator[tuple[Action, QueuedMail]]:
        """Reports on `mail`, one for each action, to be delivered: each as soon as it is durable. StoreError."""
        for action in Action:
            about = [notice for notice in notices if notice.action is action]
            if about:
                yield action, await self._write(mail, action, about)

    async def _write(self, mail: QueuedMail, action: Action, notices: Sequence[Notice]) -> QueuedMail:
        report_id, now = next(self._ids), self._clock()

        def make(original: Iterator[bytes]) -> tuple[QueuedMail, tuple[bytes, ...]]:
            made = report(
                self._reporter, report_id, action, notices, mail.envelope, mail.arrived, mail.size, original, now
            )
            recipients = tuple(QueuedRecipient(recipient) for recipient in made.envelope.recipients)
            size = sum(map(len, made.content))
            return QueuedMail(report_id, made.envelope, now.timestamp(), size, recipients), made.content

        try:
            original = await asyncio.wrap_future(self._spool.content(mail.id))
            written, content = await asyncio.to_thread(make, original)
        except (KeyError, StoreError) as error:
            log.error("original cannot be returned", mail=mail.id, why=str(error))
            written, content = make(iter(()))
        await asyncio.wrap_future(self._spool.put(written, content))
        log.info(
            "report written",
            mail=mail.id,
            report=report_id,
            action=action.value,
            sender=str(mail.envelope.sender),
            about=[str(notice.recipient.address) for notice in notices],
        )
        return written
