"""Values of extended operations, both ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ldap_values import integers, message_ids, texts

from lanpost.errors import InvalidLdapValue
from lanpost.wire.ldap_extensions import (
    Refresh,
    encode_cancel,
    encode_refreshed,
    read_cancel,
    read_refreshed,
)

READERS: tuple[Callable[[bytes | None], object], ...] = (Refresh.read, read_refreshed, read_cancel)


@given(texts, integers)
def test_a_refresh_is_read_as_written(name: str, seconds: int) -> None:
    assert Refresh.read(Refresh(name, seconds).encode()) == Refresh(name, seconds)
    assert read_refreshed(encode_refreshed(seconds)) == seconds


@given(message_ids)
def test_a_cancel_is_read_as_written(message_id: int) -> None:
    assert read_cancel(encode_cancel(message_id)) == message_id


def test_what_ldapexop_sends_is_understood_and_written_the_same() -> None:
    refresh = "3014800e636e3d666178312c64633d6c616e81020e10"
    assert Refresh.read(bytes.fromhex(refresh)) == Refresh("cn=fax1,dc=lan", 3600)
    assert Refresh("cn=fax1,dc=lan", 3600).encode().hex() == refresh
    assert encode_cancel(5).hex() == "3003020105"


@pytest.mark.parametrize("read", READERS)
@given(data=st.none() | st.binary(max_size=30))
def test_any_octets_are_a_value_or_refused_as_one(
    read: Callable[[bytes | None], object], data: bytes | None
) -> None:
    try:
        found = read(data)
    except InvalidLdapValue:
        return
    assert found is not None


def test_nothing_is_cancelled_that_has_no_number() -> None:
    with pytest.raises(InvalidLdapValue, match="message id 0"):
        read_cancel(bytes.fromhex("3003020100"))
