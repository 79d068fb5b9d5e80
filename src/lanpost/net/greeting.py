"""The name by which the mail software of this very terminal greets. Standard library only.

It is asked as anybody would ask it, by connecting; nothing is said to it but QUIT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

from lanpost.net.registrar_access import connect_from
from lanpost.wire.smtp_replies import ReplyReader, greeting_name

CONNECT_SECONDS = 0.5  # to ourselves
SECONDS = 3.0  # for both looks; software that makes its clients wait longer is not known by its greeting
MAX_HOSTS = 4
READ_OCTETS = 4096


async def own_greeting(hosts: Iterable[str], port: int) -> str:
    """The name, in lower case, of whoever answers first; "" where nobody does, or each time by another name."""
    for host in islice(hosts, MAX_HOSTS):
        try:
            async with asyncio.timeout(SECONDS):
                first = await _greeting(host, port)
                return first if first and first == await _greeting(host, port) else ""
        except (OSError, TimeoutError):
            continue
    return ""


async def _greeting(host: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_SECONDS):
        sock = await connect_from("", host, port)
    with sock:
        reader = ReplyReader()
        while data := await loop.sock_recv(sock, READ_OCTETS):
            reader.receive_data(data)
            if reader.fault:
                return ""
            if (reply := reader.next_reply()) is not None:
                await loop.sock_sendall(sock, b"QUIT\r\n")
                return greeting_name(reply) if reply.code == 220 else ""
    return ""
