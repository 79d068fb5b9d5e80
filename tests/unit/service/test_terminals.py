"""Enrolment seen from the administrator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.memory_stores import MemoryAccounts, MemoryChart

from lanpost.errors import ChartUnavailable, RegistrationRefused
from lanpost.model.account import User
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.details import Details
from lanpost.model.device import Device
from lanpost.model.endpoint import Endpoint
from lanpost.service.credentials import Credential
from lanpost.service.terminals import Terminals, Traits

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FAX = MailAddress.parse("fax1@office.lan")


@pytest.fixture
def chart() -> MemoryChart:
    return MemoryChart()


@pytest.fixture
def accounts() -> MemoryAccounts:
    return MemoryAccounts()


@pytest.fixture
def terminals(chart: MemoryChart, accounts: MemoryAccounts) -> Terminals:
    return Terminals(chart, accounts)


async def test_an_added_terminal_is_known_and_its_secret_opens(
    terminals: Terminals, chart: MemoryChart, accounts: MemoryAccounts
) -> None:
    credential = Credential.read(await terminals.add(FAX, NOW, speaks_for_others=True))
    assert credential.account == FAX
    assert credential.proves_terminal(accounts.terminal(FAX))
    assert FAX in chart.known
    assert (await terminals.state(FAX)).terminal.speaks_for_others


async def test_adding_twice_or_over_a_mailbox_is_refused(terminals: Terminals, accounts: MemoryAccounts) -> None:
    await terminals.add(FAX, NOW)
    with pytest.raises(RegistrationRefused, match="rotate"):
        await terminals.add(FAX, NOW)
    anna = MailAddress.parse("anna@office.lan")
    accounts.put_user(User(anna, "", NOW))
    with pytest.raises(RegistrationRefused, match="mailbox"):
        await terminals.add(anna, NOW)


async def test_rotating_changes_the_secret_and_nothing_else(
    terminals: Terminals, chart: MemoryChart, accounts: MemoryAccounts
) -> None:
    old = await terminals.add(FAX, NOW, speaks_for_others=True)
    await chart.bind(Binding(FAX, Endpoint("10.0.0.7"), NOW))
    new = await terminals.rotate(FAX)
    terminal = accounts.terminal(FAX)
    assert Credential(new).proves_terminal(terminal)
    assert not Credential(old).proves_terminal(terminal)
    state = await terminals.state(FAX)
    assert state.terminal.speaks_for_others
    assert state.word(NOW) == "live"


async def test_states_of_a_terminal(terminals: Terminals, chart: MemoryChart) -> None:
    await terminals.add(FAX, NOW)
    assert [state.word(NOW) async for state in terminals.states()] == ["none"]
    await chart.bind(Binding(FAX, Endpoint("10.0.0.7"), NOW, NOW + timedelta(hours=1)))
    assert [state.word(NOW) async for state in terminals.states()] == ["live"]
    assert [state.word(NOW + timedelta(hours=1)) async for state in terminals.states()] == ["expired"]


async def test_removing_forgets_everything_and_needs_the_terminal(
    terminals: Terminals, chart: MemoryChart, accounts: MemoryAccounts
) -> None:
    await terminals.add(FAX, NOW)
    await terminals.remove(FAX)
    assert not chart.known
    assert not accounts.by_terminal
    for call in (terminals.remove, terminals.rotate, terminals.state):
        with pytest.raises(RegistrationRefused, match="not enrolled"):
            await call(FAX)


async def test_a_chart_that_is_down_leaves_nothing_half_done(
    terminals: Terminals, chart: MemoryChart, accounts: MemoryAccounts
) -> None:
    chart.is_down = True
    with pytest.raises(ChartUnavailable):
        await terminals.add(FAX, NOW)
    assert not accounts.by_terminal
    chart.is_down = False
    await terminals.add(FAX, NOW)
    chart.is_down = True
    with pytest.raises(ChartUnavailable):
        await terminals.remove(FAX)
    assert accounts.terminal(FAX)


NEW = MailAddress.parse("fax9@office.lan")


async def test_a_renamed_terminal_keeps_its_binding_its_details_and_its_secret(
    terminals: Terminals, chart: MemoryChart, accounts: MemoryAccounts
) -> None:
    secret = await terminals.add(FAX, NOW, traits=Traits(Device(mac="00:11:22:33:44:55"), learn=True))
    await chart.bind(Binding(FAX, Endpoint("10.0.0.7"), NOW, NOW + timedelta(hours=1), Source.AGENT, FAX.key))
    await chart.describe(FAX, Details.of([("o", "Sales")]))
    renamed = await terminals.rename(FAX, NEW)
    assert (renamed.address, renamed.device.mac, renamed.learn) == (NEW, "00:11:22:33:44:55", True)
    assert Credential.read(secret).proves_terminal(accounts.terminal(NEW))
    assert accounts.terminal(FAX) is None
    entry = chart.known[NEW]
    assert entry.details.values("o") == ("Sales",)
    assert entry.binding is not None
    assert (entry.binding.endpoint, entry.binding.owner) == (Endpoint("10.0.0.7"), NEW.key)
    assert FAX not in chart.known


async def test_a_terminal_is_not_renamed_over_somebody_else(
    terminals: Terminals, chart: MemoryChart, accounts: MemoryAccounts
) -> None:
    await terminals.add(FAX, NOW)
    accounts.put_user(User(NEW, "", NOW))
    with pytest.raises(RegistrationRefused, match="somebody's"):
        await terminals.rename(FAX, NEW)
    accounts.remove_user(NEW)
    await chart.add(NEW)
    with pytest.raises(RegistrationRefused, match="in the chart already"):
        await terminals.rename(FAX, NEW)
    assert accounts.terminal(FAX)


async def test_a_rename_that_fails_half_way_leaves_the_terminal_as_it_was(
    terminals: Terminals, chart: MemoryChart, accounts: MemoryAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await terminals.add(FAX, NOW)
    await chart.bind(Binding(FAX, Endpoint("10.0.0.7"), NOW))

    async def down(_binding: Binding) -> None:
        raise ChartUnavailable("down")

    monkeypatch.setattr(chart, "bind", down)
    with pytest.raises(ChartUnavailable):
        await terminals.rename(FAX, NEW)
    assert accounts.terminal(FAX)
    assert set(chart.known) == {FAX}
