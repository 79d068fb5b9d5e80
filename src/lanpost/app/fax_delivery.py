"""Brings a prepared fax to the mail server, or to the machines themselves, and these again where they are busy."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lanpost.app.fax_trust import trust_of
from lanpost.app.inquiry import look_up
from lanpost.app.settings import Settings
from lanpost.errors import DeliveryError
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome, Verdict, Way
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.networks import is_within
from lanpost.model.reply import Reply
from lanpost.net.smtp_connection import Trust
from lanpost.net.smtp_out import Account, SmtpSender
from lanpost.service.delivery import outcomes_of
from lanpost.service.ports import ContentReader
from lanpost.wire.smtp_client_login import Login

Progress = Callable[[str, int, int], object]  # what is being done, how much of it is, and how much there is


class Fax(Protocol):
    """What is sent: its mail, as often as it is wanted."""

    def envelope(self, recipients: Sequence[MailAddress]) -> Envelope: ...

    def content(self, progress: Progress) -> ContentReader: ...


@dataclass(frozen=True, slots=True)
class FaxWay:
    """How faxes leave. `via` None: straight to each machine, tried `retries` times more while it is busy."""

    via: Endpoint | None
    account: Account | None = None  # at `via`
    retries: int = 0
    pause: float = 60.0  # seconds between two tries


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the last of `tries` came to, for one recipient."""

    address: MailAddress
    outcome: Outcome
    tries: int = 1


def account_of(settings: Settings, server: Endpoint, user: str, password: str) -> Account:
    """A login there. TLS is needed but where this host's configuration lets passwords go in the clear.

    Raises ConfigurationError for a file of authorities that cannot be read.
    """
    trust = trust_of(settings)
    in_clear = trust is None and is_within(server.host, settings.authentication.networks_without_tls)
    known = Trust(trust or ssl.create_default_context(), "name its authority in fax.ca_file")
    return Account(Login(user, password, needs_tls=not in_clear), known)


async def deliver(
    settings: Settings,
    fax: Fax,
    recipients: Sequence[MailAddress],
    way: FaxWay,
    progress: Progress,
    waiting: Callable[[Attempt], object] = lambda _: None,
) -> Sequence[Attempt]:
    """One attempt for each recipient, in their order; `waiting` is told of each that is to be tried again."""
    sender = SmtpSender(settings.hostname or socket.gethostname(), account=way.account)
    last: dict[MailAddress, Attempt] = {}
    try:
        for left in range(way.retries if way.via is None else 0, -1, -1):
            pending = [each for each in recipients if each not in last or _may_pass(last[each])]
            for attempt in await _once(settings, fax, pending, way.via, sender, progress):
                tries = last[attempt.address].tries + 1 if attempt.address in last else 1
                last[attempt.address] = replace(attempt, tries=tries)
            busy = [last[each] for each in pending if _may_pass(last[each])]
            if not left or not busy:
                break
            for attempt in busy:
                waiting(attempt)
            await asyncio.sleep(way.pause)
    finally:
        await sender.close()
    return [last[each] for each in recipients]


def _may_pass(attempt: Attempt) -> bool:
    return attempt.outcome.verdict is Verdict.DEFERRED


async def _once(
    settings: Settings,
    fax: Fax,
    recipients: Sequence[MailAddress],
    via: Endpoint | None,
    sender: SmtpSender,
    progress: Progress,
) -> Sequence[Attempt]:
    """To each machine where it is now; to the mail server in one mail for all."""
    ways: dict[Endpoint, list[tuple[MailAddress, MailAddress]]] = {}  # with the address as the machine knows it
    attempts: list[Attempt] = []
    for address in recipients:
        if via is not None:
            ways.setdefault(via, []).append((address, address))
            continue
        route = await look_up(settings, str(address))
        if route.way is Way.ENDPOINT and route.endpoint is not None:
            ways.setdefault(route.endpoint, []).append((address, route.instead or address))
        else:
            said = route.refusal or Reply(450, "4.4.1", f"No machine can be reached for it now ({route.way})")
            attempts.append(Attempt(address, Outcome.of(Recipient(address), said)))
    for endpoint, pairs in ways.items():
        envelope = fax.envelope([known for _, known in pairs])
        try:
            found = await sender.send(endpoint, envelope, fax.content(progress))
        except DeliveryError as error:
            found = outcomes_of(error, envelope.recipients, endpoint)
        attempts += [Attempt(address, outcome) for (address, _), outcome in zip(pairs, found, strict=True)]
    return attempts
