"""Waits for what comes back to a fax's sender: in its mailbox, or in the Maildir of the terminal that it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from lanpost.app.fax_trust import trust_of
from lanpost.app.settings import Settings
from lanpost.content.fax.receipt import Receipt, receipts
from lanpost.errors import ConfigurationError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.net.pop3_client import MailboxUnreachable, Pop3Mailbox

PAUSE = 0.3  # seconds to the first further look; it grows to MAX_PAUSE
MAX_PAUSE = 5.0
CLOCKS = timedelta(minutes=5)  # by how much a mail's file may seem older than the fax


class Mails(Protocol):
    """Where receipts arrive."""

    def new_mails(self) -> list[bytes]:
        """What has come since the last call."""


class Maildir:
    """A Maildir on this machine; mails in it are left as they are."""

    def __init__(self, folder: Path, since: datetime) -> None:
        self._folder = folder
        self._since = (since - CLOCKS).timestamp()
        self._seen: set[str] = set()

    def new_mails(self) -> list[bytes]:
        found = []
        for file in [*self._folder.glob("new/*"), *self._folder.glob("cur/*")]:
            name = file.name.partition(":")[0]
            try:
                if name in self._seen or file.stat().st_mtime < self._since:
                    continue
                found.append(file.read_bytes())
            except OSError:  # taken away or renamed meanwhile
                continue
            self._seen.add(name)
        return found


def mails_of(settings: Settings, user: str, pop3: str, password: str, now: datetime) -> Mails:
    """Where the sender's receipts arrive; `user` is its name there. ConfigurationError: nobody has said."""
    endpoint = pop3 or settings.fax.pop3
    if endpoint:
        return Pop3Mailbox(Endpoint.parse(endpoint, 110), user, password, trust_of(settings))
    if settings.agent.receive:
        return Maildir(settings.data / settings.agent.receive, now)
    raise ConfigurationError(
        f"--receipt: nobody has said where {user} gets its mail; give --pop3 HOST:PORT, or set fax.pop3 and"
        " fax.password_file"
    )


async def wait_for_receipts(
    mails: Mails,
    recipients: Sequence[MailAddress],
    ids: tuple[str, str],
    seconds: float,
    told: Callable[[Receipt], object],
) -> bool:
    """Tell of each receipt for the fax of that ENVID and Message-ID as it comes. False: time is up before all have.

    Raises MailboxUnreachable where looking again will not help.
    """
    missing = list(recipients)
    try:
        async with asyncio.timeout(seconds):
            pause = PAUSE
            while missing:
                try:
                    found = await asyncio.to_thread(mails.new_mails)
                except MailboxUnreachable as error:
                    if error.for_good:
                        raise
                    found = []
                for receipt in (each for mail in found for each in receipts(mail, *ids)):
                    told(receipt)
                    if receipt.final:
                        missing = [each for each in missing if not receipt.is_of(each)]
                if missing:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, MAX_PAUSE)
    except TimeoutError:
        return False
    return True
