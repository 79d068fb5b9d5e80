"""Received octets, cut into messages in time proportional to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ldap_values import messages

from lanpost.errors import InvalidLdapValue, LdapProtocolError
from lanpost.wire.ber import element, integer
from lanpost.wire.ldap_buffer import LdapBuffer
from lanpost.wire.ldap_encode import encode_message
from lanpost.wire.ldap_messages import CompareRequest, DeleteRequest, Message

LIMIT = 1_000_000


def drained(buffer: LdapBuffer) -> list[Message]:
    found = []
    while (message := buffer.next_message(LIMIT)) is not None:
        found.append(message)
    return found


@given(st.lists(messages, max_size=6), st.data())
def test_messages_come_out_as_they_went_in_however_they_were_cut(sent: list[Message], data: st.DataObject) -> None:
    octets = b"".join(encode_message(message) for message in sent)
    buffer = LdapBuffer()
    found = []
    at = 0
    while at < len(octets):
        end = data.draw(st.integers(at + 1, len(octets)))
        buffer.append(octets[at:end])
        if data.draw(st.booleans()):
            found += drained(buffer)
        at = end
    found += drained(buffer)
    assert found == sent
    assert len(buffer) == 0


def test_a_chunk_of_many_messages_is_kept_as_it_came() -> None:
    buffer = LdapBuffer()
    chunk = encode_message(Message(1, DeleteRequest("cn=x"))) * 64
    buffer.append(chunk)
    for _ in range(63):
        assert buffer.next_message(LIMIT) is not None
        assert buffer._data is chunk, "nothing was copied"
    assert len(buffer) == len(chunk) // 64
    assert buffer.next_message(LIMIT) is not None
    assert buffer._data == b"", "nothing is kept"


def test_a_long_message_in_small_pieces_is_joined_once() -> None:
    message = Message(1, CompareRequest("cn=x", "jpegPhoto", b"x" * 100_000))
    octets = encode_message(message)
    buffer = LdapBuffer()
    joined = set()
    for at in range(len(octets)):
        buffer.append(octets[at : at + 1])
        if at < len(octets) - 1:
            assert buffer.next_message(LIMIT) is None
            joined.add(len(buffer._data))
    assert drained(buffer) == [message]
    assert max(joined) < 10, "only the header had been joined before the end was here"


def test_the_kind_of_the_next_message_is_seen_without_taking_it() -> None:
    octets = encode_message(Message(1, DeleteRequest("cn=x")))
    buffer = LdapBuffer()
    buffer.append(octets[:5])
    assert buffer.next_tag(LIMIT) is None
    buffer.append(octets[5:])
    assert buffer.next_tag(LIMIT) == 0x4A
    assert drained(buffer) == [Message(1, DeleteRequest("cn=x"))]


def test_a_message_with_a_wrong_value_is_passed_over() -> None:
    buffer = LdapBuffer()
    buffer.append(element(0x30, integer(3) + element(0x4A, b"\xff")))
    buffer.append(encode_message(Message(4, DeleteRequest("cn=x"))))
    with pytest.raises(InvalidLdapValue):
        buffer.next_message(LIMIT)
    assert drained(buffer) == [Message(4, DeleteRequest("cn=x"))]


def test_the_limit_is_of_each_message() -> None:
    octets = encode_message(Message(1, DeleteRequest("cn=x")))
    buffer = LdapBuffer()
    buffer.append(octets * 3)
    assert buffer.next_message(len(octets)) is not None
    with pytest.raises(LdapProtocolError, match="are allowed"):
        buffer.next_message(len(octets) - 1)


def test_a_cleared_buffer_has_forgotten_everything() -> None:
    buffer = LdapBuffer()
    buffer.append(b"\x30\x05\x02")
    buffer.append(b"\x01")
    assert buffer.next_message(LIMIT) is None
    buffer.clear()
    assert len(buffer) == 0
    buffer.append(encode_message(Message(4, DeleteRequest("cn=x"))))
    assert len(drained(buffer)) == 1
