"""The sender of every mail: Postfix's smtp-source for the rate, and single probes for the latency."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass

from bench.processes import BenchError, cpu_seconds, program, quiet_cpu_seconds
from bench.sink import POLL_SECONDS, CountingSink
from bench.target import DOMAIN, Target, address

SESSIONS = 20
SENDER = f"probe@{DOMAIN}"


@dataclass(frozen=True)
class Shape:
    """What a load consists of."""

    size: int  # octets of a mail's body
    kept: bool  # many mails on a connection; else one connection a mail

    @property
    def label(self) -> str:
        return f"{self.size // 1024:>3} KB, {'kept' if self.kept else 'new'}"


@dataclass(frozen=True)
class Burst:
    """One round of one target: `seconds` from the first connect until the sink has every mail."""

    mails: int
    seconds: float
    cpu_seconds: float  # of all of the server's processes, until they are quiet

    @property
    def rate(self) -> float:
        return self.mails / self.seconds

    @property
    def cpu_milliseconds(self) -> float:
        return self.cpu_seconds / self.mails * 1000


def burst(target: Target, sink: CountingSink, shape: Shape, mails: int) -> Burst:
    """Send mails, each to the next address of the directory. BenchError where one is refused or lost."""
    cpu_before = cpu_seconds(target.roots())
    expected = sink.refresh() + mails
    start = time.monotonic()
    left = mails
    while left:
        # smtp-source numbers its recipients from 1: no more at a time than the directory has.
        part = min(left, target.stage.entries)
        _send(target, sink, shape, part)
        left -= part
    sink.wait_for(expected)
    seconds = time.monotonic() - start
    if sink.count != expected:
        raise BenchError(f"{target.name}: {sink.count - expected} mails arrived twice")
    return Burst(mails, seconds, quiet_cpu_seconds(target.roots()) - cpu_before)


def _send(target: Target, sink: CountingSink, shape: Shape, mails: int) -> None:
    command = [program("smtp-source") or "smtp-source", "-4", "-N", "-s", str(SESSIONS), "-m", str(mails)]
    command += ["-l", str(shape.size), "-f", SENDER, "-t", f"fax@{DOMAIN}", "-M", f"probe.{DOMAIN}"]
    command += ["-d"] if shape.kept else []
    command += [f"127.0.0.1:{target.port}"]
    source = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while source.poll() is None:
            sink.refresh()
            time.sleep(POLL_SECONDS)
        words = source.stderr.read() if source.stderr else ""
    finally:
        if source.poll() is None:
            source.kill()
        if source.stderr:
            source.stderr.close()
    if source.returncode:
        raise BenchError(f"{target.name}: smtp-source: {words.strip()[-300:]}")


class Probe:
    """One SMTP client that sends single mails and waits for each answer, as the simplest of terminals does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer(b"2")
        self._command(f"EHLO probe.{DOMAIN}\r\n".encode(), b"2")

    def send(self, to: int, number: int, size: int) -> None:
        """One mail to the address of number `to`, bearing `number` as its probe number."""
        self._command(f"MAIL FROM:<{SENDER}>\r\n".encode(), b"2")
        self._command(f"RCPT TO:<{address(to)}>\r\n".encode(), b"2")
        self._command(b"DATA\r\n", b"3")
        self._command(_content(to, number, size), b"2")

    def close(self) -> None:
        """QUIT, politely, so that no server takes it for a lost connection."""
        if self._socket is not None:
            self._command(b"QUIT\r\n", b"2")
            self.drop()

    def drop(self) -> None:
        """Close without a word. Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _command(self, data: bytes, wanted: bytes) -> None:
        assert self._socket
        self._socket.sendall(data)
        self._answer(wanted)

    def _answer(self, wanted: bytes) -> None:
        assert self._socket
        reply = b""
        while not (reply.endswith(b"\n") and reply[reply.rfind(b"\n", 0, -1) + 1 :][3:4] == b" "):
            data = self._socket.recv(4096)
            if not data:
                raise BenchError(f"the server hung up after {reply!r}")
            reply += data
        if not reply.startswith(wanted):
            raise BenchError(f"the server said {reply.decode('utf-8', 'replace').strip()}")


def _content(to: int, number: int, size: int) -> bytes:
    line = b"X" * 78 + b"\r\n"
    head = f"From: <{SENDER}>\r\nTo: <{address(to)}>\r\nX-Probe: {number}\r\n\r\n".encode()
    return head + line * (size // len(line)) + b".\r\n"
