from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import InvalidRefresh
from lanpost.wire.refresh import (
    MAX_OCTETS,
    MAX_TARGETS,
    MAX_WINDOW_SECONDS,
    RefreshRequest,
    SignedRefresh,
    server_id,
    target_of,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SERVER = server_id(KEY.public_key().public_bytes_raw())
NUMBERS = st.integers(0, 2**64 - 1)


def request(*targets: bytes, epoch: int = 7, sequence: int = 1, window: float = 2.0) -> RefreshRequest:
    return RefreshRequest(SERVER, epoch, sequence, window, targets)


@given(
    NUMBERS,
    NUMBERS,
    st.integers(0, int(MAX_WINDOW_SECONDS * 1000)),
    st.lists(st.binary(min_size=8, max_size=8), max_size=MAX_TARGETS),
)
def test_what_is_written_is_read_back(epoch: int, sequence: int, millis: int, targets: list[bytes]) -> None:
    asked = RefreshRequest(SERVER, epoch, sequence, millis / 1000, tuple(targets))
    datagram = asked.encode(KEY.sign)
    assert len(datagram) <= MAX_OCTETS
    read = SignedRefresh.read(datagram)
    assert read.request == asked
    KEY.public_key().verify(read.signature, read.signed)


def test_the_form_is_the_documented_one() -> None:
    one = target_of(SERVER, "fax1@office.lan")
    datagram = request(one, epoch=0x0102, sequence=3, window=2.5).encode(lambda _: bytes(64))
    assert datagram == (
        b"LPR\x01" + SERVER + bytes.fromhex("0000000000000102 0000000000000003 000009c4 01") + one + bytes(64)
    )


def test_as_many_terminals_as_fit_are_named_and_no_more() -> None:
    names = [target_of(SERVER, f"fax{number}@office.lan") for number in range(MAX_TARGETS + 1)]
    assert len(request(*names[:-1]).encode(KEY.sign)) <= MAX_OCTETS
    with pytest.raises(InvalidRefresh, match=f"{MAX_TARGETS} terminals"):
        request(*names)


def test_no_name_is_everyone_and_a_name_is_that_terminal_only() -> None:
    one, other = target_of(SERVER, "fax1@office.lan"), target_of(SERVER, "fax2@office.lan")
    assert request().names(one)
    assert request(one).names(one)
    assert not request(one).names(other)


@given(st.binary(max_size=600))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    try:
        SignedRefresh.read(data)
    except InvalidRefresh:
        return
    assert data.startswith(b"LPR\x01")


@given(st.data())
def test_one_wrong_bit_is_seen_by_the_reader_or_by_the_signature(data: st.DataObject) -> None:
    datagram = bytearray(request(target_of(SERVER, "fax1@office.lan")).encode(KEY.sign))
    bit = data.draw(st.integers(0, len(datagram) * 8 - 1))
    datagram[bit // 8] ^= 1 << bit % 8
    try:
        read = SignedRefresh.read(bytes(datagram))
    except InvalidRefresh:
        return
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(read.signature, read.signed)


@pytest.mark.parametrize(
    ("datagram", "why"),
    [
        (bytes(513), "more than 512"),
        (b"LPR", "no refresh request"),
        (b"LPR\x02" + bytes(200), "version 2"),
        (request().encode(KEY.sign) + b"x", "length"),
        (request().encode(KEY.sign)[:-1], "no refresh request"),
    ],
)
def test_what_is_wrong_is_named(datagram: bytes, why: str) -> None:
    with pytest.raises(InvalidRefresh, match=why):
        SignedRefresh.read(datagram)
