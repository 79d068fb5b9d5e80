"""Messages of LDAP from octets: what others write is understood, anything else is refused."""

from __future__ import annotations

import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.ldap_values import SEEN, messages

from lanpost.errors import InvalidLdapValue, LdapProtocolError
from lanpost.wire import ldap_decode, ldap_decode_requests, ldap_decode_responses
from lanpost.wire.ber import MAX_ELEMENTS, element, integer, octets, text
from lanpost.wire.ldap_decode import decode_at, decode_message
from lanpost.wire.ldap_encode import encode_message
from lanpost.wire.ldap_filter import MAX_DEPTH, MAX_ITEMS, And, Equals, Filter, Not, Present
from lanpost.wire.ldap_messages import (
    BindRequest,
    Control,
    ExtendedResponse,
    Message,
    Modification,
    ModificationKind,
    ModifyRequest,
    Result,
    ResultCode,
    Scope,
    SearchDone,
    SearchEntry,
    SearchRequest,
)

SEARCH = Message(
    7,
    SearchRequest(
        "ou=chart,dc=office,dc=lan",
        Scope.SUBTREE,
        Equals("mailLocalAddress", b"fax1@office.lan"),
        ("ipHostNumber", "lanpostPort", "lanpostKey"),
    ),
)
BEHIND = encode_message(SEARCH)
ENTRY = Message(7, SearchEntry("cn=fax1,dc=lan", (("cn", (b"fax1",)), ("mail", (b"a@b", b"c@d")), ("x", ()))))


def search_with(filter_: Filter) -> bytes:
    return encode_message(Message(1, SearchRequest("", Scope.BASE, filter_)))


@given(messages)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    data = encode_message(message)
    assert decode_message(data) == message
    assert decode_message(data) == message  # the second time parts of it may be remembered


@pytest.mark.parametrize("tool", SEEN)
def test_what_openldap_sends_is_understood_and_written_the_same(tool: str) -> None:
    sent, message = SEEN[tool]
    assert decode_message(bytes.fromhex(sent)) == message
    assert encode_message(message).hex() == sent


def outcome(data: bytes) -> Message | type[LdapProtocolError]:
    """Of a message with another one behind it, which is none of its business."""
    try:
        return decode_at(data + BEHIND, 0, len(data))
    except LdapProtocolError as error:
        return type(error)


def outcome_the_long_way(data: bytes) -> Message | type[LdapProtocolError]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ldap_decode, "_quick_frame", lambda *_: None)
        patch.setattr(ldap_decode_requests, "_quick_search", lambda *_: None)
        patch.setattr(ldap_decode_responses, "_LEAST_QUICK", sys.maxsize)
        return outcome(data)


@given(st.binary(max_size=100))
@example(bytes.fromhex("3003020101"))
def test_any_octets_are_a_message_or_refused(data: bytes) -> None:
    assert outcome(data) == outcome_the_long_way(data)


@given(messages, st.data())
def test_a_message_that_is_damaged_is_another_message_or_refused(message: Message, data: st.DataObject) -> None:
    damaged = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(damaged)) == outcome_the_long_way(bytes(damaged))


@pytest.mark.parametrize("message", [SEARCH, ENTRY, Message(7, SearchDone(Result()))])
def test_the_quick_ways_find_what_the_long_ways_find(message: Message) -> None:
    """Every octet of a usual message replaced by every other."""
    whole = encode_message(message)
    decode_message(whole)  # so that what can be remembered is
    for place in range(len(whole)):
        for octet in range(256):
            damaged = whole[:place] + bytes((octet,)) + whole[place + 1 :]
            assert outcome(damaged) == outcome_the_long_way(damaged)


@pytest.mark.parametrize("tool", SEEN)
def test_no_part_of_a_message_is_one(tool: str) -> None:
    whole = bytes.fromhex(SEEN[tool][0])
    for length in range(len(whole)):
        with pytest.raises(LdapProtocolError):
            decode_message(whole[:length])


