"""TLS, server side, over a connection that has begun already: its first octets decide whether it is TLS at all.

`loop.start_tls` cannot do that: what was read before it is lost. So OpenSSL is given the octets here, in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

FIRST_OCTET = 0x16  # of every TLS connection: a record of type handshake (RFC 8446 §5.1); of no HTTP method
READ_OCTETS = 16384  # what a record holds at most (RFC 8446 §5.1)


class TlsTransport(asyncio.Transport):
    """Write the clear text here; give `receive` what the raw transport gets. What is written before the handshake
    is over is dropped: nobody can read it.

    Flow control stays with the raw transport and its protocol. No input raises anything but ssl.SSLError. What is
    written goes out in the loop's next round, or with the goodbye: an answer is one segment, not four.
    """

    def __init__(self, raw: asyncio.Transport, context: ssl.SSLContext) -> None:
        super().__init__()
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_up = False
        self._will_flush = False

    def receive(self, data: bytes) -> bytes:
        """The clear text in what came; b"" when it holds none, or the client has said goodbye."""
        self._incoming.write(data)
        clear: list[bytes] = []
        try:
            if not self._is_up:
                self._tls.do_handshake()
                self._is_up = True
            while chunk := self._tls.read(READ_OCTETS):
                clear.append(chunk)
            self.close()  # no octets and no wish for more: the client has said goodbye
        except ssl.SSLWantReadError:
            pass
        finally:
            if not clear:  # else session tickets are all there is to send, and they wait for the answer
                self._flush()  # also the alert that says why we close
        return b"".join(clear)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if data and self._is_up and not self._raw.is_closing():
            self._tls.write(data)
            if self._outgoing.pending > READ_OCTETS:
                self._flush()  # that the raw transport can tell when it is full
            elif not self._will_flush:
                self._will_flush = True
                asyncio.get_running_loop().call_soon(self._flush)

    def close(self) -> None:
        if self._raw.is_closing():
            return
        if self._is_up:
            with contextlib.suppress(ssl.SSLError):  # our goodbye is sent, theirs is not waited for
                self._tls.unwrap()
            self._flush()
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def is_reading(self) -> bool:
        return self._raw.is_reading()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":
            return self._tls.context
        return self._raw.get_extra_info(name, default)

    def _flush(self) -> None:
        self._will_flush = False
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())
