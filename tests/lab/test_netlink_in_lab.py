"""rtnetlink as the kernel really speaks it, also when it has more to tell than we can take."""

from __future__ import annotations

import pytest
from tests.lab.network import Lab

pytestmark = pytest.mark.lab

PROGRAM = """
import asyncio, subprocess
from lanpost.net import netlink
netlink.RECEIVE_BUFFER = 4096  # octets: a few messages

async def main():
    told = asyncio.Event()
    watch = netlink.NetlinkWatch(lambda change: told.set())
    await asyncio.wait_for(told.wait(), 10)
    before = watch._table._sequence
    commands = "\\n".join(f"addr add 10.88.{n // 250}.{n % 250 + 1}/32 dev lan0" for n in range(1000))
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)  # while the loop stands still
    async with asyncio.timeout(10):
        while len(watch.addresses) < 1000:
            told.clear()
            await told.wait()
    print("found", len(watch.addresses), "asked anew", watch._table._sequence > before)
    watch.close()

asyncio.run(main())
"""


def test_no_address_is_missed_though_the_kernel_dropped_messages(lab: Lab) -> None:
    watching = lab.terminal("fax1").python("watch", "-c", PROGRAM)
    assert watching.wait_for("found (.*)")[1] == "1000 asked anew True"