def test_lengths_with_zeros_in_front_say_the_same() -> None:
    """As Active Directory writes them: four octets for every length."""

    def long_form(tag: int, contents: bytes) -> bytes:
        return bytes((tag, 0x84)) + len(contents).to_bytes(4, "big") + contents

    attribute = long_form(0x30, long_form(4, b"cn") + long_form(0x31, long_form(4, b"fax1")))
    entry = long_form(0x64, long_form(4, b"cn=fax1") + long_form(0x30, attribute))
    data = long_form(0x30, long_form(2, b"\x05") + entry)
    assert decode_message(data) == Message(5, SearchEntry("cn=fax1", (("cn", (b"fax1",)),)))


def test_what_follows_the_known_parts_is_passed_over() -> None:
    later = element(0x8F, b"of a later version")
    search = encode_message(SEARCH)
    contents = integer(7) + element(0x63, search[7:] + later) + later
    assert decode_message(element(0x30, contents)) == SEARCH
    done = element(0x65, bytes.fromhex("0a010004000400") + later)
    assert decode_message(element(0x30, integer(1) + done)) == Message(1, SearchDone(Result()))


def test_a_result_code_that_we_do_not_know_is_a_number() -> None:
    message = decode_message(element(0x30, integer(1) + element(0x65, bytes.fromhex("0a02100104000400"))))
    assert message.operation == SearchDone(Result(4097))
    message = decode_message(element(0x30, integer(1) + element(0x65, bytes.fromhex("0a02100004000400"))))
    assert isinstance(message.operation, SearchDone)
    assert message.operation.result.code is ResultCode.SYNC_REFRESH_REQUIRED


def test_a_notice_of_disconnection_has_message_id_0() -> None:
    oid = "1.3.6.1.4.1.1466.20036"
    notice = bytes.fromhex("0a0134 0400 0403 627965") + element(0x8A, oid.encode())
    message = decode_message(element(0x30, integer(0) + element(0x78, notice)))
    assert message == Message(0, ExtendedResponse(Result(ResultCode.UNAVAILABLE, "bye"), oid))


def test_a_control_may_leave_out_that_it_is_not_critical() -> None:
    control = element(0x30, text("1.2.3") + octets(b"v"))
    data = element(0x30, integer(1) + b"\x42\x00" + element(0xA0, control))
    assert decode_message(data).controls == (Control("1.2.3", False, b"v"),)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 40])
def test_a_filter_that_is_nested_too_deep_is_refused_alone(depth: int) -> None:
    nested: Filter = Present("cn")
    for _ in range(MAX_DEPTH - 1):
        nested = Not(nested)
    assert decode_message(search_with(nested)).operation == SearchRequest("", Scope.BASE, nested)
    for _ in range(depth - MAX_DEPTH):
        nested = Not(nested)
    with pytest.raises(InvalidLdapValue, match="deeper than 16") as refused:
        decode_message(search_with(nested))
    assert (refused.value.message_id, refused.value.tag, refused.value.code) == (1, 0x63, 2)


@pytest.mark.parametrize("sign", [0xA0, 0xA1, 0xA2])
def test_a_filter_bomb_of_a_hundred_thousand_levels_is_refused(sign: int) -> None:
    bomb = element(0x87, b"cn")
    parts = [bomb]
    length = len(bomb)
    for _ in range(100_000):
        head = element(sign, b"")[:1] + b"\x84" + length.to_bytes(4, "big")
        parts.append(head)
        length += len(head)
    filter_ = b"".join(reversed(parts))
    search = bytes.fromhex("0400 0a0100 0a0100 020100 020100 010100") + filter_ + b"\x30\x00"
    with pytest.raises(LdapProtocolError, match=r"too deep|deeper"):
        decode_message(element(0x30, integer(1) + element(0x63, search)))


