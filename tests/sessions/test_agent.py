"""The agent against a registrar over real TLS: when it registers, what it tells, how it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.sessions.scripted_registrar import Authority, Request, ScriptedRegistrar, make_authority

from lanpost.app import agent as agent_module
from lanpost.app import agent_state, enrolment
from lanpost.app.agent import Agent
from lanpost.app.agent_state import State, Status
from lanpost.app.enrolment import Enrolment
from lanpost.app.setting_values import Listen
from lanpost.app.settings import Agent as AgentSettings
from lanpost.app.settings import Settings
from lanpost.errors import ConfigurationError
from lanpost.net.netlink import Change
from lanpost.service import renewal


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


class HandWatch:
    """A watch whose changes the test makes."""

    def __init__(self, notify: Callable[[Change], object]) -> None:
        self.notify = notify
        self.addresses = frozenset({"10.0.0.7"})
        asyncio.get_running_loop().call_soon(notify, Change.ADDRESSES)

    def move(self, *addresses: str) -> None:
        self.addresses = frozenset(addresses)
        self.notify(Change.ADDRESSES)

    def close(self) -> None:
        pass


class Terminal:
    """An agent that runs, and the hands on its network and its configuration."""

    def __init__(self, data: Path, **settings: object) -> None:
        self.settings = Settings(data=data, agent=replace(AgentSettings(port=2525, greeting=""), **settings))  # type: ignore[arg-type]
        self.statuses: asyncio.Queue[Status] = asyncio.Queue()
        self.agent = Agent(self.settings, lambda: self.settings, self._heard)
        self.watch: HandWatch

    @asynccontextmanager
    async def running(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        def watch(notify: Callable[[Change], object], *_: object, **__: object) -> HandWatch:
            self.watch = HandWatch(notify)
            return self.watch

        monkeypatch.setattr(agent_module, "open_watch", watch)
        task = asyncio.ensure_future(self.agent.run())
        try:
            yield
            assert not task.done() or task.result() is None
        finally:
            self.agent.stop()
            async with asyncio.timeout(10):
                await task

    def _heard(self, status: Status) -> None:
        self.statuses.put_nowait(status)

    async def reaches(self, state: State) -> None:
        async with asyncio.timeout(10):
            while (await self.statuses.get()).state is not state:
                pass


@pytest.fixture
def terminal(authority: Authority, tmp_path: Path) -> Callable[..., Terminal]:
    def make(server: ScriptedRegistrar, **settings: object) -> Terminal:
        enrolment.save(enrolment.agent_folder(tmp_path), Enrolment(server.token()))
        return Terminal(tmp_path, **settings)

    return make


Make = Callable[..., Terminal]


async def test_it_registers_at_its_start_and_remembers_the_authority(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with ScriptedRegistrar(authority) as server:
        here = terminal(server)
        async with here.running(monkeypatch):
            await here.reaches(State.REGISTERED)
            shown = agent_state.read_status(tmp_path / "agent")
            assert shown is not None
            assert shown.endpoint == "127.0.0.1:2525"
            assert shown.own_addresses == ("10.0.0.7",)
        assert len(server.requests) == 1
    assert enrolment.load(tmp_path / "agent").authority == authority.pem.decode()
    after = agent_state.read_status(tmp_path / "agent")
    assert after is not None
    assert after.state is State.STOPPED


async def test_it_registers_at_each_change_and_link_up_once_things_have_settled(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedRegistrar(authority) as server:
        here = terminal(server)
        async with here.running(monkeypatch):
            await server.arrived(1)
            await here.reaches(State.REGISTERED)
            here.watch.move()  # as a DHCP client does it: one away,
            here.watch.move("10.0.0.99")  # one that is wrong,
            here.watch.move("10.0.0.8")  # and the right one
            await server.arrived(2)
            here.watch.notify(Change.LINK_UP)
            await server.arrived(3)
            here.watch.notify(Change.ADDRESSES)  # which are the same as before
            here.watch.move("10.0.0.9")
            await server.arrived(4)
        assert len(server.requests) == 4


async def test_an_address_that_a_registration_came_from_already_is_no_news(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedRegistrar(authority) as server:
        here = terminal(server)
        async with here.running(monkeypatch):
            await here.reaches(State.REGISTERED)
            weighed, weigh = asyncio.Event(), here.agent._is_known_already

            def weighing() -> bool:
                weighed.set()
                return weigh()

            monkeypatch.setattr(here.agent, "_is_known_already", weighing)
            here.watch.move("10.0.0.7", "127.0.0.1")  # told late: the registration was faster
            async with asyncio.timeout(10):
                await weighed.wait()
            assert here.agent._renewal.due > asyncio.get_running_loop().time() + 3600
            here.watch.notify(Change.LINK_UP)  # this is news
            await server.arrived(2)


async def test_it_renews_at_half_the_lifetime(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "SHORTEST_RENEWAL", 0.01)
    async with ScriptedRegistrar(authority, lifetime=timedelta(seconds=0.2)) as server:
        here = terminal(server)
        async with here.running(monkeypatch):
            began = asyncio.get_running_loop().time()
            await server.arrived(4)
            assert asyncio.get_running_loop().time() - began >= 3 * 0.09


async def test_it_tries_again_until_the_server_is_well(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "FIRST_RETRY", 0.01)
    async with ScriptedRegistrar(authority) as server:

        def sick(request: Request) -> tuple[int, object]:
            return (503, {"detail": "in maintenance"}) if len(server.requests) < 6 else server.bound(request)

        server.answer = sick
        here = terminal(server)
        with caplog.at_level(logging.INFO):
            async with here.running(monkeypatch):
                await here.reaches(State.REGISTERED)
    told = [record.getMessage() for record in caplog.records if "not registered" in record.getMessage()]
    assert len(told) == 1  # the same trouble is told once
    assert "in maintenance" in told[0]


async def test_a_refusal_is_told_with_what_to_do_and_not_repeated_soon(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedRegistrar(authority, lambda _: (401, {"detail": "wrong secret"})) as server:
        here = terminal(server)
        async with here.running(monkeypatch):
            await here.reaches(State.REFUSED)
            assert "terminal rotate" in here.agent.status.reason
            # Somebody does that: with the next change of anything, or a reload, it is well.
            server.answer = None
            here.agent.reload()
            await here.reaches(State.REGISTERED)
        assert len(server.requests) == 2
    assert any("wrong secret" in record.getMessage() for record in caplog.records)


async def test_without_a_way_to_the_server_it_waits_and_goes_at_once_when_there_is_one(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "FIRST_RETRY", 3600.0)
    monkeypatch.setattr(renewal, "LAST_RETRY", 3600.0)
    async with ScriptedRegistrar(authority) as server:
        here = terminal(server, address="192.0.2.77")
        async with here.running(monkeypatch):
            await here.reaches(State.OFFLINE)
            here.settings = replace(here.settings, agent=replace(here.settings.agent, address="127.0.0.8"))
            here.agent.reload()
            await here.reaches(State.REGISTERED)
            assert here.agent.status.endpoint == "127.0.0.8:2525"


async def test_an_attempt_that_hangs_is_dropped_when_the_address_changes(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedRegistrar(authority, hangs=True) as server:
        here = terminal(server)
        async with here.running(monkeypatch):
            await server.arrived(1)
            server.hangs = False
            here.watch.move("10.0.0.8")
            await here.reaches(State.REGISTERED)


async def test_it_stops_at_once_though_an_attempt_hangs(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ScriptedRegistrar(authority, hangs=True) as server:
        here = terminal(server)
        async with here.running(monkeypatch):
            await server.arrived(1)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 1


@pytest.mark.parametrize("goodbye", [True, False])
async def test_it_says_goodbye_only_if_told_to(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch, goodbye: bool
) -> None:
    async with ScriptedRegistrar(authority) as server:
        here = terminal(server, goodbye=goodbye)
        async with here.running(monkeypatch):
            await here.reaches(State.REGISTERED)
        assert [request.method for request in server.requests] == ["PUT", *["DELETE"] * goodbye]


async def test_a_configuration_that_cannot_be_read_leaves_the_former_one_in_force(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedRegistrar(authority) as server:
        here = terminal(server)

        def broken() -> Settings:
            raise ConfigurationError("lanpost.toml: agent.port = 0: write a port")

        here.agent._read_settings = broken
        async with here.running(monkeypatch):
            await server.arrived(1)
            here.agent.reload()
            await server.arrived(2)
    assert [request.body for request in server.requests] == [{"port": 2525}] * 2
    assert any("write a port" in record.getMessage() for record in caplog.records)


async def test_a_terminal_with_nothing_but_a_name_claims_it_and_then_takes_its_mail(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with ScriptedRegistrar(authority) as server:
        listen = (Listen("127.0.0.1", 0),)
        here = Terminal(tmp_path, name="fax1", registrar=(server.url,), receive="inbox", listen=listen)
        async with here.running(monkeypatch):
            assert here.agent.status.address == "fax1"
            claim, again = await server.arrived(2)
            await here.reaches(State.REGISTERED)
            assert here.agent.status.address == "fax1@office.lan"
            assert here.agent.status.found_by == "configuration"
            assert here.agent.status.pin == authority.pin
        assert "authorization" not in claim.headers
        assert again.headers["authorization"] == f"Bearer {claim.body['key']}"
    assert (tmp_path / "inbox").is_dir()


async def test_nobody_enrolled_and_no_name_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="lanpost agent --name"):
        Terminal(tmp_path)


async def test_an_agent_whose_terminal_was_renamed_goes_by_the_new_name(
    authority: Authority, terminal: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with ScriptedRegistrar(authority) as server:

        def renamed(request: Request) -> tuple[int, object]:
            status, fields = server.bound(request)
            return status, {**fields, "address": "fax9@office.lan"}

        server.answer = renamed
        here = terminal(server)
        async with here.running(monkeypatch):
            await here.reaches(State.REGISTERED)
            assert str(enrolment.load(tmp_path / "agent").token.address) == "fax9@office.lan"
            here.watch.move("10.0.0.8")
            first, second = await server.arrived(2)
        assert first.path.endswith("/fax1@office.lan")
        assert second.path.endswith("/fax9@office.lan")
