"""Refresh requests over real sockets: what a terminal hears, obeys and remembers, and what a registrar sends."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.memory_stores import MemoryAccounts, MemoryChart
from tests.sessions.scripted_registrar import Request, ScriptedRegistrar, make_authority

from lanpost.app import enrolment
from lanpost.app.agent import Agent
from lanpost.app.agent_refresh import AgentRefresh
from lanpost.app.agent_state import State, Status
from lanpost.app.enrolment import Enrolment
from lanpost.app.refresher import Refresher
from lanpost.app.settings import Agent as AgentSettings
from lanpost.app.settings import Registrar, Settings
from lanpost.errors import LanpostError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.endpoint import Endpoint
from lanpost.net.broadcast import broadcast
from lanpost.service import refresh_guard
from lanpost.service.refresh_guard import Verdict
from lanpost.wire.refresh import PROOF_HEADER, RefreshRequest, SignedRefresh, server_id, target_of

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
SERVER = server_id(PUBLIC)
FAX = MailAddress.parse("fax1@office.lan")
LOOPBACK = ("127.0.0.1", "127.255.255.255")


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def datagram(sequence: int, *addresses: MailAddress, window: float = 0.0, key: Ed25519PrivateKey = KEY) -> bytes:
    targets = tuple(target_of(SERVER, address.key) for address in addresses)
    return RefreshRequest(SERVER, 1, sequence, window, targets).encode(key.sign)


class Ear:
    """What an agent's listener makes of datagrams."""

    def __init__(self, folder: Path, port: int) -> None:
        self.answers: asyncio.Queue[float] = asyncio.Queue()
        self.port = port
        self.refresh = AgentRefresh(folder, port, self.answers.put_nowait)
        self.refresh.use(PUBLIC, FAX)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    @property
    def counts(self) -> dict[Verdict, int]:
        guard = self.refresh._guard
        assert guard is not None
        return guard.counts

    def send(self, data: bytes) -> None:
        self._sender.sendto(data, ("127.0.0.1", self.port))

    async def answer(self) -> float:
        async with asyncio.timeout(10):
            return await self.answers.get()

    async def close(self) -> None:
        self._sender.close()
        await self.refresh.close()


@asynccontextmanager
async def listening(folder: Path, port: int) -> AsyncIterator[Ear]:
    ear = Ear(folder, port)
    try:
        yield ear
    finally:
        await ear.close()


async def test_forged_replayed_malformed_and_oversized_datagrams_change_nothing(tmp_path: Path, port: int) -> None:
    chance = random.Random(20261127)
    genuine = datagram(9)
    async with listening(tmp_path, port) as ear:
        ear.send(genuine)
        await ear.answer()
        stored = (tmp_path / "refresh.json").read_bytes()
        ear.send(genuine)
        ear.send(datagram(8))
        ear.send(datagram(10, key=Ed25519PrivateKey.generate()))
        ear.send(datagram(11, MailAddress.parse("fax2@office.lan")))
        ear.send(genuine + bytes(600))
        for _ in range(100):
            ear.send(chance.randbytes(chance.randrange(600)))
            await asyncio.sleep(0)
        ear.send(b"LPR\x01" + chance.randbytes(200))
        assert (tmp_path / "refresh.json").read_bytes() == stored
        # Datagrams of one socket stay in order: when this one has come, those before it have, too.
        assert ear.refresh._guard is not None
        ear.refresh._guard._answer_at = asyncio.get_running_loop().time() - refresh_guard.REST_SECONDS
        ear.send(datagram(12))
        await ear.answer()
        assert ear.counts[Verdict.ACCEPTED] == 2
        assert ear.counts[Verdict.OLD] == 2
        assert ear.counts[Verdict.FORGED] == 1
        assert ear.counts[Verdict.OTHERS] == 1
        assert ear.answers.empty()


async def test_what_was_obeyed_is_not_obeyed_again_after_a_restart(tmp_path: Path, port: int) -> None:
    async with listening(tmp_path, port) as ear:
        ear.send(datagram(9))
        await ear.answer()
    async with listening(tmp_path, port) as ear:
        assert ear.refresh.last_datagram == datagram(9)
        ear.send(datagram(9))
        ear.send(datagram(10))
        await ear.answer()
        assert (ear.counts[Verdict.OLD], ear.counts[Verdict.ACCEPTED]) == (1, 1)


async def test_another_registrars_numbers_begin_anew(tmp_path: Path, port: int) -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = other.public_key().public_bytes_raw()
    async with listening(tmp_path, port) as ear:
        ear.send(datagram(9))
        await ear.answer()
        ear.refresh.use(public, FAX)
        assert ear.refresh.last_datagram == b""
        ear.send(RefreshRequest(server_id(public), 1, 1, 0.0).encode(other.sign))
        await ear.answer()


