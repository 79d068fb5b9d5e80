"""A connection to an LDAP server: many operations at a time on one socket. Standard library only, for the agent.

No name is ever resolved. Every operation has its time limit; who is cancelled while he waits abandons his. When the
connection is lost, everything under way fails with the same DirectoryUnreachable. For one event loop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

from lanpost.errors import DeliveryError, DirectoryRefused, DirectoryUnreachable, DirectoryUntrusted, InvalidValue
from lanpost.model.endpoint import Endpoint
from lanpost.net.dial import dial
from lanpost.wire.ldap_client import LdapClient, State
from lanpost.wire.ldap_messages import (
    AddRequest,
    BindRequest,
    CompareRequest,
    Control,
    DeleteRequest,
    ExtendedRequest,
    ExtendedResponse,
    Message,
    ModifyRequest,
    Request,
    Result,
    ResultCode,
    SearchDone,
    SearchEntry,
    SearchRequest,
    UnbindRequest,
)
from lanpost.wire.ldap_operations import START_TLS_OID

MAX_ENTRIES = 10_000  # of one search
MAX_OCTETS = 64 * 1024 * 1024  # of its entries' values together
FEW = 16  # entries whose size is not reckoned: each is a message, and those are bounded
READ_AHEAD = 256  # messages of a stream kept for its reader before the server must wait
# A peer that vanished without a word is noticed within half a minute, also by those who only listen.
KEEP_ALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))

Dial = Callable[[Endpoint, float], Awaitable[socket.socket]]


@dataclass(frozen=True, slots=True)
class Trust:
    """Who is believed to be the directory: a context that verifies, and the name its certificate must bear."""

    context: ssl.SSLContext
    name: str = ""  # "": the IP address that is connected to


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and its last response. `result` may be one that says there is more."""

    entries: Sequence[SearchEntry]
    result: Result
    controls: tuple[Control, ...] = ()


class _Operation:
    """One that ends with one response, and may gather entries before."""

    __slots__ = ("deadline", "entries", "future", "max_entries", "number", "octets")

    def __init__(self, number: int, future: asyncio.Future[Message], deadline: float, max_entries: int) -> None:
        self.number = number
        self.future = future
        self.deadline = deadline
        self.max_entries = max_entries
        self.entries: list[SearchEntry] = []
        self.octets = 0

    def take(self, entry: SearchEntry) -> str:
        """Keep an entry; what there is too much of, or ""."""
        self.entries.append(entry)
        if len(self.entries) > FEW:
            self.octets += sum(len(value) for _, values in entry.attributes for value in values)
            if self.octets > MAX_OCTETS:
                return f"more than {MAX_OCTETS} octets"
        return f"more than {self.max_entries} entries" if len(self.entries) > self.max_entries else ""


class _Stream:
    """One whose responses are handed on as they come; the server waits for a slow reader."""

    __slots__ = ("arrived", "ended", "messages", "reading_stopped")

    def __init__(self) -> None:
        self.messages: deque[Message] = deque()
        self.arrived = asyncio.Event()
        self.ended: DirectoryUnreachable | None = None
        self.reading_stopped = False


