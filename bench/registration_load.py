"""Terminals that register, as many as wished, each from its own address: `python -m bench.registration_load`.

Reads a Plan as JSON from standard input, writes a Result as JSON to standard output. Two ways to press:

- `in_flight`: so many connections at any time, the next as soon as one is done; what fails is tried again at once;
- `window`: each terminal begins at a random moment of so many seconds (0: all at once) and then does as the agent
  does, with its time limits and its pauses (`lanpost.service.renewal`).

Certificates are not verified here: terminals do that each on its own processor, not on the server's.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import random
import select
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.processes import BenchError
from lanpost.content.directory_entry import location_of
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.endpoint import Endpoint
from lanpost.net.registrar_access import CONNECT_SECONDS
from lanpost.net.registrar_http import EXCHANGE_SECONDS
from lanpost.service.directory_modifications import located
from lanpost.service.renewal import Renewal
from lanpost.wire.ldap_encode import encode_operation
from lanpost.wire.ldap_messages import BindRequest, ModifyRequest

MOST_OPEN = 15_000  # connections of one generator: a process has 20,000 file handles
STARTS_AT_ONCE = 32  # before answers are read again
DOMAIN = "office.lan"
BASE = "ou=chart,dc=office,dc=lan"
LIFETIME = timedelta(hours=24)
SUCCESS = b"\x0a\x01\x00"  # an LDAP result's code


@dataclass(frozen=True)
class Plan:
    """What to do. `secrets` is a file with one secret a line, of terminal 0 and so on."""

    protocol: str  # "https" or "ldap"
    port: int
    secrets: str
    first: int
    count: int
    tls: bool = True
    in_flight: int = 0
    window: float = 0.0  # seconds; only where `in_flight` is 0
    repeat: int = 1  # registrations of each terminal, on one connection


@dataclass
class Result:
    """What came of it."""

    registered: int = 0
    attempts: int = 0
    seconds: float = 0.0  # from the first connect to the last answer
    failures: dict[str, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)  # seconds from when each wanted to register until it was


def terminal_name(number: int) -> str:
    return f"terminal{number}"


def terminal_host(number: int) -> str:
    """On loopback, never 127.0.0.x."""
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def run_load(plan: Plan) -> subprocess.Popen[bytes]:
    """A generator of its own process, which has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.registration_load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(plan)).encode())
    process.stdin.close()
    return process


def result_of(process: subprocess.Popen[bytes]) -> Result:
    """Waits for its end. BenchError where it failed."""
    assert process.stdout is not None
    with process.stdout:
        told = process.stdout.read()
    if process.wait():
        raise BenchError(f"the load generator ended with status {process.returncode}")
    return Result(**json.loads(told))


