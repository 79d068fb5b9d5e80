"""The directory on the network: one connection for each client around the session of `wire/ldap_server.py`.

A port speaks LDAP and LDAPS: the first octet tells. A search for one address is answered where it is read, all else
by a task each. What a client can make us hold is bounded: one read, a few open operations, one batch of answers;
while he does not read, nothing more is looked up for him.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog

from lanpost.errors import ChartUnavailable, DirectoryRefused, InvalidValue, StoreError
from lanpost.model.endpoint import Endpoint
from lanpost.net.http_server import peer_of
from lanpost.net.ldap_operations import Client, Operations, refusal, refuse_critical
from lanpost.net.listener import Connection, Listener
from lanpost.net.tls_transport import FIRST_OCTET, TlsTransport
from lanpost.service.directory_login import ANYBODY, Identity
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    BindRequest,
    BindResponse,
    CompareRequest,
    Control,
    ExtendedResponse,
    Message,
    Response,
    Result,
    ResultCode,
    SearchRequest,
    UnbindRequest,
)
from lanpost.wire.ldap_operations import START_TLS_OID, is_start_tls
from lanpost.wire.ldap_server import LdapServer, State

TURN = 64  # operations of one client, until the others have theirs
BATCH = 16 * 1024  # octets of answers that are sent together
UNREAD = 32 * 1024  # octets that wait in our memory for a client to read; past that nothing more is done for him
SENT_AHEAD = 128 * 1024  # octets of answers in the kernel's memory, which would grow to megabytes for each client
READ_AHEAD = 64 * 1024  # octets of requests; while more wait to be read, none are taken from the network
# Searches of one connection that never end. Were all its operations such, nothing more would be read: nor its end.
MAX_PERSISTING = 8
DEPARTURE_SECONDS = 2.0  # from one look to the next whether somebody whom we do not read from has gone
ENDED = (7, 8)  # what TCP_INFO begins with where the peer has: TCP_CLOSE, TCP_CLOSE_WAIT
MIN_LOOK_SECONDS = 0.1  # from one look at a client's idleness to the next
FINISH_SECONDS = 5.0  # for changes under way when we stop
MAX_MESSAGE = 256 * 1024  # octets; an entry of ours is a few hundred
REFUSAL = b""  # one client too many is closed: RFC 4511 knows nothing to say before a request

log = structlog.get_logger()


class LdapService:
    """What all clients share. `connection` is what a Listener serves; its `tls` is for StartTLS and LDAPS."""

    def __init__(self, operations: Operations, *, idle_seconds: float = 900.0) -> None:
        self.operations = operations
        self.idle_seconds = idle_seconds
        self.tasks: set[asyncio.Task[None]] = set()
        self.changes: set[asyncio.Task[None]] = set()  # of `tasks` those that are never done by halves

    def connection(self, listener: Listener) -> Connection:
        return LdapConnection(listener, self)

    async def close(self) -> None:
        """After the listeners have drained: end what the last clients began. Idempotent."""
        for task in self.tasks - self.changes:
            task.cancel()
        if self.changes:
            await asyncio.wait(self.changes, timeout=FINISH_SECONDS)
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)


class Answers:
    """Where the answers to one operation go."""

    __slots__ = ("_connection", "message")

    def __init__(self, connection: LdapConnection, message: Message) -> None:
        self._connection = connection
        self.message = message

    @property
    def turn(self) -> asyncio.Lock:
        """This client's searches through many entries, one at a time: each holds a batch."""
        return self._connection.turn

    @property
    def is_read(self) -> bool:
        """The client takes more just now."""
        return self._connection.is_read

    @contextmanager
    def persisting(self) -> Iterator[None]:
        """For an operation that goes on until the client ends it. DirectoryRefused: he has enough of those."""
        if self._connection.persisting >= MAX_PERSISTING:
            text = f"{MAX_PERSISTING} searches of this connection go on already"
            raise DirectoryRefused(text, code=ResultCode.BUSY)
        self._connection.persisting += 1
        try:
            yield
        finally:
            self._connection.persisting -= 1

    async def send(self, octets: bytes) -> None:
        """Messages encoded already, once the client takes more. ConnectionError when he is gone."""
        await self._connection.send(octets)

    def tell(self, response: Response, controls: Sequence[Control] = ()) -> None:
        """One answer; one that ends the operation is the last. Dropped when it has been abandoned."""
        self._connection.answer(self.message, response, controls)

    def cancel(self, message_id: int) -> None:
        """Break off another operation of this client (RFC 3909). DirectoryRefused: that cannot be done."""
        self._connection.cancel(message_id)


