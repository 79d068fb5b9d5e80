"""LDAP, server side, without I/O: octets in, requests out, any number of answers to each (RFC 4511 §4).

LDAP is asynchronous: up to MAX_OPEN_OPERATIONS requests are out at once, and are answered in any order. After a
bind or StartTLS no request is given out until it is answered (§4.2.1, §4.14.1). No input raises: a message that
cannot be read ends the session with a Notice of Disconnection (§4.4.1), one with a wrong value is answered by the
session itself. Controls, who may do what, and what requests mean are the caller's business.

The caller's order: `receive_data`; then `next_event` until it gives None; `answer` whenever there is something to
say, and then `next_event` again; what `data_to_send` gives is sent in between; then `state`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Final

from lanpost.errors import InvalidLdapValue, LdapProtocolError, LocalProtocolError
from lanpost.wire import ldap_tags as tags
from lanpost.wire.ber import MAX_INTEGER
from lanpost.wire.ldap_buffer import LdapBuffer
from lanpost.wire.ldap_encode import encode_operation
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    BindRequest,
    Control,
    ExtendedResponse,
    IntermediateResponse,
    Message,
    Response,
    Result,
    ResultCode,
    SearchEntry,
    SearchReference,
    UnbindRequest,
)
from lanpost.wire.ldap_operations import (
    FINAL_RESPONSES,
    NOTICE_OF_DISCONNECTION_OID,
    TAGS,
    answers,
    final_response,
    is_start_tls,
)

MAX_MESSAGE: Final = 256 * 1024  # octets of a request from anybody; the entry of a terminal has less than 1,000
MAX_MESSAGE_OF_THE_TRUSTED: Final = 4 * 1024 * 1024  # for `max_message`, once somebody known has bound
MAX_OPEN_OPERATIONS: Final = 16  # of one connection; more wait, unread
MAX_UNSENT: Final = 256 * 1024  # octets of answers; past that no request is given out until they are sent


class State(StrEnum):
    OPEN = "open"
    BINDING = "binding"  # a bind awaits its answer, nothing else may be under way
    SECURING = "securing"  # StartTLS awaits its answer
    CLOSED = "closed"  # send what is due, then close


MOVES: Final[dict[State, dict[str, State]]] = {
    State.OPEN: {
        "BindRequest": State.BINDING,
        "StartTLS": State.SECURING,
        "UnbindRequest": State.CLOSED,
        "Notice of Disconnection": State.CLOSED,
    },
    State.BINDING: {"BindResponse": State.OPEN, "Notice of Disconnection": State.CLOSED},
    State.SECURING: {"ExtendedResponse": State.OPEN, "Notice of Disconnection": State.CLOSED},
    State.CLOSED: {},
}


class LdapServer:
    """One session. `max_message` may be changed at any time; `secure` says whether TLS has begun."""

    def __init__(self, *, secure: bool = False, max_message: int = MAX_MESSAGE) -> None:
        self.state = State.OPEN
        self.secure = secure
        self.max_message = max_message
        self.fault = ""  # why we ended the session
        self.unsent = 0  # octets that `data_to_send` would give
        self._buffer = LdapBuffer()
        self._to_send: list[bytes] = []
        self._due: deque[Message] = deque()  # events that wait
        self._open: dict[int, type] = {}  # operations by message id: what each was asked with
        self._abandoned: dict[int, None] = {}  # the latest, in order: an answer to them may be under way

    @property
    def buffered(self) -> int:
        """Octets received and not yet read: receive no more while they are many."""
        return len(self._buffer)

    @property
    def open_operations(self) -> Collection[int]:
        """Message ids of the requests that have been given out and await their last answer."""
        return self._open.keys()

    @property
    def paused(self) -> bool:
        """No request is given out now, whatever has been received: there are answers to give or to send first."""
        return self.state is not State.OPEN or len(self._open) >= MAX_OPEN_OPERATIONS or self.unsent >= MAX_UNSENT

    def receive_data(self, data: bytes) -> None:
        """What came from the client."""
        if self.state is not State.CLOSED:
            self._buffer.append(data)

    def data_to_send(self) -> bytes:
        """What is due to the client; it is handed out once."""
        data = self._to_send[0] if len(self._to_send) == 1 else b"".join(self._to_send)
        self._to_send.clear()
        self.unsent = 0
        return data

    def next_event(self) -> Message | None:
        """The next request; None when more data, or answers, are needed, or the session is over.

        AbandonRequest (§4.11): the operation is closed, stop it and do not answer it; before a bind the session
        abandons so whatever is open, with messages of id 0. UnbindRequest (§4.3): the last event. Neither is to be
        answered.
        """
        while True:
            if self._due:
                return self._due.popleft()
            if self.paused and not self._may_pass():
                return None
            try:
                message = self._buffer.next_message(self.max_message)
            except InvalidLdapValue as error:
                self._answer_invalid(error)
                continue
            except LdapProtocolError as error:
                self._disconnect_for(str(error))
                continue
            if message is None:
                return None
            event = self._take(message)
            if event is not None:
                return event

    def answer(self, message_id: int, response: Response, controls: Sequence[Control] = ()) -> None:
        """An entry, a reference, an intermediate response, or the response that ends the operation.

        Dropped when the operation has been abandoned or the session is over. LocalProtocolError: there is no such
        operation, or it cannot be answered so.
        """
        kind = self._open.get(message_id)
        if kind is None:
            self._expect_abandoned(message_id)
            return
        if not answers(kind, response):
            raise LocalProtocolError(f"{type(response).__name__} does not answer {kind.__name__}")
        self._send(encode_operation(message_id, response, controls))
        if not isinstance(response, (SearchEntry, SearchReference, IntermediateResponse)):
            self._close_operation(message_id, response.result)

    def send_encoded(self, octets: bytes, final_id: int | None) -> None:
        """Messages that are encoded already; `final_id` is the search that ends with them, where one does.

        Not for the answers to a bind or StartTLS. Dropped and refused as by `answer`.
        """
        if final_id is not None:
            if self._open.pop(final_id, None) is None:
                self._expect_abandoned(final_id)
                return
        elif self.state is State.CLOSED:
            return
        self._send(octets)

    def disconnect(self, result: Result) -> None:
        """End the session on our side, with a Notice of Disconnection (§4.4.1)."""
        if self.state is State.CLOSED:
            return
        notice = ExtendedResponse(result, NOTICE_OF_DISCONNECTION_OID)
        self._send(encode_operation(0, notice))
        self._end("Notice of Disconnection")

    def _may_pass(self) -> bool:
        """Abandon and unbind wait for no answers: they may be why there will be none."""
        if self.state is not State.OPEN or self.unsent >= MAX_UNSENT:
            return False
        try:
            return self._buffer.next_tag(self.max_message) in (tags.ABANDON_REQUEST, tags.UNBIND_REQUEST)
        except LdapProtocolError:
            return True  # it is refused where it is read

    def _take(self, message: Message) -> Message | None:
        """What to give out, if anything, for a message that has been read."""
        operation, message_id = message.operation, message.id
        kind = type(operation)
        if kind not in FINAL_RESPONSES:
            if isinstance(operation, UnbindRequest):
                self._end("UnbindRequest")
                return message
            if isinstance(operation, AbandonRequest):
                # §4.11: what is not under way is not worth a word.
                return message if self._abandon(operation.abandoned) else None
            self._disconnect_for(f"{kind.__name__} is no request")
            return None
        if not 0 < message_id <= MAX_INTEGER or message_id in self._open:
            self._disconnect_for(f"message id {message_id} is in use" if message_id else "message id 0")
            return None
        self._abandoned.pop(message_id, None)
        if kind is BindRequest:
            for other in tuple(self._open):  # §4.2.1: they must complete or be abandoned
                self._abandon(other)
                self._due.append(Message(0, AbandonRequest(other)))
            self._move("BindRequest")
        elif is_start_tls(operation):
            if self.secure or self._open:  # §4.14.2
                text = "TLS has begun already" if self.secure else "there are operations under way"
                result = Result(ResultCode.OPERATIONS_ERROR, text)
                self._send(encode_operation(message_id, ExtendedResponse(result)))
                return None
            self._move("StartTLS")
        self._open[message_id] = kind
        if self._due:
            self._due.append(message)
            return self._due.popleft()
        return message

    def _abandon(self, message_id: int) -> bool:
        if self._open.pop(message_id, None) is None:
            return False
        self._abandoned[message_id] = None
        if len(self._abandoned) > MAX_OPEN_OPERATIONS:
            del self._abandoned[next(iter(self._abandoned))]
        return True

    def _expect_abandoned(self, message_id: int) -> None:
        if self.state is not State.CLOSED and message_id not in self._abandoned:
            raise LocalProtocolError(f"no operation has message id {message_id}")

    def _close_operation(self, message_id: int, result: Result) -> None:
        del self._open[message_id]
        if self.state is State.BINDING:
            self._move("BindResponse")
        elif self.state is State.SECURING:
            self._move("ExtendedResponse")
            if result.code == ResultCode.SUCCESS:
                self.secure = True
                self._buffer.clear()  # what was sent in the clear behind StartTLS is never read

    def _answer_invalid(self, error: InvalidLdapValue) -> None:
        """RFC 4511 §4.1.1: a request that can be told from the next one is answered, and the session goes on."""
        kind = TAGS.get(error.tag)
        if error.tag == tags.ABANDON_REQUEST:
            return
        if kind is None or error.message_id == 0 or error.message_id in self._open:
            self._disconnect_for(str(error))
            return
        self._send(encode_operation(error.message_id, final_response(kind, Result(error.code, str(error)))))

    def _disconnect_for(self, fault: str) -> None:
        self.fault = fault
        self.disconnect(Result(ResultCode.PROTOCOL_ERROR, fault))

    def _send(self, octets: bytes) -> None:
        if octets:
            self._to_send.append(octets)
            self.unsent += len(octets)

    def _end(self, move: str) -> None:
        self._move(move)
        self._open.clear()
        self._buffer.clear()

    def _move(self, move: str) -> None:
        self.state = MOVES[self.state][move]
