"""LDAP, client side, without I/O: requests in, octets out, responses as they come (RFC 4511 §4).

Any number of operations may be under way; responses bear the message id of their request. No input raises: what
is no message of LDAP, or answers what was not asked so, ends the session, and `fault` says why. A response to an
operation that is not known (any more) is dropped. What responses mean is the caller's business.

The caller's order: `send` what is to be asked, `data_to_send`; `receive_data`, then `next_event` until it gives
None; then `state`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Final

from lanpost.errors import LdapProtocolError, LocalProtocolError
from lanpost.wire.ber import MAX_INTEGER
from lanpost.wire.ldap_buffer import LdapBuffer
from lanpost.wire.ldap_encode import encode_operation
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    BindRequest,
    Control,
    ExtendedResponse,
    Message,
    Request,
    ResultCode,
    UnbindRequest,
)
from lanpost.wire.ldap_operations import (
    FINAL_RESPONSES,
    NOTICE_OF_DISCONNECTION_OID,
    RESPONSES,
    answers,
    is_start_tls,
)

MAX_MESSAGE: Final = 4 * 1024 * 1024  # octets; a directory's entry with a few photographs


class State(StrEnum):
    OPEN = "open"
    BINDING = "binding"  # a bind awaits its response, nothing may be asked
    SECURING = "securing"  # StartTLS awaits its response
    CLOSED = "closed"


MOVES: Final[dict[State, dict[str, State]]] = {
    State.OPEN: {
        "BindRequest": State.BINDING,
        "StartTLS": State.SECURING,
        "UnbindRequest": State.CLOSED,
        "Notice of Disconnection": State.CLOSED,
    },
    State.BINDING: {
        "BindResponse": State.OPEN,
        "UnbindRequest": State.CLOSED,
        "Notice of Disconnection": State.CLOSED,
    },
    State.SECURING: {
        "ExtendedResponse": State.OPEN,
        "UnbindRequest": State.CLOSED,
        "Notice of Disconnection": State.CLOSED,
    },
    State.CLOSED: {},
}


class LdapClient:
    """One session. `secure`: TLS has begun; `fault`: why the session is over, where the server is to blame."""

    def __init__(self, *, secure: bool = False, max_message: int = MAX_MESSAGE) -> None:
        self.state = State.OPEN
        self.secure = secure
        self.fault = ""
        self._max_message = max_message
        self._buffer = LdapBuffer()
        self._to_send: list[bytes] = []
        self._open: dict[int, type] = {}  # by message id, what was asked with it
        self._last_id = 0

    @property
    def open_operations(self) -> Collection[int]:
        """Message ids of the requests that await their last response."""
        return self._open.keys()

    @property
    def buffered(self) -> int:
        """Octets received and not yet read."""
        return len(self._buffer)

    def data_to_send(self) -> bytes:
        """What is due to the server; it is handed out once."""
        data = self._to_send[0] if len(self._to_send) == 1 else b"".join(self._to_send)
        self._to_send.clear()
        return data

    def send(self, request: Request, controls: Sequence[Control] = ()) -> int:
        """Ask; gives the message id that the responses will bear.

        LocalProtocolError: the session is over, or a bind or StartTLS is under way or would not be alone (§4.2.1,
        §4.14.1).
        """
        if self.state is State.CLOSED:
            raise LocalProtocolError("the session is over")
        kind = type(request)
        message_id = self._new_id()
        if isinstance(request, UnbindRequest):
            self._to_send.append(encode_operation(message_id, request, controls))
            self._end("UnbindRequest")
            return message_id
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"{kind.__name__} while the session is {self.state}")
        if kind not in FINAL_RESPONSES:
            raise LocalProtocolError(f"{kind.__name__} is not sent so")
        start_tls = is_start_tls(request)
        if (start_tls or kind is BindRequest) and self._open:
            raise LocalProtocolError("operations are under way")
        if start_tls and self.secure:
            raise LocalProtocolError("TLS has begun already")
        self._to_send.append(encode_operation(message_id, request, controls))
        self._open[message_id] = kind
        if kind is BindRequest:
            self._move("BindRequest")
        elif start_tls:
            self._move("StartTLS")
        return message_id

    def abandon(self, message_id: int) -> None:
        """Ask for no more responses (§4.11); those that are under way are dropped. Nothing, if it has ended.

        LocalProtocolError: it is a bind or StartTLS, which cannot be abandoned.
        """
        if message_id not in self._open:
            return
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"nothing can be abandoned while the session is {self.state}")
        del self._open[message_id]
        self._to_send.append(encode_operation(self._new_id(), AbandonRequest(message_id)))

    def receive_data(self, data: bytes) -> None:
        """What came from the server."""
        if self.state is not State.CLOSED:
            self._buffer.append(data)

    def next_event(self) -> Message | None:
        """The next response, or a notice of the server's with message id 0; None when more data is needed."""
        while self.state is not State.CLOSED:
            try:
                message = self._buffer.next_message(self._max_message)
            except LdapProtocolError as error:
                self._fail(str(error))
                return None
            if message is None:
                return None
            if self._take(message):
                return message
        return None

    def _take(self, message: Message) -> bool:
        """Whether the caller is to see it."""
        response = message.operation
        if not isinstance(response, RESPONSES):
            self._fail(f"{type(response).__name__} is no response")
            return False
        if message.id == 0:
            if not isinstance(response, ExtendedResponse):
                self._fail(f"{type(response).__name__} without a request")
                return False
            if response.oid == NOTICE_OF_DISCONNECTION_OID:
                self._fail(f"the server ends the session: {response.result.text or int(response.result.code)}")
            return True
        request = self._open.get(message.id)
        if request is None:
            return False  # abandoned, or never asked: RFC 4511 §4.11 has the former, and the latter tells nothing
        if not answers(request, response):
            self._fail(f"{type(response).__name__} does not answer {request.__name__}")
            return False
        if type(response) is FINAL_RESPONSES[request]:
            del self._open[message.id]
            if self.state is State.BINDING:
                self._move("BindResponse")
            elif self.state is State.SECURING:
                self._start_tls(response)
        return self.state is not State.CLOSED

    def _start_tls(self, response: object) -> None:
        self._move("ExtendedResponse")
        if isinstance(response, ExtendedResponse) and response.result.code == ResultCode.SUCCESS:
            if len(self._buffer):
                # It would be taken for the answer to what is asked over TLS.
                self._fail("the server sent data in the clear behind its answer to StartTLS")
                return
            self.secure = True

    def _new_id(self) -> int:
        """Positive, and not of an operation that is under way (§4.1.1.1)."""
        while True:
            self._last_id = self._last_id % MAX_INTEGER + 1
            if self._last_id not in self._open:
                return self._last_id

    def _fail(self, fault: str) -> None:
        self.fault = fault
        self._end("Notice of Disconnection")

    def _end(self, move: str) -> None:
        self._move(move)
        self._open.clear()
        self._buffer.clear()

    def _move(self, move: str) -> None:
        self.state = MOVES[self.state][move]
