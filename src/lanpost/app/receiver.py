"""Mail taken on the terminal itself, into a Maildir, by the same SMTP server core as the mail server's."""

from __future__ import annotations

from typing import Protocol

from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError
from lanpost.model.address import MailAddress


class Receiver(Protocol):
    """A running receiver."""

    async def stop(self) -> None:
        """Let clients finish, and stop."""


async def start_receiver(settings: Settings, address: MailAddress) -> Receiver:
    """Take mail for `address` into the Maildir that `[agent] receive` names. Raises ConfigurationError."""
    raise ConfigurationError(
        f"{settings.file}: agent.receive = {settings.agent.receive!r}: mail for {address} cannot be taken here "
        "yet; leave it empty and let other software listen"
    )
