"""The shell of the SMTP server session: a listener's connection on one side, an `Intake` on the other.

It moves bytes, keeps time and holds back whoever is too fast. It knows no rule of the protocol (the session does)
and no route (the intake does). There is a task only while the intake is asked; a connection that waits for its
client has none. A client that vanishes raises nothing: its mail is aborted.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from concurrent.futures import Future
from dataclasses import dataclass, field

import structlog

from lanpost.errors import ChartUnavailable, StoreFull
from lanpost.model.envelope import Client, Envelope, Recipient
from lanpost.model.networks import Network, is_within
from lanpost.model.reply import (
    LOCAL_ERROR,
    SENDER_OK,
    SHUTTING_DOWN,
    START_CONTENT,
    STORAGE_FULL,
    UNANSWERED,
    Reply,
)
from lanpost.net.listener import Connection, Listener
from lanpost.net.login_delays import LoginDelays
from lanpost.service.ports import Intake, MailTransaction
from lanpost.wire.smtp_events import Event, Refused, Signal, SmtpTerms
from lanpost.wire.smtp_login import Credentials
from lanpost.wire.smtp_moves import State
from lanpost.wire.smtp_server import SmtpServer

MAX_PENDING = 65_536  # octets of pipelined commands kept while the intake thinks; then we stop reading
LINGER_SECONDS = 30.0  # for a client that does not read our last words
HANDSHAKE_SECONDS = 30.0

REFUSAL = b"421 4.7.0 Too many connections, try again later\r\n"
TIMED_OUT = Reply(421, "4.4.2", "Timed out waiting for you")
MAIL_TIMED_OUT = Reply(421, "4.4.2", "This mail took too long")
READY_FOR_TLS = Reply(220, "2.0.0", "Ready to start TLS")
NO_TLS_NOW = Reply(454, "4.7.0", "TLS not available now")
NO_TRANSACTION = Reply(451, "4.3.0", "This mail was given up, try again later")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SmtpService:
    """One SMTP service; what a Listener takes as its `serve`. Times in seconds."""

    intake: Intake
    terms: SmtpTerms
    command_timeout: float = 300.0  # for a command, or for the next part of the content (RFC 5321 §4.5.3.2.7)
    mail_timeout: float = 1800.0  # from MAIL to the end of the content
    greeting_delay: float = 0.0  # who speaks within it is sent away
    networks_without_tls: tuple[Network, ...] = ()  # whence a password may come in the clear
    delays: LoginDelays = field(default_factory=LoginDelays)  # after wrong passwords; several services may share it

    def __call__(self, listener: Listener) -> SmtpConnection:
        return SmtpConnection(listener, self)


class SmtpConnection(Connection):
    """One client. See the module's text."""

    # fmt: off
    __slots__ = (
        "_blocked_by_client", "_blocked_by_disk", "_client", "_deadline", "_failure", "_finishing", "_gone",
        "_half_closed", "_leaving", "_loop", "_mail_deadline", "_reading_paused", "_service", "_session", "_task",
        "_timer", "_timer_due", "_tls", "_transaction", "_upgrade",
    )
    # fmt: on

    def __init__(self, listener: Listener, service: SmtpService) -> None:
        super().__init__(listener)
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._session: SmtpServer
        self._client: Client | None = None  # as of the last MAIL
        self._tls = ""
        self._task: asyncio.Task[None] | None = None  # while the intake is asked
        self._transaction: MailTransaction | None = None
        self._failure: Reply | None = None  # what became of the content in the intake
        self._finishing = False
        self._upgrade: list[bytes] | None = None  # what comes over TLS before we know that the handshake is done
        self._blocked_by_disk = False
        self._blocked_by_client = False  # it does not read our replies
        self._reading_paused = False
        self._leaving = False
        self._half_closed = False
        self._gone = False
        self._deadline = 0.0  # loop time: a command, or more content, is due
        self._mail_deadline = float("inf")
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    # From the transport -----------------------------------------------------------------------

    def opened(self) -> None:
        service = self._service
        self._session = SmtpServer(
            service.terms,
            tls_available=self.listener.tls is not None,
            login_in_clear=is_within(self.client_host, service.networks_without_tls),
        )
        log.debug("connected", client=self.client_host, service=self.listener.name)
        self._deadline = self._loop.time() + service.command_timeout
        if service.greeting_delay:
            self._arm(self._loop.time() + service.greeting_delay)
        else:
            self._session.greet()
            self._await_client()
            self._arm(self._deadline)

    def data_received(self, data: bytes) -> None:
        if self._upgrade is not None:
            self._upgrade.append(data)
            return
        self._session.receive_data(data)
        if self._task is None:
            self._advance()
        elif self._session.pending > MAX_PENDING:
            self._pause_reading()

    def eof_received(self) -> bool:
        """A client may send everything, close its side, and still want the answers."""
        self._half_closed = True
        return (self._task is not None or self._is_blocked) and not self._tls

    def pause_writing(self) -> None:
        self._blocked_by_client = True
        self._pause_reading()

    def resume_writing(self) -> None:
        self._blocked_by_client = False
        if self._task is None:
            self._advance()

    def closed(self, exc: Exception | None) -> None:
        if self._gone:
            return
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is None:
            self._abandon()
        elif not self._finishing:  # a whole mail is worth finishing; the client will send it again at worst
            self._task.cancel()
        log.debug("disconnected", client=self.client_host, service=self.listener.name, reason=exc and str(exc))

    def leave(self) -> None:
        self._leaving = True
        if self._task is None and not self._gone:
            self._await_client()

    # Between session and intake ---------------------------------------------------------------

    @property
    def _is_blocked(self) -> bool:
        return self._blocked_by_disk or self._blocked_by_client

    def _advance(self) -> None:
        """Take events as far as nobody has to be waited for."""
        event = self._next_question()
        if event is None:
            self._await_client()
        else:
            self._task = self._loop.create_task(self._answer(event))

    def _next_question(self) -> Event | None:
        """The next event that the intake has to answer; the others are dealt with."""
        session = self._session
        while not (self._blocked_by_disk or self._blocked_by_client):
            event = session.next_event()
            if type(event) is bytes:
                self._take_content(event)
            elif event is Signal.RESET or type(event) is Refused:
                self._abandon()
            elif type(event) is Envelope or event is Signal.START_CONTENT:
                self._answer_with(self._decide_at_once(event))
            else:
                return event
        return None

    async def _answer(self, event: Event | None) -> None:
        """Answer an event, and all those that are already there behind it."""
        try:
            while event is not None and not self._gone:
                if event is Signal.START_TLS:
                    await self._start_tls()
                else:
                    self._answer_with(await self._decide(event))
                event = self._next_question()
        except Exception:
            log.exception("connection dropped", client=self.client_host)
            self.transport.abort()
        finally:
            self._task = None
            if self._gone:
                self._abandon()
        if not self._gone:
            self._await_client()

    def _answer_with(self, reply: Reply) -> None:
        session = self._session
        session.answer(reply)
        if session.complaint is reply:
            session.complaint = None  # logged where it was decided

    def _await_client(self) -> None:
        """Send what is to be sent; it is the client's turn now, or the end."""
        session = self._session
        if self._leaving and session.is_idle:
            session.close(SHUTTING_DOWN)
        replies = session.data_to_send()
        if replies:
            self.transport.write(replies)
        if session.complaint is not None:
            log.info("client refused", client=self.client_host, hello=session.hello, reply=str(session.complaint))
            session.complaint = None
        if session.state is State.CLOSED or (self._half_closed and not self._is_blocked):
            self._part()
            return
        if replies or session.receives_content:
            self._deadline = self._loop.time() + self._service.command_timeout
        if self._reading_paused and not self._is_blocked:
            self._reading_paused = False
            self.transport.resume_reading()

    def _decide_at_once(self, event: Event) -> Reply:
        """Ask the intake what it answers without waiting for anybody: no task is made for that."""
        try:
            if isinstance(event, Envelope):
                return self._begin(event)
            transaction = self._transaction
            if transaction is None:
                return self._failure or NO_TRANSACTION
            refusal = transaction.start_content()
            if refusal is not None:
                self._abandon()
                self._log_refusal(refusal)
            return refusal or START_CONTENT
        except Exception as exc:
            return self._failed(exc)

    async def _decide(self, event: Event) -> Reply:
        """Ask the intake. Whatever goes wrong there is a temporary failure to the client."""
        try:
            if isinstance(event, Credentials):
                return await self._authenticate(event)
            transaction = self._transaction
            if transaction is None:
                return self._failure or NO_TRANSACTION
            if isinstance(event, Recipient):
                return await transaction.add_recipient(event)
            return await self._finish(transaction)
        except Exception as exc:
            return self._failed(exc)

    def _begin(self, envelope: Envelope) -> Reply:
        outcome = self._service.intake.begin(self._describe_client(), envelope)
        if isinstance(outcome, Reply):
            self._log_refusal(outcome, sender=str(envelope.sender or ""))
            return outcome
        self._transaction = outcome
        self._failure = None
        self._mail_deadline = self._loop.time() + self._service.mail_timeout
        if self._mail_deadline < self._timer_due:
            self._arm(self._mail_deadline)
        return SENDER_OK

    def _take_content(self, chunk: bytes) -> None:
        if self._transaction is None:
            return  # it failed; the end is answered so
        try:
            stored = self._transaction.write(chunk)
        except Exception as exc:
            self._failure = self._failed(exc)
            self._abandon()
            return
        if stored is not None and not stored.done():
            self._blocked_by_disk = True
            self._pause_reading()
            stored.add_done_callback(self._stored)

    def _stored(self, _stored: Future[None]) -> None:
        """In the disk's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._unblock_disk)

    def _unblock_disk(self) -> None:
        self._blocked_by_disk = False
        if self._task is None and not self._gone:
            self._advance()

    async def _finish(self, transaction: MailTransaction) -> Reply:
        self._transaction = None
        self._mail_deadline = float("inf")
        self._finishing = True
        try:
            return await transaction.finish()
        finally:
            self._finishing = False

    def _abandon(self) -> None:
        transaction, self._transaction = self._transaction, None
        self._mail_deadline = float("inf")
        if transaction is not None:
            try:
                transaction.abort()
            except Exception:
                log.exception("mail could not be aborted", client=self.client_host)

    async def _authenticate(self, credentials: Credentials) -> Reply:
        client = self._describe_client()
        reply = await self._service.intake.authenticate(client, credentials.login, credentials.password)
        if reply.is_positive:
            self._service.delays.succeeded(self.client_host)
            return reply
        log.info("login refused", client=self.client_host, login=credentials.login, reply=str(reply))
        if reply.is_permanent:
            await asyncio.sleep(self._service.delays.failed(self.client_host, self._loop.time()))
        return reply

    async def _start_tls(self) -> None:
        context = self.listener.tls
        self._session.answer(READY_FOR_TLS if context else NO_TLS_NOW)
        if context is None or self._session.state is not State.TLS:
            return
        self._upgrade = []
        self.transport.write(self._session.data_to_send())
        try:
            transport = await self._loop.start_tls(
                self.transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError as exc:  # ssl.SSLError and TimeoutError are such
            log.info("no TLS", client=self.client_host, reason=str(exc) or type(exc).__name__)
            transport = None
        if transport is None:
            self.transport.abort()
            if not self._gone:
                # Neither loop tells a protocol of a connection reset during the handshake: it would count for ever.
                self.connection_lost(None)
            return
        self.transport = transport
        # What the plain transport said of its buffers, this one never takes back.
        self._blocked_by_client = self._reading_paused = False
        self._tls = _described(transport.get_extra_info("ssl_object"))
        self._client = None
        self._session.tls_started()
        early, self._upgrade = self._upgrade, None
        for data in early:
            self._session.receive_data(data)

    def _describe_client(self) -> Client:
        session, client = self._session, self._client
        if client is None or client.hello is not session.hello or client.login is not session.login:
            client = self._client = Client(
                host=self.client_host,
                port=self.client_port,
                local_host=self.local_host(),
                submission=self._service.terms.submission,
                hello=session.hello,
                extended=session.extended,
                tls=self._tls,
                login=session.login,
            )
        return client

    def _failed(self, exc: Exception) -> Reply:
        if isinstance(exc, StoreFull):
            log.warning("no room for mail", client=self.client_host, reason=str(exc))
            return STORAGE_FULL
        if isinstance(exc, ChartUnavailable):
            return UNANSWERED
        log.error("mail could not be taken", client=self.client_host, exc_info=exc)
        return LOCAL_ERROR

    def _log_refusal(self, reply: Reply, **about: str) -> None:
        log.info("mail refused", client=self.client_host, hello=self._session.hello, reply=str(reply), **about)

    # Time and flow ----------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._check_time)

    def _check_time(self) -> None:
        """The one timer of a connection: late or early, it looks at what is really due."""
        if self._session.state is State.CONNECTED:
            self._session.greet()
            self._await_client()
        now = self._loop.time()
        if self._task is not None or self._blocked_by_disk:
            self._arm(now + self._service.command_timeout)  # the client waits for us
        elif now >= (due := min(self._deadline, self._mail_deadline)):
            self._session.close(TIMED_OUT if now >= self._deadline else MAIL_TIMED_OUT)
            self._await_client()
        else:
            self._arm(due)

    def _part(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(LINGER_SECONDS, self.transport.abort)


def _described(tls: ssl.SSLObject) -> str:
    cipher = tls.cipher()
    return f"{tls.version()} {cipher[0] if cipher else ''}".strip()
