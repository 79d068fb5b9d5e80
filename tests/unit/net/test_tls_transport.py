"""TLS in memory: any cut of the stream gives the same clear text, and a goodbye is answered."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.model.token import REGISTRAR_NAME
from lanpost.net.tls_transport import FIRST_OCTET, TlsTransport
from lanpost.store.authority import Authority, Names


class Raw(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.is_closed = False

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.sent += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("tls"), datetime.now(UTC))


class Pair:
    """A client of OpenSSL and our transport, with nothing but memory between them."""

    def __init__(self, authority: Authority, cut: int = 65536) -> None:
        self.cut = cut
        self.raw = Raw()
        self.server = TlsTransport(self.raw, authority.ssl_context(Names(), datetime.now(UTC)))
        self.to_client, self.from_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cadata=authority.ca_pem.decode())
        self.client = context.wrap_bio(self.to_client, self.from_client, server_hostname=REGISTRAR_NAME)
        self.first = -1
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.exchange()

    def exchange(self) -> bytes:
        """Carry both ways what is due. Returns the clear text that the server got."""
        clear = b""
        data = self.from_client.read()
        if data and self.first < 0:
            self.first = data[0]
        for at in range(0, len(data), self.cut):
            clear += self.server.receive(data[at : at + self.cut])
        self.to_client.write(bytes(self.raw.sent))
        self.raw.sent.clear()
        return clear


@pytest.mark.parametrize("cut", [1, 2, 5, 100, 65536])
def test_the_clear_text_does_not_depend_on_how_tcp_cuts_the_stream(authority: Authority, cut: int) -> None:
    pair = Pair(authority, cut)
    assert pair.first == FIRST_OCTET
    text = b"0123456789" * 5000
    pair.client.write(text)
    assert pair.exchange() == text
    pair.server.write(text)
    pair.exchange()
    got = b""
    while len(got) < len(text):
        got += pair.client.read(65536)
    assert got == text


def test_a_goodbye_is_answered_and_ends_the_connection(authority: Authority) -> None:
    pair = Pair(authority)
    pair.client.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    assert pair.exchange() == b"last words"
    assert pair.raw.is_closed
    pair.client.unwrap()
    pair.server.write(b"too late")
    pair.server.close()
    assert not pair.raw.sent


def test_our_goodbye_comes_before_the_end(authority: Authority) -> None:
    pair = Pair(authority)
    pair.server.close()
    assert pair.raw.is_closed
    pair.exchange()
    assert pair.client.read(100) == b""


@given(st.binary(min_size=1))
def test_any_octets_are_taken_or_refused_as_tls(authority: Authority, data: bytes) -> None:
    server = TlsTransport(Raw(), authority.ssl_context(Names(), datetime.now(UTC)))
    with contextlib.suppress(ssl.SSLError):
        assert server.receive(bytes([FIRST_OCTET]) + data) == b""
