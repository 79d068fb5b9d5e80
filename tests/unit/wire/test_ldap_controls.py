"""Values of controls, both ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ldap_values import integers, octets, texts, words

from lanpost.errors import InvalidLdapValue
from lanpost.wire.ldap_controls import (
    MAX_SORT_KEYS,
    PagedResults,
    SortKey,
    SortResult,
    SyncDone,
    SyncMode,
    SyncRequest,
    SyncState,
    SyncStateKind,
    encode_sort_keys,
    read_sort_keys,
)

UUID = bytes(range(16))
READERS: tuple[Callable[[bytes | None], object], ...] = (
    PagedResults.read,
    read_sort_keys,
    SortResult.read,
    SyncRequest.read,
    SyncState.read,
    SyncDone.read,
)
cookies = st.none() | octets


@given(st.builds(PagedResults, integers, octets))
def test_paged_results_are_read_as_written(control: PagedResults) -> None:
    assert PagedResults.read(control.encode()) == control


@given(st.lists(st.builds(SortKey, words, texts, st.booleans()), min_size=1, max_size=MAX_SORT_KEYS).map(tuple))
def test_sort_keys_are_read_as_written(keys: tuple[SortKey, ...]) -> None:
    assert read_sort_keys(encode_sort_keys(keys)) == keys


@given(st.builds(SortResult, integers, texts))
def test_a_sort_result_is_read_as_written(control: SortResult) -> None:
    assert SortResult.read(control.encode()) == control


@given(st.builds(SyncRequest, st.sampled_from(SyncMode), cookies, st.booleans()))
def test_a_sync_request_is_read_as_written(control: SyncRequest) -> None:
    assert SyncRequest.read(control.encode()) == control


@given(st.builds(SyncState, st.sampled_from(SyncStateKind), st.binary(min_size=16, max_size=16), cookies))
def test_a_sync_state_is_read_as_written(control: SyncState) -> None:
    assert SyncState.read(control.encode()) == control


@given(st.builds(SyncDone, cookies, st.booleans()))
def test_the_end_of_a_sync_is_read_as_written(control: SyncDone) -> None:
    assert SyncDone.read(control.encode()) == control


def test_what_openldap_sends_is_understood_and_written_the_same() -> None:
    """By `ldapsearch -E pr=100/noprompt -E '!sss=cn/-mail' -E sync=rp/abc/1`, OpenLDAP 2.5.13."""
    paged, sort, sync = "30050201640400", "301130040402636e300904046d61696c8101ff", "30080a01030403616263"
    assert PagedResults.read(bytes.fromhex(paged)) == PagedResults(100)
    assert PagedResults(100).encode().hex() == paged
    keys = (SortKey("cn"), SortKey("mail", descending=True))
    assert read_sort_keys(bytes.fromhex(sort)) == keys
    assert encode_sort_keys(keys).hex() == sort
    request = SyncRequest(SyncMode.REFRESH_AND_PERSIST, b"abc")
    assert SyncRequest.read(bytes.fromhex(sync)) == request
    assert request.encode().hex() == sync


def test_what_slapd_answers_is_understood() -> None:
    state = SyncState.read(bytes.fromhex("30150a01010410ba87d71e7c8c1041884be1227b8f99e4"))
    assert state == SyncState(SyncStateKind.ADD, bytes.fromhex("ba87d71e7c8c1041884be1227b8f99e4"))
    cookie = b"rid=000,csn=20261124195522.796123Z#000000#000#000000"
    done = bytes.fromhex("3039 0434" + cookie.hex() + "0101ff")
    assert SyncDone.read(done) == SyncDone(cookie, refresh_deletes=True)
    assert PagedResults.read(bytes.fromhex("300d02010004080300000000000000")) == PagedResults(0, b"\3" + bytes(7))


@pytest.mark.parametrize("read", READERS)
def test_no_value_is_no_value(read: Callable[[bytes | None], object]) -> None:
    with pytest.raises(InvalidLdapValue, match="without its value"):
        read(None)


@pytest.mark.parametrize("read", READERS)
@given(data=st.binary(max_size=40) | st.binary(max_size=20).map(lambda inner: bytes((0x30, len(inner))) + inner))
def test_any_octets_are_a_value_or_refused_as_one(read: Callable[[bytes | None], object], data: bytes) -> None:
    try:
        found = read(data)
    except InvalidLdapValue:
        return
    assert found is not None


@pytest.mark.parametrize(
    ("read", "value", "reason"),
    [
        (PagedResults.read, "30050201ff0400", "less than nothing"),
        (SyncRequest.read, "30030a0102", "unknown mode"),
        (SyncState.read, "30150a01040410" + UUID.hex(), "unknown state"),
        (SyncState.read, "30070a0101040261 62", "of 2 octets"),
        (read_sort_keys, "3000", "no sort key"),
        (read_sort_keys, "302c" + "30020400" * (MAX_SORT_KEYS + 1), "more than 10"),
    ],
)
def test_wrong_values_are_refused(read: Callable[[bytes | None], object], value: str, reason: str) -> None:
    with pytest.raises(InvalidLdapValue, match=reason):
        read(bytes.fromhex(value))
