"""The server's session of LDAP, without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ldap_values import messages

from lanpost.errors import LocalProtocolError
from lanpost.wire import ldap_server
from lanpost.wire.ber import element, integer
from lanpost.wire.ldap_decode import decode_at
from lanpost.wire.ldap_encode import encode_message, encode_search_done, encode_search_entry
from lanpost.wire.ldap_filter import Filter, Not, Present
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    BindRequest,
    BindResponse,
    CompareRequest,
    CompareResponse,
    Control,
    DeleteRequest,
    DeleteResponse,
    ExtendedRequest,
    ExtendedResponse,
    IntermediateResponse,
    Message,
    ModifyResponse,
    Request,
    Result,
    ResultCode,
    Scope,
    SearchDone,
    SearchEntry,
    SearchReference,
    SearchRequest,
    UnbindRequest,
)
from lanpost.wire.ldap_operations import FINAL_RESPONSES, NOTICE_OF_DISCONNECTION_OID, START_TLS_OID, final_response
from lanpost.wire.ldap_server import MAX_MESSAGE, MAX_OPEN_OPERATIONS, MAX_UNSENT, LdapServer, State

SEARCH = SearchRequest("dc=lan", Scope.SUBTREE, Present("objectClass"))
BIND = BindRequest("cn=fax1", b"secret")
DONE = SearchDone(Result())
START_TLS = ExtendedRequest(START_TLS_OID)


def sent_by(session: LdapServer) -> list[Message]:
    return list(split(session.data_to_send()))


def split(data: bytes) -> Iterator[Message]:
    at = 0
    while at < len(data):
        length = data[at + 1]
        head = 2
        if length >= 0x80:
            head += length & 0x7F
            length = int.from_bytes(data[at + 2 : at + head], "big")
        yield decode_at(data, at, at + head + length)
        at += head + length


def receive(session: LdapServer, *requests: tuple[int, Request]) -> None:
    session.receive_data(b"".join(encode_message(Message(number, request)) for number, request in requests))


def taken(session: LdapServer) -> list[Message]:
    events = []
    while (event := session.next_event()) is not None:
        events.append(event)
    return events


def notice(session: LdapServer) -> Result:
    """The last that was sent, which must end the session."""
    assert session.state is State.CLOSED
    last = sent_by(session)[-1]
    assert last.id == 0
    assert isinstance(last.operation, ExtendedResponse)
    assert last.operation.oid == NOTICE_OF_DISCONNECTION_OID
    return last.operation.result


def test_operations_are_under_way_together_and_answered_in_any_order() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH), (2, DeleteRequest("cn=x")), (3, CompareRequest("cn=x", "cn", b"x")))
    assert [event.id for event in taken(session)] == [1, 2, 3]
    assert set(session.open_operations) == {1, 2, 3}
    session.answer(3, CompareResponse(Result(ResultCode.COMPARE_TRUE)))
    session.answer(1, SearchEntry("cn=x", ()), (Control("1.2.3", critical=False, value=b"c"),))
    session.answer(2, DeleteResponse(Result()))
    session.answer(1, SearchReference(("ldap://10.0.0.1/",)))
    session.answer(1, IntermediateResponse("1.2"))
    session.answer(1, DONE)
    assert [message.id for message in sent_by(session)] == [3, 1, 2, 1, 1, 1]
    assert not session.open_operations
    receive(session, (1, SEARCH))
    assert [event.id for event in taken(session)] == [1], "an id may be used again"


@pytest.mark.parametrize(
    "response", [BindResponse(Result()), CompareResponse(Result()), SearchEntry("", ()), SearchReference(())]
)
def test_an_answer_that_does_not_fit_is_our_own_mistake(response: BindResponse) -> None:
    session = LdapServer()
    receive(session, (1, DeleteRequest("cn=x")))
    taken(session)
    with pytest.raises(LocalProtocolError, match="does not answer DeleteRequest"):
        session.answer(1, response)
    with pytest.raises(LocalProtocolError, match="message id 2"):
        session.answer(2, DeleteResponse(Result()))
    with pytest.raises(LocalProtocolError, match="message id 2"):
        session.send_encoded(encode_search_done(2), 2)


def test_nothing_is_given_out_until_a_bind_is_answered() -> None:
    session = LdapServer()
    receive(session, (1, BIND), (2, SEARCH), (3, UnbindRequest()))
    assert taken(session) == [Message(1, BIND)]
    assert session.state is State.BINDING
    assert session.paused
    session.answer(1, BindResponse(Result(ResultCode.SASL_BIND_IN_PROGRESS), b"challenge"))
    assert [event.id for event in taken(session)] == [2, 3]


def test_what_is_under_way_is_abandoned_before_a_bind() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH), (2, SEARCH), (3, BIND))
    assert taken(session) == [
        Message(1, SEARCH),
        Message(2, SEARCH),
        Message(0, AbandonRequest(1)),
        Message(0, AbandonRequest(2)),
        Message(3, BIND),
    ]
    session.answer(1, DONE)  # it was under way to us already
    assert session.data_to_send() == b""


def test_what_came_in_the_clear_behind_start_tls_is_never_read() -> None:
    session = LdapServer()
    receive(session, (1, START_TLS), (2, DeleteRequest("cn=injected")))
    assert taken(session) == [Message(1, START_TLS)]
    assert session.state is State.SECURING
    session.answer(1, ExtendedResponse(Result(), START_TLS_OID))
    assert session.secure
    assert session.buffered == 0
    assert taken(session) == []
    receive(session, (3, SEARCH), (4, START_TLS))
    assert [event.id for event in taken(session)] == [3]
    assert [message.operation for message in sent_by(session)][1:] == [
        ExtendedResponse(Result(ResultCode.OPERATIONS_ERROR, "TLS has begun already"))
    ]


def test_start_tls_that_is_refused_changes_nothing() -> None:
    session = LdapServer()
    receive(session, (1, START_TLS), (2, SEARCH))
    taken(session)
    session.answer(1, ExtendedResponse(Result(ResultCode.UNAVAILABLE)))
    assert not session.secure
    assert [event.id for event in taken(session)] == [2]


def test_start_tls_among_other_operations_is_refused() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH), (2, START_TLS))
    assert [event.id for event in taken(session)] == [1]
    (answer,) = sent_by(session)
    assert isinstance(answer.operation, ExtendedResponse)
    assert (answer.id, answer.operation.result.code) == (2, ResultCode.OPERATIONS_ERROR)
    assert session.state is State.OPEN


def test_an_abandoned_operation_gets_no_answer() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH), (2, AbandonRequest(1)), (3, AbandonRequest(77)))
    assert taken(session) == [Message(1, SEARCH), Message(2, AbandonRequest(1))]
    session.answer(1, DONE)
    session.send_encoded(encode_search_done(1), 1)
    assert session.data_to_send() == b""


def test_unbind_is_the_last_event() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH), (2, UnbindRequest()), (3, SEARCH))
    assert [event.id for event in taken(session)] == [1, 2]
    assert session.state is State.CLOSED
    session.answer(1, DONE)
    session.receive_data(b"more")
    assert (session.buffered, session.data_to_send(), taken(session)) == (0, b"", [])


@pytest.mark.parametrize("octets", [b"\x16\x03\x01", b"EHLO me\r\n", b"\x30\x80", bytes.fromhex("30050201014b00")])
def test_malformed_input_ends_the_session_with_a_notice(octets: bytes) -> None:
    session = LdapServer()
    receive(session, (1, SEARCH))
    session.receive_data(octets)
    assert [event.id for event in taken(session)] == [1]
    assert notice(session).code == ResultCode.PROTOCOL_ERROR
    assert session.fault


def test_an_id_in_use_ends_the_session() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH), (1, SEARCH))
    taken(session)
    assert "message id 1 is in use" in notice(session).text


def test_id_0_ends_the_session() -> None:
    session = LdapServer()
    receive(session, (0, SEARCH))
    assert taken(session) == []
    assert "message id 0" in notice(session).text


def test_a_response_ends_the_session() -> None:
    session = LdapServer()
    session.receive_data(encode_message(Message(1, DONE)))
    assert taken(session) == []
    assert "no request" in notice(session).text


def test_a_wrong_value_is_answered_and_the_session_goes_on() -> None:
    nested: Filter = Present("cn")
    for _ in range(20):
        nested = Not(nested)
    session = LdapServer()
    receive(session, (1, SearchRequest("", Scope.BASE, nested)), (2, SEARCH))
    session.receive_data(element(0x30, integer(3) + element(0x60, bytes.fromhex("020103 0400 8100"))))
    session.receive_data(element(0x30, integer(4) + element(0x4A, b"\xff")))
    assert [event.id for event in taken(session)] == [2]
    answers = [(message.id, type(message.operation)) for message in sent_by(session)]
    assert answers == [(1, SearchDone), (3, BindResponse), (4, DeleteResponse)]
    assert session.state is State.OPEN


def test_a_message_longer_than_allowed_is_refused_before_it_is_here() -> None:
    session = LdapServer()
    session.receive_data(b"\x30\x84" + (MAX_MESSAGE - 5).to_bytes(4, "big"))
    assert taken(session) == []
    assert "allowed" in notice(session).text


def test_somebody_trusted_may_send_more() -> None:
    session = LdapServer()
    session.max_message = ldap_server.MAX_MESSAGE_OF_THE_TRUSTED
    request = CompareRequest("cn=x", "jpegPhoto", b"\xff" * MAX_MESSAGE)
    receive(session, (1, request))
    assert taken(session) == [Message(1, request)]


def test_no_more_than_so_many_operations_are_open() -> None:
    session = LdapServer()
    receive(session, *((number, SEARCH) for number in range(1, 201)))
    given = taken(session)
    assert len(given) == MAX_OPEN_OPERATIONS
    assert session.paused
    assert session.buffered
    session.answer(5, DONE)
    assert [event.id for event in taken(session)] == [MAX_OPEN_OPERATIONS + 1]


def test_abandon_and_unbind_pass_where_no_more_operations_do() -> None:
    session = LdapServer()
    receive(session, *((number, SEARCH) for number in range(1, MAX_OPEN_OPERATIONS + 1)))
    receive(session, (100, AbandonRequest(7)), (101, SEARCH), (102, SEARCH), (103, UnbindRequest()))
    assert [event.id for event in taken(session)][-2:] == [100, 101]
    session.answer(1, DONE)
    assert [event.id for event in taken(session)] == [102, 103]
    assert session.state is State.CLOSED


def test_who_does_not_read_answers_is_given_no_more() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH), (2, SEARCH), (3, AbandonRequest(1)))
    assert [event.id for event in [session.next_event()] if event] == [1]
    session.answer(1, SearchEntry("cn=x", (("jpegPhoto", (b"x" * MAX_UNSENT,)),)))
    assert session.unsent > MAX_UNSENT
    assert session.next_event() is None
    session.data_to_send()
    assert session.unsent == 0
    assert [event.id for event in taken(session)] == [2, 3]


def test_answers_that_are_encoded_already_end_their_search() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH), (2, SEARCH))
    taken(session)
    session.send_encoded(encode_search_entry(1, "cn=x", b""), None)
    session.send_encoded(encode_search_entry(2, "cn=x", b"") + encode_search_done(2), 2)
    assert set(session.open_operations) == {1}
    assert [message.id for message in sent_by(session)] == [1, 2, 2]


def test_we_may_end_it_ourselves() -> None:
    session = LdapServer()
    receive(session, (1, SEARCH))
    taken(session)
    session.disconnect(Result(ResultCode.UNAVAILABLE, "the server stops"))
    session.disconnect(Result(ResultCode.UNAVAILABLE, "twice"))
    session.send_encoded(b"late", None)
    assert notice(session) == Result(ResultCode.UNAVAILABLE, "the server stops")
    assert session.fault == ""


def play(pieces: Sequence[bytes]) -> tuple[list[Message], bytes, State]:
    """Feed pieces; every request is answered at once."""
    session = LdapServer()
    events: list[Message] = []
    sent = b""
    for piece in (*pieces, b""):
        session.receive_data(piece)
        while (event := session.next_event()) is not None:
            events.append(event)
            kind = type(event.operation)
            if kind in FINAL_RESPONSES:
                session.answer(event.id, final_response(kind, Result(ResultCode.UNWILLING_TO_PERFORM)))
        sent += session.data_to_send()
    return events, sent, session.state


CONVERSATION = b"".join(
    encode_message(message)
    for message in (
        Message(1, BIND),
        Message(2, SEARCH, (Control("1.2.3", critical=True),)),
        Message(300, CompareRequest("cn=x", "cn", b"x" * 300)),
        Message(70000, START_TLS),
        Message(4, AbandonRequest(2)),
        Message(5, DeleteRequest("cn=y")),
        Message(6, UnbindRequest()),
    )
)


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=12).map(sorted))
def test_the_outcome_does_not_depend_on_how_tcp_cuts_the_stream(cuts: list[int]) -> None:
    pieces = [CONVERSATION[start:end] for start, end in zip([0, *cuts], [*cuts, len(CONVERSATION)], strict=True)]
    assert play(pieces) == play([CONVERSATION])
    assert play([CONVERSATION])[2] is State.CLOSED


def test_octet_by_octet_it_is_the_same() -> None:
    assert play([bytes((octet,)) for octet in CONVERSATION]) == play([CONVERSATION])


@given(st.lists(st.binary(max_size=20) | messages.map(encode_message), max_size=6), st.integers(1, 50))
def test_no_input_raises_however_it_is_cut(pieces: list[bytes], cut: int) -> None:
    data = b"".join(pieces)
    whole = play([data])
    assert play([data[at : at + cut] for at in range(0, len(data), cut)]) == whole
    for message in split(whole[1]):
        assert message.id >= 0


def test_a_late_answer_to_a_modify_that_was_abandoned_by_a_bind_is_dropped() -> None:
    session = LdapServer()
    receive(session, (1, DeleteRequest("cn=x")), (2, BIND))
    taken(session)
    session.answer(2, BindResponse(Result()))
    session.answer(1, ModifyResponse(Result()))
    assert [message.id for message in sent_by(session)] == [2]
