"""One SMTP connection to an endpoint: the client session on a transport, with its time limits.

One mail at a time; whoever uses it awaits `transact`. Raises DeliveryError, always temporary: what an endpoint
refuses for good is a reply, and replies are returned.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from lanpost.errors import DeliveryError, WrongMachine
from lanpost.model.endpoint import Endpoint, proof_of
from lanpost.model.envelope import Envelope
from lanpost.model.proof import Proof
from lanpost.model.reply import Reply
from lanpost.net.dial import dial
from lanpost.service.ports import ContentReader
from lanpost.wire.smtp_client import SmtpClient, State
from lanpost.wire.smtp_client_events import Closed, ContentWanted, Event, MailDone, Ready, StartTls

UNSENT = 256 * 1024  # octets that wait for the endpoint to take them before the content must wait too
GOODBYE_SECONDS = 2.0  # for the endpoint to close after QUIT


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint may take, in seconds (RFC 5321 §4.5.3.2)."""

    connect: float = 10.0
    reply: float = 300.0  # greeting, EHLO, each of MAIL and RCPT, DATA
    verdict: float = 600.0  # after the end of data
    progress: float = 180.0  # without taking any of the content
    content: float = 3600.0  # for all of the content, however little it takes at a time


@dataclass(frozen=True, slots=True)
class Trust:
    """Who vouches for a server's certificate; `remedy` says to people how to name somebody who does."""

    authorities: ssl.SSLContext
    remedy: str


