"""What a login teaches, and what it does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.memory_stores import MemoryChart

from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.endpoint import Endpoint
from lanpost.service.learning import learn

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCANNER = Terminal(MailAddress.parse("scanner@office.lan"), b"", NOW, learn=True, port=2525)
LIFETIME = timedelta(hours=24)


class Learning:
    def __init__(self) -> None:
        self.chart = MemoryChart()
        self.dropped: list[str] = []

    async def login(
        self, host: str = "10.0.0.7", local: str = "10.0.0.1", terminal: Terminal = SCANNER, hours: float = 0
    ) -> str:
        learnt = await learn(
            self.chart,
            terminal,
            host,
            local,
            NOW + timedelta(hours=hours),
            lifetime=LIFETIME,
            dropped=lambda binding, _why: self.dropped.append(binding.address.local),
        )
        if learnt is not None:
            assert self.chart.known[terminal.address].binding == learnt
            assert (learnt.source, learnt.owner) == (Source.SMTP, terminal.address.key)
        return str(learnt.endpoint) if learnt else ""

    async def bind(
        self, endpoint: str, source: Source, name: str = "scanner", lifetime: timedelta | None = LIFETIME
    ) -> None:
        address = MailAddress.parse(name, "office.lan")
        expires = None if lifetime is None else NOW + lifetime
        await self.chart.bind(Binding(address, Endpoint.parse(endpoint), NOW, expires, source, "x"))


async def test_a_login_binds_the_terminal_to_where_it_came_from() -> None:
    assert await Learning().login() == "10.0.0.7:2525"
    assert await Learning().login("2001:db8::7") == "[2001:db8::7]:2525"


async def test_logins_of_accounts_that_do_not_say_so_teach_nothing() -> None:
    assert await Learning().login(terminal=Terminal(SCANNER.address, b"", NOW)) == ""


async def test_it_is_written_when_it_changed_or_a_quarter_of_its_lifetime_is_over() -> None:
    learning = Learning()
    assert await learning.login()
    assert await learning.login(hours=5.9) == ""
    assert await learning.login(hours=6) == "10.0.0.7:2525"
    assert await learning.login("10.0.0.8", hours=6) == "10.0.0.8:2525"


@pytest.mark.parametrize("source", [Source.ADMINISTRATOR, Source.DHCP, Source.AGENT])
async def test_it_replaces_another_place_whoever_said_it(source: Source) -> None:
    learning = Learning()
    await learning.bind("10.0.0.9:2525", source)
    assert await learning.login() == "10.0.0.7:2525"


async def test_a_binding_by_hand_for_good_to_that_very_place_stays_for_good() -> None:
    learning = Learning()
    await learning.bind("10.0.0.7:2525", Source.ADMINISTRATOR, lifetime=None)
    assert await learning.login(hours=99) == ""


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("10.0.0.1", "10.0.0.1")])
async def test_this_machine_is_learnt_only_where_the_chart_has_it_already(host: str, local: str) -> None:
    learning = Learning()
    assert await learning.login(host, local) == ""
    await learning.bind(f"[{host}]:25" if ":" in host else f"{host}:25", Source.ADMINISTRATOR)
    assert (await learning.login(host, local)).endswith(":2525")


async def test_a_link_local_address_is_not_learnt() -> None:
    assert await Learning().login("fe80::7") == ""


async def test_who_had_that_place_before_has_it_no_more() -> None:
    learning = Learning()
    await learning.bind("10.0.0.7:2525", Source.AGENT, "fax1")
    await learning.login()
    assert learning.dropped == ["fax1"]
