"""A machine on the LAN that listens to refresh requests, and sends them again and again, as they were and altered.

Prints "heard N" for each datagram. At "replay" on standard input it sends everything heard a hundred times over,
each time also with one bit changed and with another number, then prints "replayed".
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys

from lanpost.net.broadcast import broadcast
from lanpost.net.refresh_listener import RefreshListener

PORT = 8026
NUMBER_AT = 4 + 8 + 8  # of the sequence


async def main(victim: str) -> None:
    heard: list[bytes] = []

    def hear(datagram: bytes) -> None:
        heard.append(datagram)
        print("heard", len(heard), flush=True)

    listener = RefreshListener(PORT, hear)
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    listener.close()
    chance = random.Random(20261127)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(100):
            for datagram in set(heard):
                flipped, renumbered = bytearray(datagram), bytearray(datagram)
                flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
                renumbered[NUMBER_AT] = 0x7F
                for data in (datagram, bytes(flipped), bytes(renumbered)):
                    sock.sendto(data, (victim, PORT))
                    broadcast(data, PORT)
    print("replayed", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
