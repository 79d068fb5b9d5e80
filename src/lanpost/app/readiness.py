"""Tells whoever started us that we are ready, reloading or stopping (sd_notify(3)); without systemd a no-op."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """`state` as sd_notify takes it: "READY=1", "STOPPING=1", "STATUS=...". Never fails."""
    target = os.environ.get("NOTIFY_SOCKET", "")
    if not target:
        return
    address = "\0" + target[1:] if target.startswith("@") else target
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), address)
