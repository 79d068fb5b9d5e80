"""Who was given mail, noted while it flows and written down now and then: no mail waits for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from lanpost.errors import StoreError
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome, Verdict
from lanpost.model.endpoint import Endpoint
from lanpost.model.last_delivery import LastDelivery
from lanpost.store.last_deliveries import LastDeliveries

WRITE_SECONDS = 2.0  # from one writing to the next
MAX_NOTED = 100_000  # terminals in between; the last of further ones are not written down

log = structlog.get_logger()


class DeliveryRecord:
    """`note` what a sender has achieved; `run` writes it down until cancelled, `close` what is left."""

    def __init__(self, data: Path, relay: Callable[[], Endpoint | None]) -> None:
        """`relay`: the smarthost now; who gets mail by way of it is no terminal."""
        self._relay = relay
        self._store: LastDeliveries | None = None
        self._noted: dict[MailAddress, tuple[Endpoint, float]] = {}
        self._failing = False
        try:
            self._store = LastDeliveries(data)
        except StoreError as error:
            log.warning("last deliveries not written down", reason=str(error))

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Asked for every mail: a dictionary's work."""
        noted, relay, at = self._noted, self._relay(), time.time()
        for outcome in outcomes:
            if outcome.verdict is Verdict.DELIVERED and outcome.endpoint not in (None, relay):
                address = outcome.recipient.address
                assert outcome.endpoint is not None
                if address in noted or len(noted) < MAX_NOTED:
                    noted[address] = outcome.endpoint, at

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            if self._noted:
                await asyncio.to_thread(self._write, self._taken())

    async def close(self) -> None:
        """Write down what is left, and let go of the file."""
        await asyncio.to_thread(self._write, self._taken())
        if self._store is not None:
            self._store.close()

    def _taken(self) -> list[LastDelivery]:
        noted, self._noted = self._noted, {}
        return [
            LastDelivery(address, endpoint, datetime.fromtimestamp(at, UTC))
            for address, (endpoint, at) in noted.items()
        ]

    def _write(self, deliveries: Sequence[LastDelivery]) -> None:
        if not deliveries or self._store is None:
            return
        try:
            self._store.put(deliveries)
            self._failing = False
        except StoreError as error:
            if not self._failing:  # said once: nothing depends on it
                log.warning("last deliveries not written down", reason=str(error))
            self._failing = True