async def test_a_damaged_memory_is_taken_as_empty(tmp_path: Path, port: int) -> None:
    (tmp_path / "refresh.json").write_text('{"datagram": "!"}')
    async with listening(tmp_path, port) as ear:
        ear.send(datagram(1))
        await ear.answer()


async def test_broadcast_and_multicast_are_heard_and_count_as_one(tmp_path: Path, port: int) -> None:
    async with listening(tmp_path, port) as ear:
        reached = broadcast(datagram(1), port)
        assert "lo" in reached
        await ear.answer()
        if "lo (IPv6)" in reached:
            async with asyncio.timeout(10):
                while not ear.counts[Verdict.OLD]:
                    broadcast(datagram(1), port)
                    await asyncio.sleep(0)
        assert ear.counts[Verdict.ACCEPTED] == 1


async def test_two_agents_of_one_host_both_hear(tmp_path: Path, port: int) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with listening(tmp_path / "one", port) as one, listening(tmp_path / "two", port) as two:
        broadcast(datagram(1), port)
        await one.answer()
        await two.answer()


async def test_a_flood_leaves_the_loop_free_and_the_genuine_request_is_heard_after_it(
    tmp_path: Path, port: int
) -> None:
    forged = datagram(2**40, key=Ed25519PrivateKey.generate())
    async with listening(tmp_path, port) as ear:
        turns = 0
        for _ in range(200):
            for _ in range(50):
                ear.send(forged)
            await asyncio.sleep(0)
            turns += 1
        assert turns == 200
        async with asyncio.timeout(20):
            # Its place in the kernel's buffer may be taken: a registrar sends three, and so on the next occasion.
            while True:
                ear.send(datagram(5))
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await ear.answers.get()
                    break
        assert ear.counts[Verdict.FORGED] <= refresh_guard.CHECKS_AT_ONCE + 10 * 20


class Heard:
    """The statuses of an agent that runs."""

    def __init__(self) -> None:
        self._statuses: asyncio.Queue[Status] = asyncio.Queue()

    def __call__(self, status: Status) -> None:
        self._statuses.put_nowait(status)

    async def reaches(self, state: State) -> None:
        async with asyncio.timeout(10):
            while (await self._statuses.get()).state is not state:
                pass


async def test_an_agent_registers_when_asked_and_shows_what_it_obeyed(tmp_path: Path, port: int) -> None:
    async with ScriptedRegistrar(make_authority(tmp_path)) as server:
        token = replace(server.token(), refresh_key=PUBLIC)
        enrolment.save(enrolment.agent_folder(tmp_path), Enrolment(token, refresh_key=PUBLIC))
        settings = Settings(data=tmp_path, agent=AgentSettings(port=2525, refresh_port=port))
        heard = Heard()
        agent = Agent(settings, lambda: settings, heard)
        running = asyncio.ensure_future(agent.run())
        try:
            await heard.reaches(State.REGISTERED)
            broadcast(datagram(3, FAX), port)
            first, second = await server.arrived(2)
            assert PROOF_HEADER.lower() not in first.headers
            assert base64.b64decode(second.headers[PROOF_HEADER.lower()]) == datagram(3, FAX)
        finally:
            agent.stop()
            await running


async def test_an_agent_that_was_enrolled_without_the_key_learns_it_by_registering(
    tmp_path: Path, port: int
) -> None:
    async with ScriptedRegistrar(make_authority(tmp_path)) as server:

        def answer(request: Request) -> tuple[int, Any]:
            status, fields = server.bound(request)
            return status, {**fields, "refresh_key": base64.b64encode(PUBLIC).decode()}

        server.answer = answer
        folder = enrolment.agent_folder(tmp_path)
        enrolment.save(folder, Enrolment(server.token()))
        settings = Settings(data=tmp_path, agent=AgentSettings(port=2525, refresh_port=port))
        heard = Heard()
        agent = Agent(settings, lambda: settings, heard)
        running = asyncio.ensure_future(agent.run())
        try:
            await heard.reaches(State.REGISTERED)
            assert enrolment.load(folder).refresh_key == PUBLIC
            broadcast(datagram(1), port)
            await server.arrived(2)
        finally:
            agent.stop()
            await running


# The registrar's side.

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


