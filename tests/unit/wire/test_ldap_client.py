"""The client's session of LDAP, without a network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ldap_values import messages

from lanpost.errors import LocalProtocolError
from lanpost.wire.ber import MAX_INTEGER, element, integer
from lanpost.wire.ldap_client import MAX_MESSAGE, LdapClient, State
from lanpost.wire.ldap_encode import encode_message
from lanpost.wire.ldap_filter import Present
from lanpost.wire.ldap_messages import (
    AbandonRequest,
    BindRequest,
    BindResponse,
    DeleteRequest,
    DeleteResponse,
    ExtendedRequest,
    ExtendedResponse,
    IntermediateResponse,
    Message,
    Response,
    Result,
    ResultCode,
    Scope,
    SearchDone,
    SearchEntry,
    SearchRequest,
    UnbindRequest,
)
from lanpost.wire.ldap_operations import NOTICE_OF_DISCONNECTION_OID, START_TLS_OID
from lanpost.wire.ldap_server import LdapServer

SEARCH = SearchRequest("dc=lan", Scope.SUBTREE, Present("objectClass"))
BIND = BindRequest("cn=fax1", b"secret")
DONE = SearchDone(Result())
START_TLS = ExtendedRequest(START_TLS_OID)


def receive(session: LdapClient, *responses: tuple[int, Response]) -> list[Message]:
    session.receive_data(b"".join(encode_message(Message(number, response)) for number, response in responses))
    events = []
    while (event := session.next_event()) is not None:
        events.append(event)
    return events


def test_many_operations_are_under_way_on_one_connection() -> None:
    session = LdapClient()
    ids = [session.send(SEARCH), session.send(DeleteRequest("cn=x")), session.send(SEARCH)]
    assert len(set(ids)) == 3
    assert set(session.open_operations) == set(ids)
    server = LdapServer()
    server.receive_data(session.data_to_send())
    while (event := server.next_event()) is not None:
        assert event.id in ids
    answers: list[tuple[int, Response]] = [
        (ids[2], SearchEntry("cn=y", ())),
        (ids[1], DeleteResponse(Result())),
        (ids[2], DONE),
    ]
    assert [(event.id, event.operation) for event in receive(session, *answers)] == answers
    assert set(session.open_operations) == {ids[0]}


def test_message_ids_are_positive_and_never_of_an_open_operation() -> None:
    session = LdapClient()
    session._last_id = MAX_INTEGER - 2
    ids = [session.send(SEARCH) for _ in range(4)]
    assert ids == [MAX_INTEGER - 1, MAX_INTEGER, 1, 2]
    session._last_id = MAX_INTEGER - 2
    assert session.send(SEARCH) == 3


def test_responses_that_nobody_waits_for_are_dropped() -> None:
    session = LdapClient()
    number = session.send(SEARCH)
    session.data_to_send()
    session.abandon(number)
    session.abandon(number)
    session.abandon(77)
    server = LdapServer()
    server.receive_data(encode_message(Message(number, SEARCH)) + session.data_to_send())
    server.next_event()
    assert server.next_event() == Message(number + 1, AbandonRequest(number))
    assert server.buffered == 0
    assert receive(session, (number, SearchEntry("", ())), (number, DONE), (99, DONE)) == []
    assert session.state is State.OPEN


def test_nothing_may_be_asked_while_a_bind_is_under_way() -> None:
    session = LdapClient()
    number = session.send(BIND)
    assert session.state is State.BINDING
    with pytest.raises(LocalProtocolError, match="while the session is binding"):
        session.send(SEARCH)
    with pytest.raises(LocalProtocolError, match="nothing can be abandoned"):
        session.abandon(number)
    assert len(receive(session, (number, BindResponse(Result(ResultCode.INVALID_CREDENTIALS))))) == 1
    session.send(SEARCH)


@pytest.mark.parametrize("request_", [BIND, START_TLS])
def test_a_bind_and_start_tls_are_asked_alone(request_: BindRequest | ExtendedRequest) -> None:
    session = LdapClient()
    session.send(SEARCH)
    with pytest.raises(LocalProtocolError, match="under way"):
        session.send(request_)


def test_an_abandon_is_not_sent_by_hand() -> None:
    with pytest.raises(LocalProtocolError, match="AbandonRequest"):
        LdapClient().send(AbandonRequest(1))


def test_start_tls_that_succeeds_secures_the_session() -> None:
    session = LdapClient()
    number = session.send(START_TLS)
    assert session.state is State.SECURING
    assert len(receive(session, (number, ExtendedResponse(Result())))) == 1
    assert session.secure
    with pytest.raises(LocalProtocolError, match="already"):
        session.send(START_TLS)


def test_start_tls_that_fails_leaves_it_as_it_was() -> None:
    session = LdapClient()
    number = session.send(START_TLS)
    assert len(receive(session, (number, ExtendedResponse(Result(ResultCode.PROTOCOL_ERROR))))) == 1
    assert not session.secure
    assert session.state is State.OPEN


def test_what_came_in_the_clear_behind_start_tls_is_never_believed() -> None:
    session = LdapClient()
    number = session.send(START_TLS)
    assert receive(session, (number, ExtendedResponse(Result())), (number + 1, DONE)) == []
    assert session.state is State.CLOSED
    assert "in the clear" in session.fault
    assert not session.secure


def test_unbind_ends_the_session() -> None:
    session = LdapClient()
    session.send(SEARCH)
    session.send(UnbindRequest())
    assert session.state is State.CLOSED
    assert not session.open_operations
    assert session.data_to_send().endswith(bytes.fromhex("4200"))
    with pytest.raises(LocalProtocolError, match="over"):
        session.send(SEARCH)
    session.abandon(1)


def test_a_notice_of_disconnection_is_given_out_and_ends_the_session() -> None:
    session = LdapClient()
    session.send(SEARCH)
    notice = ExtendedResponse(Result(ResultCode.UNAVAILABLE, "the server stops"), NOTICE_OF_DISCONNECTION_OID)
    assert receive(session, (0, notice), (1, DONE)) == [Message(0, notice)]
    assert session.state is State.CLOSED
    assert "the server stops" in session.fault


def test_other_notices_are_given_out() -> None:
    session = LdapClient()
    notice = ExtendedResponse(Result(), "1.2.3")
    assert receive(session, (0, notice)) == [Message(0, notice)]
    assert session.state is State.OPEN


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Message(1, DeleteResponse(Result())), "does not answer"),
        (Message(0, DONE), "without a request"),
        (Message(1, SEARCH), "no response"),
    ],
)
def test_what_answers_nothing_that_was_asked_ends_the_session(answer: Message, reason: str) -> None:
    session = LdapClient()
    assert session.send(SEARCH) == 1
    session.receive_data(encode_message(answer))
    assert session.next_event() is None
    assert session.state is State.CLOSED
    assert reason in session.fault
    assert not session.open_operations
    session.receive_data(encode_message(Message(1, DONE)))
    assert session.next_event() is None


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 400",
        b"\x30\x84" + MAX_MESSAGE.to_bytes(4, "big"),
        element(0x30, integer(1) + element(0x65, bytes.fromhex("0a0100 0401ff 0400"))),  # no UTF-8
    ],
)
def test_malformed_input_ends_the_session(octets: bytes) -> None:
    session = LdapClient()
    session.send(SEARCH)
    session.receive_data(octets)
    assert session.next_event() is None
    assert session.state is State.CLOSED
    assert session.fault


def test_intermediate_responses_come_with_any_operation() -> None:
    session = LdapClient()
    number = session.send(DeleteRequest("cn=x"))
    assert len(receive(session, (number, IntermediateResponse("1.2", b"x")))) == 1
    assert set(session.open_operations) == {number}


def play(pieces: list[bytes]) -> tuple[list[Message], State, str]:
    session = LdapClient()
    for _ in range(5):
        session.send(SEARCH)
    events = []
    for piece in pieces:
        session.receive_data(piece)
        while (event := session.next_event()) is not None:
            events.append(event)
    return events, session.state, session.fault


entries = st.builds(
    Message, st.integers(0, 6), st.sampled_from([DONE, SearchEntry("cn=x", (("cn", (b"x" * 90,)),)), BIND])
)


@given(
    st.lists(st.binary(max_size=20) | messages.map(encode_message) | entries.map(encode_message), max_size=8),
    st.integers(1, 50),
)
def test_no_input_raises_however_it_is_cut(pieces: list[bytes], cut: int) -> None:
    data = b"".join(pieces)
    assert play([data[at : at + cut] for at in range(0, len(data), cut)]) == play([data])
