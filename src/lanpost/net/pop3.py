"""POP3 on the network: one task for each client around the session of `wire/pop3_server.py`.

Disk and passwords are other threads' work. A client that is lost or idle is no error, and nothing of its mailbox
is deleted. What a client can make us hold is bounded: one batch of a mail, one batch of answers, one read.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import structlog

from lanpost.content.dots import stuffed
from lanpost.content.excerpt import header_and_lines
from lanpost.errors import StoreBusy, StoreError
from lanpost.model.account import User
from lanpost.model.address import MailAddress
from lanpost.model.networks import Network, is_within
from lanpost.net.listener import Connection, Listener
from lanpost.net.login_delays import LoginDelays
from lanpost.service.ports import MailboxSession
from lanpost.wire.pop3_events import Commit, Event, Flush, Login, Maildrop, Refused, Retrieve, StartTls
from lanpost.wire.pop3_server import Pop3Server, State

REFUSAL = b"-ERR [SYS/TEMP] too many connections, try again later\r\n"
DISK_THREADS = 4
BATCH_CHUNKS = 4  # of at most 64 KiB, read and sent at a time
MAX_BUFFERED = 64 * 1024  # octets of commands not yet looked at, past which no more are read
TLS_SECONDS = 30.0  # for the handshake

Result = TypeVar("Result")
log = structlog.get_logger()


class Pop3Service:
    """What all clients share. `connection` is what a Listener serves; its `tls` is what STLS upgrades to."""

    def __init__(
        self,
        *,
        authenticate: Callable[[str, str], Awaitable[User | None]],
        open_mailbox: Callable[[MailAddress], MailboxSession],
        networks_without_tls: Sequence[Network] = (),
        idle_seconds: float = 600.0,  # RFC 1939 §3: ten minutes at least
        delays: LoginDelays | None = None,
    ) -> None:
        """`authenticate` gives None for a wrong password and raises StoreError where it cannot tell.

        `open_mailbox` is called in a thread; StoreBusy: another session has it. `delays` may be shared with other
        services: who guesses here has guessed there.
        """
        self.authenticate = authenticate
        self.open_mailbox = open_mailbox
        self.idle_seconds = idle_seconds
        self.delays = delays or LoginDelays()
        self.disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="pop3")
        self.tasks: set[asyncio.Task[None]] = set()
        self._networks_without_tls = tuple(networks_without_tls)

    def connection(self, listener: Listener) -> Connection:
        return Pop3Connection(listener, self)

    def allows_plaintext(self, host: str) -> bool:
        """A client there may show its password without TLS."""
        return is_within(host, self._networks_without_tls)

    async def close(self) -> None:
        """After the listeners have drained: wait for what the last clients began. Idempotent."""
        if self.tasks:
            await asyncio.wait(self.tasks)
        self.disk.shutdown()


class Pop3Connection(Connection):
    """One client."""

    __slots__ = (
        "_arrived",
        "_ended",
        "_gone",
        "_leaving",
        "_mailbox",
        "_reading",
        "_retrieved",
        "_service",
        "_session",
        "_user",
        "_waiting",
        "_writable",
    )

    def __init__(self, listener: Listener, service: Pop3Service) -> None:
        super().__init__(listener)
        self._service = service
        self._session: Pop3Server
        self._mailbox: MailboxSession | None = None
        self._user = ""
        self._retrieved = 0
        self._arrived = asyncio.Event()  # more data, or its end
        self._writable = asyncio.Event()  # the client reads what we send, or is gone
        self._writable.set()
        self._ended = False  # the client sends no more
        self._gone = False  # the connection is closed
        self._leaving = False  # we are stopping
        self._waiting = False  # for the client's next command, with nothing half done
        self._reading = True

    # What the transport calls

    def opened(self) -> None:
        self._session = Pop3Server(
            tls_available=self.listener.tls is not None,
            plaintext_allowed=self._service.allows_plaintext(self.client_host),
        )
        task = asyncio.get_running_loop().create_task(self._serve())
        self._service.tasks.add(task)
        task.add_done_callback(self._service.tasks.discard)

    def data_received(self, data: bytes) -> None:
        self._session.receive_data(data)
        if self._session.buffered > MAX_BUFFERED and self._reading:
            self.transport.pause_reading()
            self._reading = False
        self._arrived.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._arrived.set()
        return not self._session.secure  # what was asked before the end is still answered; TLS cannot

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def closed(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._gone = self._ended = True
        self._arrived.set()
        self._writable.set()

    def leave(self) -> None:
        self._leaving = True
        if self._waiting:
            self._arrived.set()

    # The session

    async def _serve(self) -> None:
        polite = False
        try:
            while await self._step():
                pass
            polite = True
        except TimeoutError:
            log.info("pop3 client idle", client=self.client_host, user=self._user)
        except (ConnectionError, ssl.SSLError) as error:
            log.debug("pop3 client gone", client=self.client_host, user=self._user, reason=str(error))
        except Exception:
            log.exception("pop3 session failed", client=self.client_host, user=self._user)
        finally:
            if self._mailbox is not None:
                self._mailbox.close()
            if polite:
                self.transport.close()
            else:
                self.transport.abort()
            if self._user:
                log.info("pop3 session over", client=self.client_host, user=self._user, retrieved=self._retrieved)

    async def _step(self) -> bool:
        """Deal with one event, or wait for data. False: the session is over."""
        event = self._session.next_event()
        if event is not None:
            await self._deal_with(event)
            return True
        await self._flush()
        if self._session.state is State.CLOSED:
            return False
        return await self._more_data()

    async def _deal_with(self, event: Event) -> None:
        match event:
            case Flush():
                await self._flush()
            case Login():
                self._session.answer(await self._log_in(event))
            case StartTls():
                await self._flush()
                await self._start_tls()
            case Retrieve():
                self._session.answer(await self._retrieve(event))
            case Commit():
                self._session.answer(await self._commit(event))

    async def _more_data(self) -> bool:
        if self._ended or self._leaving:
            return False
        self._arrived.clear()
        if not self._reading:
            self._reading = True
            self.transport.resume_reading()
        self._waiting = True
        try:
            async with asyncio.timeout(self._service.idle_seconds):
                await self._arrived.wait()
        finally:
            self._waiting = False
        return not self._gone

    async def _flush(self) -> None:
        """Send what is due; return when the client has read so much of it that little is left with us."""
        self._expect_client()
        if data := self._session.data_to_send():
            self.transport.write(data)
        if not self._writable.is_set():
            async with asyncio.timeout(self._service.idle_seconds):
                await self._writable.wait()
            self._expect_client()

    def _expect_client(self) -> None:
        if self._gone or self.transport.is_closing():
            raise ConnectionResetError("it closed the connection")

    async def _start_tls(self) -> None:
        tls = self.listener.tls
        if tls is None:
            raise ConnectionAbortedError("there is no certificate any more")
        # Before the handshake: its last packet may bring the first command, which is TLS already.
        self._session.answer(None)
        upgraded = None
        try:
            upgraded = await asyncio.get_running_loop().start_tls(
                self.transport, self, tls, server_side=True, ssl_handshake_timeout=TLS_SECONDS
            )
        finally:
            # Neither loop tells a protocol of a connection reset during the handshake: it would count for ever.
            if upgraded is None and not self._gone:
                self.connection_lost(None)
        if upgraded is None:
            raise ConnectionResetError("it closed the connection")
        self.transport = upgraded

    async def _log_in(self, event: Login) -> Maildrop | Refused:
        try:
            user = await self._service.authenticate(event.login, event.password)
        except StoreError as error:
            log.warning("pop3 login impossible", client=self.client_host, login=event.login, reason=str(error))
            return Refused("logging in is not possible now, try again later", "SYS/TEMP")
        if user is None:
            delay = self._service.delays.failed(self.client_host, time.monotonic())
            log.info("pop3 login refused", client=self.client_host, login=event.login, delay=delay)
            await asyncio.sleep(delay)
            return Refused("wrong mail address or password", "AUTH")
        self._service.delays.succeeded(self.client_host)
        try:
            mailbox = await self._open_mailbox(user.address)
        except StoreBusy as error:
            return Refused(f"{error}; try again when it has ended", "IN-USE")
        except StoreError as error:
            log.warning("mailbox cannot be opened", user=str(user.address), reason=str(error))
            return Refused(str(error), "SYS/TEMP")
        self._mailbox = mailbox
        self._user = str(user.address)
        sizes = mailbox.sizes()
        log.info("pop3 login", client=self.client_host, user=self._user, mails=len(sizes), tls=self._session.secure)
        return Maildrop(sizes, mailbox.unique_ids())

    async def _open_mailbox(self, address: MailAddress) -> MailboxSession:
        opening = self._service.disk.submit(self._service.open_mailbox, address)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    async def _retrieve(self, event: Retrieve) -> Refused | None:
        mailbox = self._open_one()
        chunks = mailbox.chunks(event.index)
        if event.body_lines is not None:
            chunks = header_and_lines(chunks, event.body_lines)
        text = stuffed(chunks)
        try:
            while batch := await self._in_thread(_next_batch, text):
                self._session.send_content(batch)
                await self._flush()
        except StoreError as error:
            log.warning("mail cannot be read", user=self._user, reason=str(error))
            return Refused(str(error), "SYS/TEMP")
        self._retrieved += event.body_lines is None
        return None

    async def _commit(self, event: Commit) -> Refused | None:
        """RFC 1939 §6: only now are mails deleted; the mailbox is free before the client reads our answer."""
        mailbox = self._open_one()
        try:
            await self._in_thread(_delete_and_close, mailbox, event.indexes)
        except StoreError as error:
            log.warning("mails cannot be deleted", user=self._user, reason=str(error))
            return Refused(f"some mails are not deleted: {error}", "SYS/TEMP")
        if event.indexes:
            log.info("mails deleted", user=self._user, count=len(event.indexes))
        return None

    def _open_one(self) -> MailboxSession:
        assert self._mailbox is not None  # the session asks for mails only after a Maildrop
        return self._mailbox

    async def _in_thread(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._service.disk, function, *arguments)


def _next_batch(chunks: Iterator[bytes]) -> bytes:
    return b"".join(islice(chunks, BATCH_CHUNKS))


def _delete_and_close(mailbox: MailboxSession, indexes: Sequence[int]) -> None:
    try:
        if indexes:
            mailbox.delete(indexes)
    finally:
        mailbox.close()


def _close_unwanted(opening: Future[MailboxSession]) -> None:
    """The mailbox that a session, cut off meanwhile, had asked for must not stay locked."""
    with suppress(StoreError):
        if not opening.cancelled():
            opening.result().close()