class Wire:
    """Hears what a registrar sends on this host."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.255.255.255", port))

    async def next(self) -> RefreshRequest:
        """The next request that is not a copy of the last."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            return SignedRefresh.read(await loop.sock_recv(self._socket, 600)).request

    async def after(self, last: RefreshRequest) -> RefreshRequest:
        while (found := await self.next()).number <= last.number:
            pass
        return found

    def close(self) -> None:
        self._socket.close()


class Office:
    """A registrar's refresher with a chart in memory and a clock in hand."""

    def __init__(self, folder: Path, port: int, **registrar: Any) -> None:
        self.now = NOW
        self.chart, self.accounts = MemoryChart(), MemoryAccounts()
        self.settings = Settings(data=folder, registrar=Registrar(refresh_port=port, lifetime=4.0, **registrar))
        self.refresher = Refresher(self.settings, self.chart, self.accounts, lambda: self.now)
        self.wire = Wire(port)
        self.server = server_id(self.refresher.public_key)

    async def bind(self, name: str, age: float) -> MailAddress:
        address = MailAddress.parse(f"{name}@office.lan")
        updated = self.now - timedelta(hours=24) * age
        expires = updated + timedelta(hours=24)
        await self.chart.bind(Binding(address, Endpoint("10.0.0.7"), updated, expires, Source.AGENT, address.key))
        return address

    def targets(self, *addresses: MailAddress) -> tuple[bytes, ...]:
        return tuple(target_of(self.server, address.key) for address in addresses)


@pytest.fixture
async def make_office(tmp_path: Path, port: int) -> AsyncIterator[Callable[..., Office]]:
    made: list[Office] = []

    def make(**registrar: Any) -> Office:
        made.append(Office(tmp_path, port, **registrar))
        return made[-1]

    yield make
    for office in made:
        await office.refresher.close()
        office.wire.close()


async def test_everyone_is_asked_at_the_start_and_the_silent_by_name_later(
    make_office: Callable[..., Office],
) -> None:
    office = make_office()
    for number in range(10):
        await office.bind(f"well{number}", 0.1)
    running = asyncio.ensure_future(office.refresher.run())
    try:
        first = await office.wire.next()
        assert (first.targets, first.window) == ((), 2.0)
        old = await office.bind("old", 0.8)
        named = await office.wire.after(first)
        assert named.targets == office.targets(old)
    finally:
        running.cancel()


async def test_switched_off_nobody_is_asked_but_by_hand(make_office: Callable[..., Office]) -> None:
    office = make_office(refresh=False)
    await office.bind("old", 0.9)
    running = asyncio.ensure_future(office.refresher.run())
    try:
        sent = await office.refresher.refresh()
        assert sent.asked is None
        assert (await office.wire.next()).number[1] == 1  # the first that was ever sent
    finally:
        running.cancel()


async def test_three_copies_of_a_request_are_sent(make_office: Callable[..., Office]) -> None:
    office = make_office()
    sent = await office.refresher.refresh()
    copies = [await office.wire.next() for _ in range(3)]
    assert len({copy.number for copy in copies}) == 1
    assert "lo" in sent.reached


async def test_more_terminals_than_one_datagram_names_get_several(make_office: Callable[..., Office]) -> None:
    office = make_office()
    addresses = [await office.bind(f"fax{number}", 0.1) for number in range(60)]
    sent = await office.refresher.refresh(addresses)
    assert sent.asked == 60
    first = await office.wire.next()
    second = await office.wire.after(first)
    assert first.targets + second.targets == office.targets(*addresses)


async def test_a_terminal_that_nobody_knows_is_named_in_the_error(make_office: Callable[..., Office]) -> None:
    office = make_office()
    with pytest.raises(LanpostError, match=r"ghost@office\.lan is no terminal"):
        await office.refresher.refresh([MailAddress.parse("ghost@office.lan")])


async def test_numbers_go_on_above_what_a_terminal_has_obeyed_but_nobody_else_can_raise_them(
    make_office: Callable[..., Office], tmp_path: Path
) -> None:
    office = make_office()
    await office.refresher.refresh()
    latest = await office.wire.next()
    # Everything is restored from a backup, and the clock is a year behind.
    (tmp_path / "refresh.json").unlink()
    office.wire.close()
    restored = Refresher(office.settings, office.chart, office.accounts, lambda: NOW - timedelta(days=365))
    forged = RefreshRequest(office.server, 2**60, 1, 0.0).encode(Ed25519PrivateKey.generate().sign)
    await restored.learn(forged)
    await restored.learn(b"nonsense")
    signer = office.refresher._key.sign
    await restored.learn(RefreshRequest(office.server, *latest.number, 2.0).encode(signer))
    assert json.loads((tmp_path / "refresh.json").read_text())["epoch"] == latest.epoch + 1
    await restored.close()