class LdapConnection(asyncio.Protocol):
    """Made by `connect`. `is_open` until it is lost or closed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.last_heard = 0.0  # loop time of the last octets from the server
        self._loop = asyncio.get_running_loop()
        self._session = LdapClient()
        self._transport: asyncio.Transport | None = None
        self._operations: dict[int, _Operation] = {}
        self._streams: dict[int, _Stream] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._lost: DirectoryUnreachable | None = None
        self._gone = asyncio.Event()

    @staticmethod
    async def connect(
        endpoint: Endpoint,
        seconds: float,
        trusts: Sequence[Trust] = (),
        *,
        start_tls: bool = False,
        dialled: Dial = dial,
    ) -> LdapConnection:
        """A connection on which nobody has logged in; with TLS where there are `trusts`.

        They are tried in turn, each on a connection of its own. `dialled` makes the sockets, connected ones. Raises
        DirectoryUnreachable, DirectoryUntrusted, DirectoryRefused (StartTLS is not offered).
        """
        failure: ssl.SSLCertVerificationError | None = None
        try:
            async with asyncio.timeout(seconds):
                for trust in trusts or (None,):
                    try:
                        return await _connected(endpoint, seconds, trust, dialled, start_tls=start_tls)
                    except ssl.SSLCertVerificationError as error:
                        failure = failure or error
        except TimeoutError:
            raise DirectoryUnreachable(f"{endpoint} does not answer", timed_out=True) from None
        except (DeliveryError, InvalidValue) as error:
            raise DirectoryUnreachable(str(error)) from None
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors, some ValueErrors
            raise DirectoryUnreachable(f"{endpoint}: {getattr(error, 'reason', None) or error}") from None
        why = failure.verify_message if failure else ""
        raise DirectoryUntrusted(f"{endpoint} shows a certificate that is not trusted: {why}")

    @property
    def is_open(self) -> bool:
        return self._lost is None

    # Operations. Each raises DirectoryUnreachable, and DirectoryRefused for a result that is not success.

    async def bind(self, name: str, password: bytes, seconds: float) -> None:
        """Log in with a name and a password."""
        await self._ask(BindRequest(name, password), seconds)

    async def bind_external(self, seconds: float) -> None:
        """Log in as the client certificate says (RFC 4513 §5.2.3)."""
        await self._ask(BindRequest("", b"", "EXTERNAL"), seconds)

    async def search(
        self,
        request: SearchRequest,
        seconds: float,
        controls: Sequence[Control] = (),
        max_entries: int = MAX_ENTRIES,
    ) -> Found:
        """All that is found, at most `max_entries`. Only what says that there is more comes back unsuccessful."""
        operation = self._begin(request, seconds, controls, max_entries)
        message = await self._outcome(operation)
        done = message.operation
        assert isinstance(done, SearchDone)
        if done.result.code not in (ResultCode.SUCCESS, ResultCode.SIZE_LIMIT_EXCEEDED):
            raise self._refusal(done.result)
        return Found(operation.entries, done.result, message.controls)

    async def modify(self, request: ModifyRequest, seconds: float, controls: Sequence[Control] = ()) -> None:
        await self._ask(request, seconds, controls)

    async def add(self, request: AddRequest, seconds: float) -> None:
        await self._ask(request, seconds)

    async def delete(self, name: str, seconds: float) -> None:
        await self._ask(DeleteRequest(name), seconds)

    async def compare(self, name: str, attribute: str, value: bytes, seconds: float) -> bool:
        done = await self._ask(
            CompareRequest(name, attribute, value),
            seconds,
            good=(ResultCode.COMPARE_TRUE, ResultCode.COMPARE_FALSE),
        )
        return _result_of(done).code == ResultCode.COMPARE_TRUE

    async def extended(self, oid: str, value: bytes | None, seconds: float) -> ExtendedResponse:
        message = await self._ask(ExtendedRequest(oid, value), seconds)
        assert isinstance(message.operation, ExtendedResponse)
        return message.operation

    async def follow(self, request: SearchRequest, controls: Sequence[Control]) -> AsyncGenerator[Message, None]:
        """Every response to a search that need not end, the last one included; without a time limit.

        A reader who is slow makes the server wait, and with it whatever else is asked on this connection.
        """
        stream = _Stream()
        number = self._send(request, controls)
        self._streams[number] = stream
        try:
            while True:
                while stream.messages:
                    message = stream.messages.popleft()
                    yield message
                    if isinstance(message.operation, SearchDone):
                        return
                if stream.ended is not None:
                    raise stream.ended
                stream.arrived.clear()
                if stream.reading_stopped and self._transport is not None:
                    stream.reading_stopped = False
                    self._transport.resume_reading()
                await stream.arrived.wait()
        finally:
            if self._streams.pop(number, None) is not None:
                self._abandon(number)
                if stream.reading_stopped and self._transport is not None:
                    self._transport.resume_reading()

    def close(self, why: str = "the connection is closed") -> None:
        """Say goodbye and go; what is under way fails. Idempotent."""
        if self._lost is None:
            if self._transport is not None and self._session.state is not State.CLOSED:
                self._session.send(UnbindRequest())
                self._transport.write(self._session.data_to_send())
            self._lose(DirectoryUnreachable(f"{self.endpoint}: {why}"))

    def leave(self) -> None:
        """Say goodbye and go at once: no wait for the server to end TLS too. For who has all that he asked for."""
        self.close()
        if self._transport is not None:
            self._transport.abort()

    async def left(self) -> None:
        """The same, and wait until the socket is closed: for who ends his event loop next."""
        self.leave()
        if self._transport is not None:
            await self._gone.wait()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.last_heard = self._loop.time()

    def data_received(self, data: bytes) -> None:
        self.last_heard = self._loop.time()
        session = self._session
        session.receive_data(data)
        while (message := session.next_event()) is not None:
            operation = self._operations.get(message.id)
            if operation is not None:
                self._take(operation, message)
            elif (stream := self._streams.get(message.id)) is not None:
                self._hand_on(stream, message)
        if session.state is State.CLOSED:
            self._lose(DirectoryUnreachable(f"{self.endpoint}: {session.fault}"))

    def connection_lost(self, exc: Exception | None) -> None:
        why = f"the connection broke: {exc}" if exc else "it has closed the connection"
        self._lose(DirectoryUnreachable(f"{self.endpoint}: {why}"))
        self._gone.set()

    # Inside.

    async def start_tls(self, trust: Trust, seconds: float) -> None:
        """Go on with TLS (RFC 4511 §4.14). Raises what the handshake raises."""
        await self._ask(ExtendedRequest(START_TLS_OID), seconds)
        assert self._transport is not None
        name = trust.name or self.endpoint.host
        transport = await self._loop.start_tls(self._transport, self, trust.context, server_hostname=name)
        if transport is None:
            raise DirectoryUnreachable(f"{self.endpoint}: the connection broke")
        self._transport = transport

    async def _ask(
        self,
        request: Request,
        seconds: float,
        controls: Sequence[Control] = (),
        good: Sequence[int] = (ResultCode.SUCCESS,),
    ) -> Message:
        message = await self._outcome(self._begin(request, seconds, controls))
        result = _result_of(message)
        if result.code not in good:
            raise self._refusal(result)
        return message

    def _begin(
        self, request: Request, seconds: float, controls: Sequence[Control], max_entries: int = 0
    ) -> _Operation:
        number = self._send(request, controls)
        deadline = self._loop.time() + seconds
        operation = _Operation(number, self._loop.create_future(), deadline, max_entries)
        self._operations[number] = operation
        if self._timer is None or deadline < self._timer.when():
            self._watch_time(deadline)
        return operation

    async def _outcome(self, operation: _Operation) -> Message:
        try:
            return await operation.future
        except asyncio.CancelledError:
            if self._operations.get(operation.number) is operation:
                self._give_up(operation.number)
            raise

    def _send(self, request: Request, controls: Sequence[Control]) -> int:
        if self._lost is not None:
            raise DirectoryUnreachable(str(self._lost))
        assert self._transport is not None
        number = self._session.send(request, controls)
        self._transport.write(self._session.data_to_send())
        return number

    def _take(self, operation: _Operation, message: Message) -> None:
        response = message.operation
        if type(response) is SearchEntry:
            if excess := operation.take(response):
                self._give_up(message.id)
                self._refuse(operation, f"{self.endpoint} answers one search with {excess}")
        elif message.id not in self._session.open_operations:  # its last response
            del self._operations[message.id]
            if not operation.future.done():
                operation.future.set_result(message)

    def _hand_on(self, stream: _Stream, message: Message) -> None:
        stream.messages.append(message)
        stream.arrived.set()
        if len(stream.messages) >= READ_AHEAD and not stream.reading_stopped and self._transport is not None:
            stream.reading_stopped = True
            self._transport.pause_reading()

    def _refuse(self, operation: _Operation, why: str) -> None:
        if not operation.future.done():
            operation.future.set_exception(DirectoryRefused(why, code=ResultCode.SIZE_LIMIT_EXCEEDED))

    def _give_up(self, number: int) -> None:
        self._operations.pop(number, None)
        self._abandon(number)

    def _abandon(self, number: int) -> None:
        if self._lost is None and self._transport is not None and self._session.state is State.OPEN:
            self._session.abandon(number)
            self._transport.write(self._session.data_to_send())

    def _watch_time(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look_at_time)

    def _look_at_time(self) -> None:
        """One timer for all: it is set to the earliest end there was, and moved on when that has passed."""
        self._timer = None
        now = self._loop.time()
        for number, operation in list(self._operations.items()):
            if operation.deadline <= now:
                self._give_up(number)
                if not operation.future.done():
                    error = DirectoryUnreachable(f"{self.endpoint} does not answer in time", timed_out=True)
                    operation.future.set_exception(error)
        if self._operations:
            self._watch_time(min(operation.deadline for operation in self._operations.values()))

    def _lose(self, error: DirectoryUnreachable) -> None:
        if self._lost is not None:
            return
        self._lost = error
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        operations, self._operations = self._operations, {}
        for operation in operations.values():
            if not operation.future.done():
                operation.future.set_exception(DirectoryUnreachable(str(error)))
        for stream in self._streams.values():
            stream.ended = error
            stream.arrived.set()

    def _refusal(self, result: Result) -> DirectoryRefused:
        try:
            name = ResultCode(result.code).name.lower().replace("_", " ")
        except ValueError:
            name = f"result code {int(result.code)}"
        text = f"{self.endpoint} answers: {name}" + (f" ({result.text})" if result.text else "")
        if result.referrals:
            text += f": ask {' or '.join(result.referrals)}"
        return DirectoryRefused(text, code=int(result.code), referrals=result.referrals)


def _result_of(message: Message) -> Result:
    result = getattr(message.operation, "result", None)
    assert isinstance(result, Result)
    return result


async def _connected(
    endpoint: Endpoint, seconds: float, trust: Trust | None, dialled: Dial, *, start_tls: bool
) -> LdapConnection:
    sock = await dialled(endpoint, seconds)
    try:
        keep_alive(sock)
        loop = asyncio.get_running_loop()
        if trust is None or start_tls:
            _, connection = await loop.create_connection(lambda: LdapConnection(endpoint), sock=sock)
        else:
            _, connection = await loop.create_connection(
                lambda: LdapConnection(endpoint),
                sock=sock,
                ssl=trust.context,
                server_hostname=trust.name or endpoint.host,
            )
    except BaseException:
        sock.close()
        raise
    if trust is not None and start_tls:
        try:
            await connection.start_tls(trust, seconds)
        except BaseException:
            connection.close()
            raise
    return connection


def keep_alive(sock: socket.socket) -> None:
    """Ask the kernel to find out whether the peer is still there."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE:
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
