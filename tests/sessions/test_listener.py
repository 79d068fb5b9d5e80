from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from lanpost.errors import ConfigurationError
from lanpost.net.listener import Connection, ConnectionLimits, Listener
from lanpost.net.listening_sockets import bind

REFUSAL = b"421 4.7.0 Too many connections\r\n"


@dataclass(frozen=True)
class At:
    host: str = "127.0.0.1"
    port: int = 0


class Echo(Connection):
    """Greets, gives back what it gets, and when told to leave waits for a last word or leaves at once."""

    stubborn = False

    def opened(self) -> None:
        self.transport.write(f"hello {self.client_host} {self.client_port} at {self.local_host()}\n".encode())

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def leave(self) -> None:
        if not self.stubborn:
            self.transport.write(b"bye\n")
            self.transport.close()


class Stubborn(Echo):
    stubborn = True


@asynccontextmanager
async def listening(
    *listens: At,
    limits: ConnectionLimits | None = None,
    serve: Callable[[Listener], Connection] = Echo,
    sockets: Sequence[socket.socket] | None = None,
) -> AsyncIterator[Listener]:
    listener = Listener("echo", listens or (At(),), serve, limits, refusal=REFUSAL, sockets=sockets)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.drain(0)


async def connect(listener: Listener, index: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*listener.addresses[index])


async def test_several_addresses_with_real_ports() -> None:
    async with listening(At(), At("::1")) as listener:
        assert all(listener.ports)
        for index, host in enumerate(["127.0.0.1", "::1"]):
            reader, writer = await connect(listener, index)
            port = writer.get_extra_info("sockname")[1]
            assert await reader.readline() == f"hello {host} {port} at {host}\n".encode()
            writer.close()


async def test_ipv4_and_ipv6_wildcards_share_a_port() -> None:
    async with listening(At("0.0.0.0")) as first, listening(At("::", first.ports[0])) as second:
        _, writer = await asyncio.open_connection("::1", second.ports[0])
        writer.close()


async def test_whoever_connects_between_two_listeners_waits_for_the_second() -> None:
    with bind("echo", At()) as sock:
        async with listening(sockets=[sock]) as first:
            _, served = await connect(first)
        reader, waiting = await asyncio.open_connection(*sock.getsockname())
        async with listening(sockets=[sock]):
            assert (await reader.readline()).startswith(b"hello")
        served.close()
        waiting.close()


async def test_the_clients_of_a_process_that_is_gone_are_served_until_it_is_back() -> None:
    with bind("echo", At()) as sock, bind("echo", At()) as other:
        async with listening(sockets=[sock]) as listener:
            other.listen()
            reader, waiting = await asyncio.open_connection(*other.getsockname())
            listener.serve_for(1, [other])
            assert (await reader.readline()).startswith(b"hello")
            listener.serve_no_more_for(1)
            reader, late = await asyncio.open_connection(*other.getsockname())
            async with listening(sockets=[other]):
                assert (await reader.readline()).startswith(b"hello")
                assert listener.count == 1, "the one that came while the other process was gone"
            waiting.close()
            late.close()


async def test_who_has_just_come_when_it_stops_may_say_what_he_came_for() -> None:
    listener = Listener("echo", [At()], Echo, refusal=REFUSAL)
    await listener.start()
    reader, writer = await connect(listener)
    await reader.readline()
    stopped = asyncio.ensure_future(listener.drain(10))
    writer.write(b"short\n")
    assert await reader.readline() == b"short\n"
    assert await reader.readline() == b"bye\n"
    assert await stopped == 0
    writer.close()


@pytest.mark.parametrize("limits", [ConnectionLimits(2, 10), ConnectionLimits(10, 2)], ids=["total", "per client"])
async def test_one_client_too_many_is_told_so_and_its_place_is_free_again_later(limits: ConnectionLimits) -> None:
    async with listening(limits=limits) as listener:
        held = [await connect(listener) for _ in range(2)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"hello")
        reader, writer = await connect(listener)
        assert await reader.read() == REFUSAL
        writer.close()
        assert listener.count == 2
        held[0][1].write_eof()
        assert await held[0][0].read() == b""
        reader, writer = await connect(listener)
        assert (await reader.readline()).startswith(b"hello")
        writer.close()
        for _, other in held:
            other.close()


async def test_drain_lets_everybody_leave() -> None:
    async with listening() as listener:
        reader, writer = await connect(listener)
        await reader.readline()
        assert await listener.drain(10) == 0
        assert await reader.read() == b"bye\n"
        assert listener.count == 0
        with pytest.raises(OSError):
            await connect(listener)
        writer.close()


async def test_drain_cuts_off_whoever_stays() -> None:
    async with listening(serve=Stubborn) as listener:
        reader, writer = await connect(listener)
        await reader.readline()
        assert await listener.drain(0.05) == 1
        assert await reader.read() == b""
        assert listener.count == 0
        writer.close()


async def test_an_address_in_use_names_key_and_remedy_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        listener = Listener("smtp", [At(port=port), At(port=taken)], partial(Echo), refusal=REFUSAL)
        with pytest.raises(ConfigurationError, match=rf"\[smtp\] listen: .*127\.0\.0\.1:{taken}.*ss -ltnp"):
            await listener.start()
        socket.create_server(("127.0.0.1", port)).close()


async def test_an_address_of_another_machine_names_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match="not on this machine"):
        await Listener("smtp", [At("192.0.2.1")], Echo, refusal=REFUSAL).start()
