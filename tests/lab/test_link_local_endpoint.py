"""An endpoint that has nothing but a link-local address is reached through its zone (RFC 4007 §11)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.lab.network import require

pytestmark = pytest.mark.lab

PROGRAM = """
import asyncio, socket, uvloop
from lanpost.errors import DeliveryError
from lanpost.model.endpoint import Endpoint
from lanpost.net.dial import dial

async def main():
    listening = socket.socket(socket.AF_INET6)
    listening.bind(("fe80::7", 2525, 0, socket.if_nametoindex("near0")))
    listening.listen()
    for text in ("[fe80::7%near0]:2525", "[fe80::7]:2525", "[2001:db8::1]:25"):
        try:
            connection = await dial(Endpoint.parse(text), 2)
            print("connected to", connection.getpeername()[0])
            connection.close()
        except DeliveryError as error:
            print(error)
    listening.close()

uvloop.run(main())
"""
NETWORK = """
set -e
ip link set lo up
ip link add near0 type veth peer name far0
ip link set near0 up
ip link set far0 up
ip addr add fe80::7/64 dev near0 nodad
exec "$0" -c "$1"
"""


def test_a_link_local_endpoint_is_reached_through_its_zone() -> None:
    require()
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", NETWORK, sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={"PYTHONPATH": source, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    assert done.stdout.splitlines() == [
        "connected to fe80::7",
        "cannot connect to [fe80::7]:2525: a link-local address needs its interface, as in [fe80::7%eth0]:25",
        "[2001:db8::1]:25 cannot be reached: Network is unreachable",
    ]