def https_requests(number: int, secret: str) -> list[bytes]:
    body = b'{"port": 25}'
    head = (
        f"PUT /v1/bindings/{terminal_name(number)}@{DOMAIN} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
        f"Authorization: Bearer {secret}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    return [head.encode("ascii") + b"Connection: close\r\n\r\n" + body]


def kept_https_requests(number: int, secret: str) -> list[bytes]:
    return [each.replace(b"Connection: close\r\n", b"") for each in https_requests(number, secret)]


def ldap_requests(number: int, secret: str) -> list[bytes]:
    """Log in as the terminal, then put the attributes of its place in place of the former ones."""
    name = f"cn={terminal_name(number)},{BASE}"
    address = MailAddress.parse(f"{terminal_name(number)}@{DOMAIN}")
    now = datetime.now(UTC)
    endpoint = Endpoint(terminal_host(number))
    location = location_of(Binding(address, endpoint, now, now + LIFETIME, Source.AGENT, address.key))
    return [
        encode_operation(1, BindRequest(name, secret.encode())),
        encode_operation(2, ModifyRequest(name, tuple(located(location)))),
    ]


def http_answer(received: bytes) -> tuple[int, str]:
    """Octets of the first answer (0: not whole yet) and what is wrong with it."""
    end = received.find(b"\r\n\r\n") + 4
    if end < 4:
        return 0, ""
    head = received[:end].lower()
    at = head.find(b"content-length:")
    size = end + int(head[at + 15 : head.index(b"\r", at)])
    if len(received) < size:
        return 0, ""
    status = received[9:12].decode("ascii")
    return size, "" if status == "200" else f"answer {status}"


def ldap_answer(received: bytes) -> tuple[int, str]:
    if len(received) < 2 or len(received) < 2 + received[1]:
        return 0, ""
    size = 2 + received[1]
    return size, "" if SUCCESS in received[:size] else f"answer {received[:size].hex()}"


class _Attempt:
    """One connection of one terminal."""

    __slots__ = ("answer", "begun", "deadline", "is_up", "left", "number", "received", "requests", "serial", "sock")

    def __init__(self, number: int, sock: socket.socket, requests: list[bytes], now: float) -> None:
        self.number = number
        self.sock = sock
        self.requests = requests
        self.received = b""
        self.left = 0
        self.is_up = False
        self.begun = False  # connected
        self.deadline = now + CONNECT_SECONDS
        self.serial = 0


class Generator:
    """All of them, in one thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        with Path(plan.secrets).open("r", encoding="ascii") as file:
            self._secrets = [line.strip() for line in itertools.islice(file, plan.first, plan.first + plan.count)]
        self._answer: Callable[[bytes], tuple[int, str]] = http_answer if plan.protocol == "https" else ldap_answer
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._poll = select.epoll()
        self._open: dict[int, _Attempt] = {}
        self._deadlines: list[tuple[float, int, _Attempt]] = []
        self._serial = itertools.count()
        chance = random.Random(1)
        self._chance = chance.random
        if plan.in_flight:
            self._due = [(0.0, number) for number in range(plan.first, plan.first + plan.count)]
        else:
            self._due = [
                (plan.window * chance.random(), number) for number in range(plan.first, plan.first + plan.count)
            ]
        heapq.heapify(self._due)
        self._wanted = {number: due for due, number in self._due}
        self._renewals: dict[int, Renewal] = {}
        self._failures: Counter[str] = Counter()
        self._result = Result()
        self._most = plan.in_flight or MOST_OPEN

    def run(self) -> Result:
        begun = self._begun = time.monotonic()
        while self._due or self._open:
            now = time.monotonic() - begun
            started = 0
            while (
                self._due and self._due[0][0] <= now and len(self._open) < self._most and started < STARTS_AT_ONCE
            ):
                self._start(heapq.heappop(self._due)[1], now)
                started += 1
            for fd, _ in self._poll.poll(self._pause(now, started)):
                if attempt := self._open.get(fd):
                    self._go_on(attempt)
            self._end_the_late(time.monotonic() - begun)
        self._result.seconds = time.monotonic() - begun
        self._result.failures = dict(self._failures)
        return self._result

    def _pause(self, now: float, started: int) -> float:
        if started == STARTS_AT_ONCE:
            return 0.0
        pause = 0.05
        if self._due and len(self._open) < self._most:
            pause = min(pause, max(0.0, self._due[0][0] - now))
        return pause

    def _start(self, number: int, now: float) -> None:
        plan = self._plan
        secret = self._secrets[number - plan.first]
        if plan.protocol == "ldap":
            bind, modify = ldap_requests(number, secret)
            requests = [bind] + [modify] * plan.repeat
        elif plan.repeat > 1:
            requests = kept_https_requests(number, secret) * plan.repeat
        else:
            requests = https_requests(number, secret)
        self._result.attempts += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        attempt = _Attempt(number, sock, requests, now)
        try:
            sock.bind((terminal_host(number), 0))
            sock.connect_ex(("127.0.0.1", plan.port))
        except OSError as error:
            self._end(attempt, error.strerror or str(error))
            return
        self._open[sock.fileno()] = attempt
        self._poll.register(sock.fileno(), select.EPOLLOUT)
        self._expect(attempt)

    def _expect(self, attempt: _Attempt) -> None:
        attempt.serial = next(self._serial)
        heapq.heappush(self._deadlines, (attempt.deadline, attempt.serial, attempt))

    def _go_on(self, attempt: _Attempt) -> None:
        try:
            if not attempt.begun:
                self._connected(attempt)
            if not attempt.is_up and isinstance(attempt.sock, ssl.SSLSocket):
                attempt.sock.do_handshake()
            if not attempt.is_up:
                attempt.is_up = True
                self._say(attempt)
            self._hear(attempt)
        except ssl.SSLWantReadError:
            pass
        except BlockingIOError:
            pass
        except ssl.SSLError as error:
            self._end(attempt, error.reason or str(error))
        except OSError as error:
            self._end(attempt, error.strerror or str(error))

    def _connected(self, attempt: _Attempt) -> None:
        code = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "not connected")
        attempt.begun = True
        attempt.deadline = time.monotonic() - self._begun + EXCHANGE_SECONDS
        self._expect(attempt)
        self._poll.modify(attempt.sock.fileno(), select.EPOLLIN)
        if self._plan.tls:
            attempt.sock = self._context.wrap_socket(
                attempt.sock, do_handshake_on_connect=False, suppress_ragged_eofs=True
            )

    def _say(self, attempt: _Attempt) -> None:
        attempt.sock.sendall(attempt.requests[attempt.left])  # a few hundred octets: the kernel has room for them
        attempt.left += 1

    def _hear(self, attempt: _Attempt) -> None:
        while True:
            data = attempt.sock.recv(16384)
            if not data:
                self._end(attempt, "closed by the server")
                return
            attempt.received += data
            size, wrong = self._answer(attempt.received)
            if not size:
                continue
            attempt.received = attempt.received[size:]
            if wrong:
                self._end(attempt, wrong)
                return
            if self._plan.protocol == "https" or attempt.left > 1:
                self._result.registered += 1
            if attempt.left == len(attempt.requests):
                self._end(attempt, "")
                return
            if attempt.left > 1 or self._plan.repeat > 1:
                attempt.deadline = time.monotonic() - self._begun + EXCHANGE_SECONDS
                self._expect(attempt)
            self._say(attempt)

    def _end(self, attempt: _Attempt, wrong: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._open.pop(attempt.sock.fileno(), None)
            self._poll.unregister(attempt.sock.fileno())
        attempt.sock.close()
        attempt.serial = -1
        now = time.monotonic() - self._begun
        if not wrong:
            self._result.waits.append(round(now - self._wanted[attempt.number], 4))
            self._renewals.pop(attempt.number, None)
            return
        self._failures[wrong] += 1
        if self._plan.in_flight:
            heapq.heappush(self._due, (now, attempt.number))
            return
        renewal = self._renewals.setdefault(attempt.number, Renewal())
        renewal.failed(now, self._chance())
        heapq.heappush(self._due, (renewal.due, attempt.number))

    def _end_the_late(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            _, serial, attempt = heapq.heappop(self._deadlines)
            if attempt.serial == serial:
                self._end(attempt, "no answer in time" if attempt.begun else "not connected in time")


if __name__ == "__main__":
    print(json.dumps(asdict(Generator(Plan(**json.load(sys.stdin))).run())))