class LdapConnection(Connection):
    """One client."""

    __slots__ = (
        "_begun",
        "_client",
        "_deadline",
        "_departure",
        "_heard",
        "_leaving",
        "_peer",
        "_pumping",
        "_running",
        "_service",
        "_session",
        "_stuck_since",
        "_tls",
        "_writable",
        "persisting",
        "turn",
    )

    def __init__(self, listener: Listener, service: LdapService) -> None:
        super().__init__(listener)
        self._service = service
        self._session = LdapServer(max_message=MAX_MESSAGE)
        self._peer: Endpoint | None = None
        self._client = Client(ANYBODY, None, "", is_secure=False)
        self._tls: TlsTransport | None = None
        self._begun = False
        self._running: dict[int, tuple[Message, asyncio.Task[None]]] = {}  # by message id
        self._writable = asyncio.Event()
        self._writable.set()
        self._pumping = False  # a turn is due
        self._leaving = False  # as soon as no change is half done
        self._heard = 0.0
        self._stuck_since = 0.0  # that the client does not read, while he does not
        self.turn = asyncio.Lock()
        self.persisting = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._departure: asyncio.TimerHandle | None = None

    # What the transport calls

    def opened(self) -> None:
        self._peer = peer_of(self.transport)
        self.transport.set_write_buffer_limits(high=UNREAD)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_AHEAD)
        self._be(ANYBODY)
        self._heard = time.monotonic()
        self._mind_idleness()

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            if data[0] == FIRST_OCTET and self.listener.tls is not None:
                self._secure(self.listener.tls)
        if self._tls is not None:
            try:
                data = self._tls.receive(data)
            except ssl.SSLError as error:
                log.info("TLS refused", service="ldap", client=self.client_host, reason=error.reason or str(error))
                self.transport.close()
                return
        self._heard = time.monotonic()
        self._session.receive_data(data)
        if not self._pumping:
            self._pump()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._stuck_since = time.monotonic()
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        self._pump_soon()

    def closed(self, exc: Exception | None) -> None:  # noqa: ARG002
        for timer in (self._deadline, self._departure):
            if timer is not None:
                timer.cancel()
        for _, task in self._running.values():
            self._break_off(task)
        self._running.clear()
        self._writable.set()

    def leave(self) -> None:
        self._leaving = True
        if any(task in self._service.changes for _, task in self._running.values()):
            return  # it is answered first
        self._session.disconnect(Result(ResultCode.UNAVAILABLE, "the server ends this connection"))
        self._flush()
        self._close()

    # What operations call

    @property
    def is_read(self) -> bool:
        return self._writable.is_set()

    async def send(self, octets: bytes) -> None:
        while not self._writable.is_set():  # another operation may have used up what he took
            await self._writable.wait()
        if self.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._session.send_encoded(octets, None)
        if self._session.unsent > BATCH:
            self._flush()
        else:
            self._pump_soon()

    def answer(self, message: Message, response: Response, controls: Sequence[Control] = ()) -> None:
        found = self._running.get(message.id)
        if found is not None and found[0] is message and not self.transport.is_closing():
            self._session.answer(message.id, response, controls)
            self._pump_soon()

    def cancel(self, message_id: int) -> None:
        message, task = self._running.get(message_id, (None, None))
        if message is None or task is None:
            raise DirectoryRefused("no such operation is under way", code=ResultCode.NO_SUCH_OPERATION)
        if not isinstance(message.operation, SearchRequest):
            raise DirectoryRefused("only searches are cancelled", code=ResultCode.CANNOT_CANCEL)
        task.cancel()
        canceled = DirectoryRefused("cancelled as the client wished", code=ResultCode.CANCELED)
        self.answer(message, refusal(message.operation, canceled))
        del self._running[message_id]

    # The session

    def _pump(self) -> None:
        """Deal with what has come, a turn at most; then the other clients are next."""
        self._pumping = False
        self._service.operations.searches.new_turn()
        for _ in range(TURN):
            if self._leaving or not self._writable.is_set():
                break
            message = self._session.next_event()
            if message is None:
                break
            self._begin(message)
            if self._session.unsent > BATCH:
                self._flush()
        else:
            self._pump_soon()
        self._flush()
        self._mind_reading()
        if self._session.state is State.CLOSED:
            self._close()

    def _pump_soon(self) -> None:
        if not self._pumping and not self.transport.is_closing():
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump_unless_closed)

    def _pump_unless_closed(self) -> None:
        self._pumping = False
        if not self.transport.is_closing():
            self._pump()

    def _mind_reading(self) -> None:
        """Read no more from a client who does not read, or who is far ahead of us.

        One whose operations are all open is listened to: he may abandon one of them, or go. So is one whose request
        is not here wholly; how long it may be the session sees to.
        """
        if self.transport.is_closing():
            return
        is_waiting = self._leaving or self._session.paused
        is_ahead = is_waiting and self._session.buffered >= READ_AHEAD
        wanted = self._writable.is_set() and not self._pumping and not is_ahead
        if wanted and not self.transport.is_reading():
            self.transport.resume_reading()
        elif not wanted and self.transport.is_reading():
            self.transport.pause_reading()
            self._mind_departure_later()

    def _mind_departure_later(self) -> None:
        if self._departure is None:
            loop = asyncio.get_running_loop()
            self._departure = loop.call_later(DEPARTURE_SECONDS, self._mind_departure)

    def _mind_departure(self) -> None:
        """Nothing tells us of the end of a connection that is not read from."""
        self._departure = None
        if self.transport.is_closing() or self.transport.is_reading():
            return
        state = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if state[0] in ENDED:
            self.transport.abort()
        else:
            self._mind_departure_later()

    def _begin(self, message: Message) -> None:
        operation = message.operation
        operations = self._service.operations
        if isinstance(operation, SearchRequest):
            searches, identity = operations.searches, self._client.identity
            quick = None if message.controls else searches.quick(identity, message.id, operation)
            if quick is not None:
                self._session.send_encoded(quick, message.id)
            else:
                self._start(message, partial(searches.search, identity, Answers(self, message), operation))
        elif isinstance(operation, UnbindRequest):
            self._close()
        elif isinstance(operation, AbandonRequest):
            if (found := self._running.pop(operation.abandoned, None)) is not None:
                self._break_off(found[1])
        elif isinstance(operation, BindRequest):
            self._start(message, partial(self._bind, message, operation))
        elif is_start_tls(operation):
            self._start_tls(message)
        else:
            task = self._start(message, partial(operations.perform, self._client, Answers(self, message)))
            if not isinstance(operation, CompareRequest):
                self._service.changes.add(task)
                task.add_done_callback(self._service.changes.discard)

    def _start(self, message: Message, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._run(message, work))
        self._running[message.id] = message, task
        self._service.tasks.add(task)
        task.add_done_callback(self._service.tasks.discard)
        return task

    def _break_off(self, task: asyncio.Task[None]) -> None:
        """Nobody waits for the answer any more. A change is made wholly all the same (RFC 4511 §4.11)."""
        if task not in self._service.changes:
            task.cancel()

    async def _run(self, message: Message, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except (DirectoryRefused, ChartUnavailable, StoreError) as error:
            self.answer(message, refusal(message.operation, error))
        except InvalidValue as error:  # what the chart behind us cannot hold
            refused = DirectoryRefused(str(error), code=ResultCode.CONSTRAINT_VIOLATION)
            self.answer(message, refusal(message.operation, refused))
        except ConnectionError:
            pass
        except Exception:
            log.exception("ldap operation failed", client=self.client_host)
            failed = DirectoryRefused("an internal error; the server's log tells more", code=ResultCode.OTHER)
            self.answer(message, refusal(message.operation, failed))
        finally:
            found = self._running.get(message.id)
            if found is not None and found[0] is message:
                del self._running[message.id]
            self._heard = time.monotonic()  # silence begins with the last answer
            if self._leaving and not self.transport.is_closing():
                self.leave()

    async def _bind(self, message: Message, request: BindRequest) -> None:
        self._be(ANYBODY)
        refuse_critical(message.controls)
        tls = self._tls.get_extra_info("ssl_object") if self._tls else None
        identity = await self._service.operations.log_in(self._client, request, tls)
        self._be(identity)
        self.answer(message, BindResponse(Result()))

    def _be(self, identity: Identity) -> None:
        self._client = Client(identity, self._peer, self.client_host, is_secure=self._tls is not None)

    def _start_tls(self, message: Message) -> None:
        """RFC 4511 §4.14; the session has seen to it that nothing else is under way."""
        tls, result = self.listener.tls, Result()
        try:
            refuse_critical(message.controls)
        except DirectoryRefused as error:
            result = Result(error.code, str(error))
        if tls is None:
            result = Result(ResultCode.UNAVAILABLE, "there is no certificate")
        self._session.answer(message.id, ExtendedResponse(result, START_TLS_OID))
        if tls is None or result.code != ResultCode.SUCCESS:
            return
        self._flush()  # in the clear, the last such words
        self._secure(tls)

    def _secure(self, context: ssl.SSLContext) -> None:
        self._tls = TlsTransport(self.transport, context)
        self._session.secure = True
        self._be(ANYBODY)

    def _flush(self) -> None:
        if data := self._session.data_to_send():
            (self._tls or self.transport).write(data)

    def _close(self) -> None:
        self._flush()
        (self._tls or self.transport).close()

    def _mind_idleness(self) -> None:
        """Close a connection that has been silent for long with nothing under way, or has long not been read."""
        if self.transport.is_closing():
            return
        is_stuck = not self._writable.is_set()
        since = self._stuck_since if is_stuck else self._heard
        left = since + self._service.idle_seconds - time.monotonic()
        if left > 0 or (self._running and not is_stuck):
            loop = asyncio.get_running_loop()
            again = left if left > 0 else max(self._service.idle_seconds / 4, MIN_LOOK_SECONDS)
            self._deadline = loop.call_later(again, self._mind_idleness)
        elif is_stuck:
            log.info("ldap client does not read", client=self.client_host)
            self.transport.abort()  # nor would he hear a goodbye
        else:
            self.leave()
