"""A load of LDAP searches, each for one address of a chart: octets made beforehand, answers checked, no library.

One process and one thread, so that the other core is the server's.
"""

from __future__ import annotations

import random
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.processes import BenchError
from lanpost.wire.ldap_encode import encode_operation
from lanpost.wire.ldap_filter import Equals
from lanpost.wire.ldap_messages import Scope, SearchRequest

ATTRIBUTES = ("ipHostNumber", "lanpostPort", "lanpostUpdated", "lanpostExpires")  # what a mail server asks for
SEARCH_DONE = 0x65


@dataclass
class Load:
    """What came of one load."""

    searches: int
    seconds: float
    latencies_ms: list[float] = field(repr=False)  # a sample

    @property
    def per_second(self) -> float:
        return self.searches / self.seconds


class _Connection:
    """One client with so many searches in flight."""

    def __init__(self, port: int, base: str, names: Sequence[str], in_flight: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._bodies = [_body(base, name) for name in names]
        self._marks = [f"cn={name},".encode() for name in names]
        self._expected: dict[int, tuple[bytes, float]] = {}
        self._free = list(range(256, 256 + in_flight))  # message ids of two octets
        self._found: set[int] = set()  # searches whose right entry has come
        self._received = b""
        self._random = random.Random(1)
        self.done = 0
        self.latencies: list[float] = []

    def fill(self) -> None:
        parts = []
        now = time.perf_counter()
        while self._free:
            message_id = self._free.pop()
            number = self._random.randrange(len(self._bodies))
            body = self._bodies[number]
            self._expected[message_id] = self._marks[number], now
            parts.append(b"\x30\x82%b\x02\x02%b%b" % (_two(len(body) + 4), _two(message_id), body))
        if parts:
            self.socket.sendall(b"".join(parts))  # a few kilobytes: the kernel has room for them

    def read(self) -> None:
        data = self._received + self.socket.recv(262_144)
        if not data:
            raise BenchError("the server closed the connection")
        at = 0
        size = len(data)
        while at + 8 < size:
            length, start = data[at + 1], at + 2
            if length & 0x80:
                octets = length & 0x7F
                length, start = int.from_bytes(data[start : start + octets], "big"), start + octets
            end = start + length
            if end > size:
                break
            message_id = int.from_bytes(data[start + 2 : start + 4], "big")
            if data[start + 4] == SEARCH_DONE:
                mark, begun = self._expected.pop(message_id)
                if message_id not in self._found:
                    raise BenchError(f"a search for {mark!r} was answered {data[at:end]!r}")
                self._found.remove(message_id)
                self.done += 1
                if not self.done & 15:
                    self.latencies.append((time.perf_counter() - begun) * 1e3)
                self._free.append(message_id)
            elif data.find(self._expected[message_id][0], start, end) > 0:
                self._found.add(message_id)
            at = end
        self._received = data[at:]


def _two(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _body(base: str, name: str) -> bytes:
    """A search without its message id."""
    found = Equals("mailLocalAddress", f"{name}@office.lan".encode())
    whole = encode_operation(256, SearchRequest(base, Scope.SUBTREE, found, ATTRIBUTES))
    return whole[whole.index(b"\x02\x02\x01\x00") + 4 :]


def search(port: int, base: str, names: Sequence[str], *, connections: int, in_flight: int, seconds: float) -> Load:
    """Keep that many searches in flight on that many connections, for so long. BenchError for a wrong answer."""
    selector = selectors.DefaultSelector()
    clients = [_Connection(port, base, names, in_flight) for _ in range(connections)]
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.fill()
    begun = time.perf_counter()
    until = begun + seconds
    while time.perf_counter() < until:
        ready = selector.select(timeout=5)
        if not ready:
            raise BenchError("no answer within 5 s")
        for key, _ in ready:
            client = key.data
            client.read()
            client.fill()
    passed = time.perf_counter() - begun
    for client in clients:
        client.socket.close()
    latencies = [each for client in clients for each in client.latencies]
    return Load(sum(client.done for client in clients), passed, latencies)