class SmtpConnection(asyncio.Protocol):
    """Made by `open`. `on_change` is for when nobody uses it: something was received, or it is lost."""

    __slots__ = (
        "_began",
        "_closed",
        "_deadline",
        "_event",
        "_leaving",
        "_loop",
        "_lost",
        "_patience",
        "_room",
        "_seconds",
        "_timer",
        "_timer_at",
        "_unsent",
        "_waiter",
        "endpoint",
        "idle_since",
        "mails",
        "on_change",
        "session",
        "transport",
    )

    def __init__(self, endpoint: Endpoint, session: SmtpClient, patience: Patience) -> None:
        self.endpoint = endpoint
        self.session = session
        self.mails = 0  # handed over on this connection, whatever became of them
        self.idle_since = 0.0
        self.on_change: Callable[[SmtpConnection], object] | None = None
        self.transport: asyncio.Transport
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._event: Event | None = None  # reached while nobody waited
        self._waiter: asyncio.Future[Event] | None = None
        self._room: asyncio.Future[None] | None = None  # done when more content may be written
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._seconds = 0.0  # from one sign of life to the next
        self._unsent = 0  # octets at the time of the deadline's setting
        self._began = 0.0  # loop time of the mail under way
        self._leaving = False
        self._lost = False

    @staticmethod
    async def open(
        endpoint: Endpoint, session: SmtpClient, patience: Patience, trust: Trust | None = None
    ) -> SmtpConnection:
        """Connect, and take the greeting and the answer to EHLO, and log in where that is wanted. Ready for mail.

        `trust`: who vouches for the endpoint's certificate where no terminal has to prove who it is.
        """
        socket = await dial(endpoint, patience.connect)
        connection = SmtpConnection(endpoint, session, patience)
        try:
            # The socket is connected: the loop is given no address to look at.
            await connection._loop.create_connection(lambda: connection, sock=socket)
            await connection._welcomed(trust)
        except BaseException:
            connection.drop()
            if not hasattr(connection, "transport"):
                socket.close()
            raise
        return connection

    async def _welcomed(self, trust: Trust | None) -> None:
        event = await self._next(self._patience.reply)
        if isinstance(event, StartTls):
            await self._start_tls(trust)
            event = await self._next(self._patience.reply)
        if not isinstance(event, Ready):
            raise self._failure(event)

    async def _start_tls(self, trust: Trust | None) -> None:
        """Nothing of a mail is said before the peer has shown the certificate that its terminal is known by.

        Without such a terminal: one that `trust` vouches for, for the very IP address that was connected.
        """
        wanted = proof_of(self.endpoint)
        vouched = trust if wanted is None else None
        try:
            transport = await self._loop.start_tls(
                self.transport,
                self,
                vouched.authorities if vouched else _any_certificate(),
                server_hostname=self.endpoint.host if vouched else None,
                ssl_handshake_timeout=self._patience.connect,
            )
        except ssl.SSLCertVerificationError as error:
            text = f"{self.endpoint} shows a certificate that nobody vouches for ({error.verify_message})"
            remedy = f"; {vouched.remedy}" if vouched else ""
            raise DeliveryError(text + remedy, permanent=False, status="4.7.5") from None
        except OSError as error:  # ssl.SSLError and TimeoutError are such
            text = f"{self.endpoint}: no TLS: {error.strerror or error or 'no answer'}"
            raise DeliveryError(text, permanent=False, status="4.7.5") from None
        if transport is None:
            raise self._failure(None)
        self.transport = transport
        transport.set_write_buffer_limits(high=UNSENT)
        if vouched is None:
            self._prove(transport, wanted)
        self.session.tls_started()
        self._pump()

    def _prove(self, transport: asyncio.Transport, wanted: Proof | None) -> None:
        shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
        digest = hashlib.sha256(shown).hexdigest()
        if wanted is None or digest != wanted.value:
            raise WrongMachine(
                f"{self.endpoint} shows another certificate ({digest[:16]}...): it is not the terminal that is "
                "bound there"
            )

    # ---- what its user does

    async def transact(
        self, envelope: Envelope, content: ContentReader, whole: bytes | None = None
    ) -> Sequence[Reply]:
        """Hand over one mail: a verdict for each recipient, in their order.

        `whole` is the content where it has been read already. ContentAborted comes through. After any exception
        the connection must be dropped.
        """
        session = self.session
        if session.state is State.CLOSED:
            raise self._failure(self._event)
        self._event = None
        self.mails += 1
        self._began = self._loop.time()
        session.begin(envelope, whole, content.size_octets if whole is None else len(whole))
        self._pump()
        event = await self._next(self._patience.verdict if session.whole else self._patience.reply)
        if isinstance(event, ContentWanted):
            if whole is None:
                await self._pass_on(content)
            else:
                await self._write(whole)
            if session.state is State.CONTENT:
                session.end()
                self._pump()
            event = await self._next(self._patience.verdict)
        if isinstance(event, MailDone):
            return event.replies
        raise self._failure(event)

    def leave(self) -> None:
        """Say goodbye and close, in the background. Only between mails."""
        self._leaving = True
        self.session.quit()
        self._pump()
        self._cancel_timer()
        self._timer = self._loop.call_later(GOODBYE_SECONDS, self.drop)

    def watch_reset(self) -> None:
        """Nobody awaits the answer to RSET: drop the connection if there is none in time."""
        self._set_deadline(self._patience.reply)

    async def gone(self) -> None:
        """Until the transport is closed."""
        await self._closed

    def drop(self) -> None:
        """Close at once; what is unsent stays so, and a mail under way does not get its end."""
        self._cancel_timer()
        if hasattr(self, "transport"):
            self.transport.abort()

    # ---- events and time

    async def _next(self, seconds: float) -> Event:
        """The next event, at most so many seconds after the last sign of life. Raises DeliveryError."""
        if self._event is not None:
            event, self._event = self._event, None
            return event
        self._waiter = self._loop.create_future()
        self._set_deadline(seconds)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    async def _pass_on(self, content: ContentReader) -> None:
        """Content as it comes, no faster than the endpoint takes it; stops where the endpoint has enough."""
        passed = 0
        while chunk := await content.read():
            if self._event is not None:
                return
            passed += len(chunk)
            if passed == content.size_octets:
                # The last chunk and the end of data leave in one write.
                if self.session.state is State.CONTENT:
                    self.session.write(chunk)
                return
            await self._write(chunk)

    async def _write(self, chunk: bytes) -> None:
        if self.session.state is not State.CONTENT:
            return
        self.session.write(chunk)
        self.transport.write(self.session.data_to_send())
        while self._room is not None:
            self._set_deadline(self._patience.progress)
            await self._room

    def _pump(self) -> None:
        """Hand events to whoever waits, and to the transport what the session wants to say."""
        session = self.session
        before = session.answers
        event = session.next_event()
        changed = event is not None
        while event is not None:
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(event)
            elif self._event is None and self.on_change is None:
                self._event = event
            event = session.next_event()
        data = session.data_to_send()
        if data and not self._lost:
            self.transport.write(data)
        if session.state is State.CLOSED:
            self._give_up_writing()
            if self._leaving:
                self.transport.close()
        elif session.answers != before and not changed:
            self._deadline = self._loop.time() + self._seconds
        if changed and self.on_change is not None:
            self.on_change(self)

    def _failure(self, event: Event | None) -> DeliveryError:
        text, status = ("closed the connection", "4.4.2")
        if isinstance(event, Closed):
            if event.wrong_machine:
                return WrongMachine(f"{self.endpoint} {event.text}")
            text, status = event.text, event.status
        return DeliveryError(f"{self.endpoint} {text}", permanent=False, status=status)

    def _set_deadline(self, seconds: float) -> None:
        """One timer serves one wait after the other; only when it fires is it seen how far it must go on."""
        self._seconds = seconds
        self._deadline = self._loop.time() + seconds
        self._unsent = self.transport.get_write_buffer_size()
        if self._timer is not None:
            if self._timer_at <= self._deadline:
                return
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        waits = self._waiter is not None or self._room is not None or self.session.state is State.RESETTING
        if not waits:
            return
        unsent = self.transport.get_write_buffer_size()
        if unsent and self._loop.time() - self._began >= self._patience.content:
            self._time_out(f"took more than {self._patience.content:g} s for one mail")
            return
        if self._loop.time() >= self._deadline:
            if not 0 < unsent < self._unsent:
                what = f"took none of {unsent} octets" if unsent else f"did not answer {self.session.awaiting}"
                self._time_out(f"{what} within {self._seconds:g} s")
                return
            self._deadline = self._loop.time() + self._seconds
        self._unsent = unsent
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _time_out(self, what: str) -> None:
        failure = DeliveryError(f"{self.endpoint} {what}", permanent=False, status="4.4.2")
        for waiting in (self._waiter, self._room):
            if waiting is not None and not waiting.done():
                cast("asyncio.Future[object]", waiting).set_exception(failure)
        self._room = None
        if self._waiter is None:
            self.drop()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up_writing(self) -> None:
        """Whoever waits to write more finds out that there is no use."""
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=UNSENT)

    def data_received(self, data: bytes) -> None:
        self.session.receive_data(data)
        self._pump()

    def eof_received(self) -> None:
        self.session.receive_eof()
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._lost = True
        self._cancel_timer()
        if not self._closed.done():
            self._closed.set_result(None)
        self.session.receive_eof()
        self._pump()
        self._give_up_writing()
        if self.on_change is not None:
            self.on_change(self)

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        self._give_up_writing()


@cache
def _any_certificate() -> ssl.SSLContext:
    """A terminal's certificate is its own word; which one it must be, the chart says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
