"""The messages in the midst of a synchronisation, both ways."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ldap_values import octets

from lanpost.errors import InvalidLdapValue
from lanpost.wire.ldap_sync_info import (
    NewCookie,
    RefreshDelete,
    RefreshPresent,
    SyncIdSet,
    SyncInfo,
    encode_sync_info,
    read_sync_info,
)

UUID = bytes(range(16))
cookies = st.none() | octets
uuids = st.lists(st.binary(min_size=16, max_size=16), max_size=20).map(tuple)


@given(
    st.one_of(
        st.builds(NewCookie, octets),
        st.builds(RefreshDelete, cookies, st.booleans()),
        st.builds(RefreshPresent, cookies, st.booleans()),
        st.builds(SyncIdSet, uuids, st.booleans(), cookies),
    )
)
def test_it_is_read_as_it_was_written(info: SyncInfo) -> None:
    assert read_sync_info(encode_sync_info(info)) == info


@pytest.mark.parametrize(
    ("octets_", "info"),
    [  # by the ASN.1 of RFC 4533 §2.5, defaults left out
        ("8003616263", NewCookie(b"abc")),
        ("a100", RefreshDelete(None, done=True)),
        ("a2080403616263 010100", RefreshPresent(b"abc", done=False)),
        ("a317 0101ff 3112 0410" + UUID.hex(), SyncIdSet((UUID,), refresh_deletes=True)),
        ("a319 0403616263 3112 0410" + UUID.hex(), SyncIdSet((UUID,), cookie=b"abc")),
    ],
)
def test_the_octets_are_those_of_the_standard(octets_: str, info: SyncInfo) -> None:
    data = bytes.fromhex(octets_)
    assert read_sync_info(data) == info
    assert encode_sync_info(info) == data


@given(st.binary(max_size=40))
def test_any_octets_are_one_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidLdapValue):
        read_sync_info(data)


@pytest.mark.parametrize("octets_", ["", "a400", "a30431020400", "a300"])
def test_what_is_none_is_refused(octets_: str) -> None:
    with pytest.raises(InvalidLdapValue):
        read_sync_info(bytes.fromhex(octets_))
    with pytest.raises(InvalidLdapValue):
        read_sync_info(None)
