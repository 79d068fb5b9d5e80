"""The endpoint of every mail: Postfix's smtp-sink to count what arrives, or a small one of our own to time it.

`python -m bench.sink PORT` runs the latter: for each mail it prints the number in its `X-Probe:` field and when
its end of data came, in nanoseconds of CLOCK_MONOTONIC, which is one clock for all processes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from bench.processes import BenchError, await_banner, program, stop

START_SECONDS = 10.0
STALLED_SECONDS = 30.0  # without one mail more: something is stuck
POLL_SECONDS = 0.002  # waking for every single count would cost a core
_MESSAGES = re.compile(rb"mesg=(\d+)")
_PROBE = re.compile(rb"^X-Probe: (\d+)\r$", re.MULTILINE)


class CountingSink:
    """smtp-sink, and how many mails it has so far."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._rest = b""
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [program("smtp-sink") or "smtp-sink", *user, "-c", "-m", "4000", f"127.0.0.1:{port}", "1024"],
            stdout=subprocess.PIPE,
            stderr=self._words,
        )
        assert self._process.stdout
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, 1 << 20)
        await_banner(port, START_SECONDS, self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def refresh(self) -> int:
        """Read the counter on; must be called often, for a full pipe would stop the sink."""
        try:
            data = self._rest + os.read(self._pipe, 1 << 20)
        except BlockingIOError:
            return self.count
        # The last number may be cut short; it is read again with what follows.
        complete = data.rpartition(b"\r")[0]
        self._rest = data[len(complete) :][-64:]
        if found := _MESSAGES.findall(complete[-256:]):
            self.count = int(found[-1])
        return self.count

    def wait_for(self, count: int) -> None:
        """Return when that many have arrived in all. BenchError when none comes any more."""
        last, since = self.count, time.monotonic()
        while self.refresh() < count:
            if self.count != last:
                last, since = self.count, time.monotonic()
            elif time.monotonic() - since > STALLED_SECONDS:
                raise BenchError(
                    f"{count - self.count} mails have not arrived {STALLED_SECONDS:.0f} s after the last"
                )
            time.sleep(POLL_SECONDS)

    def close(self) -> str:
        """Stop it; what it complained of, for whoever looks for the reason of a failure."""
        ended = self._process.poll()
        stop(self._process)
        assert self._process.stdout
        self._process.stdout.close()
        self._words.seek(0)
        words = self._words.read()[-300:].decode("utf-8", "replace").strip()
        self._words.close()
        return f"(smtp-sink ended with status {ended}: {words})" if ended is not None else f"(smtp-sink: {words})"


class StampingSink:
    """Our own sink in a process of its own; tells when each probe arrived."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.sink", str(port)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parent.parent,
        )
        await_banner(port, START_SECONDS, self._process)

    def arrival(self, probe: int) -> int:
        """Wait for a probe; nanoseconds of CLOCK_MONOTONIC at which its end of data came."""
        assert self._process.stdout
        for line in self._process.stdout:
            number, when = line.split()
            if int(number) == probe:
                return int(when)
        raise BenchError("the sink ended before the mail arrived")

    def close(self) -> None:
        stop(self._process)
        assert self._process.stdout
        self._process.stdout.close()


class _Session(asyncio.Protocol):
    """As much of an SMTP server as an honest client needs; pipelining included."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport
        self._data = bytearray()
        self._in_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one without saying so
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._data += data
        answers = bytearray()
        while True:
            if self._in_mail:
                # An empty mail has its end right behind the 354.
                end = 0 if self._data.startswith(b".\r\n") else self._data.find(b"\r\n.\r\n") + 2
                if end == 1:
                    break
                now = time.monotonic_ns()
                if found := _PROBE.search(self._data, 0, end):
                    os.write(1, b"%s %d\n" % (found[1], now))
                del self._data[: end + 3]
                self._in_mail = False
                answers += b"250 2.0.0 Ok\r\n"
                continue
            line, newline, _ = self._data.partition(b"\r\n")
            if not newline:
                break
            del self._data[: len(line) + 2]
            verb = bytes(line[:4]).upper()
            if verb == b"EHLO":
                answers += b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE\r\n"
            elif verb == b"DATA":
                self._in_mail = True
                answers += b"354 go on\r\n"
            elif verb == b"QUIT":
                self._transport.write(bytes(answers) + b"221 bye\r\n")
                self._transport.close()
                return
            else:
                answers += b"250 2.0.0 Ok\r\n"
        if answers:
            self._transport.write(bytes(answers))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Session, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
