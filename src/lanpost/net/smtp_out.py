"""Sends mails by SMTP straight to endpoints: the `Sender` of the decisions. It resolves no names.

Every failure is a DeliveryError whose text says what happened and where, or an outcome with the endpoint's words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from lanpost.errors import DeliveryError, WrongMachine
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome
from lanpost.model.endpoint import Endpoint, proof_of
from lanpost.model.envelope import Envelope
from lanpost.net.endpoint_pool import EndpointPool, PoolLimits
from lanpost.net.smtp_connection import Patience, SmtpConnection, Trust
from lanpost.service.ports import ContentReader
from lanpost.wire.smtp_client import SmtpClient, State
from lanpost.wire.smtp_client_login import Login

WHOLE = 64 * 1024  # octets up to which a complete mail goes out in one write with its envelope
MAX_STALE = 3  # kept connections found dead that one mail may meet

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """Connections and how long they are kept; how long endpoints may take."""

    pool: PoolLimits = field(default_factory=PoolLimits)
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are at every server that is sent to, and who vouches for its certificate."""

    login: Login
    trust: Trust


class SmtpSender:
    """Sends from one event loop. `hostname` is our name in EHLO: a name, or an address literal; never looked up."""

    def __init__(
        self,
        hostname: str,
        limits: SenderLimits | None = None,
        wrong_machine: Callable[[Endpoint, Sequence[MailAddress]], object] = lambda _endpoint, _addresses: None,
        told: Callable[[Sequence[Outcome]], object] = lambda _outcomes: None,
        account: Account | None = None,
    ) -> None:
        """`wrong_machine` is told of each attempt that met another machine than these addresses' terminal.

        `told` is given the outcomes of every other one that came to an end.
        """
        self._told = told
        self._account = account
        self._hostname = hostname
        self._wrong_machine = wrong_machine
        self._patience = (limits or SenderLimits()).patience
        self._pool = EndpointPool((limits or SenderLimits()).pool, self._open)

    @property
    def pool(self) -> EndpointPool:
        """For figures: connections open and idle, endpoints known."""
        return self._pool

    async def send(self, endpoint: Endpoint, envelope: Envelope, content: ContentReader) -> Sequence[Outcome]:
        """One attempt for all of the envelope's recipients; an outcome for each, in their order.

        The content goes on as it grows. Raises DeliveryError (temporary) where the connection failed before the
        endpoint had given its verdict; ContentAborted where `content` did: its end is not sent then, nor after
        a cancellation. A kept connection found dead before it has answered MAIL costs nothing: a new one is made.
        """
        whole: bytes | None = None
        for attempt in range(MAX_STALE + 1):
            try:
                connection = await self._pool.take(endpoint)
            except WrongMachine:
                self._wrong_machine(endpoint, [recipient.address for recipient in envelope.recipients])
                raise
            session = connection.session
            may_be_stale = connection.mails > 0 and attempt < MAX_STALE
            try:
                if whole is None and _is_small(content) and session.takes_whole(content.size_octets or 0):
                    whole = await _read_all(content)
                replies = await connection.transact(envelope, content, whole)
            except DeliveryError:
                if session.half_answered:
                    self._pool.distrust_pipelining(endpoint)
                self._pool.discard(connection)
                if not (may_be_stale and _never_answered(session)):
                    raise
                self._pool.discard_idle(endpoint)
                continue
            except BaseException:
                self._pool.discard(connection)
                raise
            self._pool.give_back(connection)
            if may_be_stale and _never_answered(session):
                continue  # 421 in place of an answer to MAIL: it had been idle too long for the endpoint
            reports = "DSN" in session.extensions
            outcomes = [
                Outcome.of(recipient, reply, endpoint, reports=reports)
                for recipient, reply in zip(envelope.recipients, replies, strict=True)
            ]
            self._told(outcomes)
            return outcomes
        raise AssertionError("the last attempt is never taken for stale")

    async def close(self) -> None:
        """Close idle connections politely, drop the others."""
        await self._pool.close()

    async def _open(self, endpoint: Endpoint, pipelining: bool) -> SmtpConnection:
        login, trust = (self._account.login, self._account.trust) if self._account else (None, None)
        session = SmtpClient(self._hostname, pipelining=pipelining, proof=proof_of(endpoint), login=login)
        connection = await SmtpConnection.open(endpoint, session, self._patience, trust)
        log.debug("connected", endpoint=str(endpoint), extensions=" ".join(session.extensions))
        return connection


def _never_answered(session: SmtpClient) -> bool:
    """The endpoint ended the session before it had answered this mail's MAIL."""
    return session.state is State.CLOSED and not session.mail_answered


def _is_small(content: ContentReader) -> bool:
    size = content.size_octets
    return size is not None and size <= WHOLE


async def _read_all(content: ContentReader) -> bytes:
    chunk = await content.read()
    if len(chunk) == content.size_octets:
        return chunk
    chunks = [chunk]
    while chunk:
        chunk = await content.read()
        chunks.append(chunk)
    return b"".join(chunks)
