"""Tells systemd how we are (sd_notify(3)): ready, reloading, alive, stopping. Not started by it, a no-op."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

NOTIFY_SOCKET = "NOTIFY_SOCKET"
WATCHDOG_USEC, WATCHDOG_PID = "WATCHDOG_USEC", "WATCHDOG_PID"
OF_THIS_PROCESS = (NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID)  # variables that no child may have


def notify(*states: str, descriptor: int | None = None) -> None:
    """`states` as sd_notify takes them: "READY=1", "STATUS=...". Never fails. `descriptor` goes with them."""
    target = os.environ.get(NOTIFY_SOCKET, "")
    if not target:
        return
    address = "\0" + target[1:] if target.startswith("@") else target
    ancillary = []
    if descriptor is not None:
        ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor])))
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendmsg(["\n".join(states).encode()], ancillary, 0, address)


@contextmanager
def reloading() -> Iterator[None]:
    """While the settings are read again."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        yield
    finally:
        notify("READY=1")


async def tell_alive() -> None:
    """Say again and again that the event loop goes round, where systemd wants to hear it; else return at once."""
    wanted = os.environ.get(WATCHDOG_USEC, "")
    if not wanted.isdecimal() or os.environ.get(WATCHDOG_PID, str(os.getpid())) != str(os.getpid()):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(wanted) / 1e6 / 3)
