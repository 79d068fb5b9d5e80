"""Messages of LDAP to octets. That they are read again as they were: test_ldap_decode.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ldap_values import attributes, message_ids, texts

from lanpost.wire.ldap_decode import decode_message
from lanpost.wire.ldap_encode import encode_attribute, encode_message, encode_search_done, encode_search_entry
from lanpost.wire.ldap_messages import Attribute, Message, Result, SearchDone, SearchEntry


@given(message_ids, texts, st.lists(attributes, max_size=5))
def test_an_entry_of_parts_encoded_before_is_the_same(message_id: int, name: str, found: list[Attribute]) -> None:
    joined = b"".join(encode_attribute(description, values) for description, values in found)
    whole = encode_message(Message(message_id, SearchEntry(name, tuple(found))))
    assert encode_search_entry(message_id, name, joined) == whole


@pytest.mark.parametrize("length", range(80, 140))
@pytest.mark.parametrize("message_id", [1, 2**31 - 1])
def test_lengths_grow_by_an_octet_where_they_must(length: int, message_id: int) -> None:
    entry = SearchEntry("x", (("d", (b"v" * length,)),))
    data = encode_search_entry(message_id, "x", encode_attribute("d", (b"v" * length,)))
    assert data == encode_message(Message(message_id, entry))
    assert decode_message(data) == Message(message_id, entry)
    assert len(data) - length in range(21, 21 + 6 + 4)  # headers of two octets, six lengths that may have one more


@given(message_ids)
def test_a_plain_end_of_a_search_is_the_same(message_id: int) -> None:
    assert encode_search_done(message_id) == encode_message(Message(message_id, SearchDone(Result())))