def test_a_filter_of_too_many_items_is_refused_alone() -> None:
    decode_message(search_with(And((Present("cn"),) * MAX_ITEMS)))
    with pytest.raises(InvalidLdapValue, match="256 items"):
        decode_message(search_with(And((Present("cn"),) * (MAX_ITEMS + 1))))
    with pytest.raises(InvalidLdapValue, match="256 items"):
        decode_message(search_with(And((And(()),) * (MAX_ITEMS + 1))))


def test_a_message_of_too_many_elements_is_refused() -> None:
    values = (b"",) * MAX_ELEMENTS
    request = ModifyRequest("dc=lan", (Modification(ModificationKind.ADD, "member", values),))
    with pytest.raises(LdapProtocolError, match="elements"):
        decode_message(encode_message(Message(1, request)))


@pytest.mark.parametrize(
    ("operation", "reason", "code"),
    [
        (element(0x4A, b"\xff"), "UTF-8", 2),
        (element(0x60, bytes.fromhex("020103 0400 8100")), "unknown kind of bind", 7),
        (element(0x60, bytes.fromhex("020103 0400 a3020400")), "without a mechanism", 7),
        (element(0x63, bytes.fromhex("0400 0a0103 0a0100 020100 020100 010100 8702636e 3000")), "scope", 2),
        (element(0x63, bytes.fromhex("0400 0a0100 0a0104 020100 020100 010100 8702636e 3000")), "aliases", 2),
        (element(0x63, bytes.fromhex("0400 0a0100 0a0100 0201ff 020100 010100 8702636e 3000")), "negative", 2),
        (element(0x63, bytes.fromhex("0400 0a0100 0a0100 020100 020100 010100 8a00 3000")), "kind of filter", 2),
        (element(0x63, bytes.fromhex("0400 0a0100 0a0100 020100 020100 010100 a200 3000")), "negation", 2),
        (
            element(0x63, bytes.fromhex("0400 0a0100 0a0100 020100 020100 010100 a404 0400 3000 3000")),
            "substring",
            2,
        ),
        (
            element(0x63, bytes.fromhex("0400 0a0100 0a0100 020100 020100 010100 a406 0400 3002 8100 3000")),
            "empty part",
            2,
        ),
        (
            element(
                0x63, bytes.fromhex("0400 0a0100 0a0100 020100 020100 010100 a40a 0400 3006 820161 810161 3000")
            ),
            "follows the end",
            2,
        ),
        (
            element(
                0x63, bytes.fromhex("0400 0a0100 0a0100 020100 020100 010100 a40a 0400 3006 810161 800161 3000")
            ),
            "misplaced",
            2,
        ),
        (element(0x63, bytes.fromhex("0400 0a0100 0a0100 020100 020100 010100 a903830161 3000")), "extensible", 2),
        (element(0x66, bytes.fromhex("0400 3009 3007 0a0104 3002 0400")), "modification", 2),
    ],
)
def test_a_wrong_value_in_a_sound_frame_is_told_from_a_broken_frame(
    operation: bytes, reason: str, code: int
) -> None:
    with pytest.raises(InvalidLdapValue, match=reason) as refused:
        decode_message(element(0x30, integer(300) + operation))
    assert (refused.value.message_id, refused.value.tag, refused.value.code) == (300, operation[0], code)


@pytest.mark.parametrize(
    ("octets_", "reason"),
    [
        ("", "cut short"),
        ("30050201014200ff", "follows the message"),
        ("30800201014200 0000", "indefinite"),
        ("3003020101", "cut short"),
        ("300404014200", "without an id"),
        ("30050201ff4200", "negative"),
        ("3009020500000000014200", "5 octets"),
        ("30050201015f00", "more than one octet"),
        ("30050201017f00", "more than one octet"),
        ("30050201014b00", "unknown operation"),
        ("300a020101630504036162", "longer"),
    ],
)
def test_a_broken_frame_is_refused(octets_: str, reason: str) -> None:
    with pytest.raises(LdapProtocolError, match=reason) as refused:
        decode_message(bytes.fromhex(octets_))
    assert not isinstance(refused.value, InvalidLdapValue)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Message(1, BindRequest("cn=x", b"secret")))
