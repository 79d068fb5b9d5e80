"""What the DHCP server's word makes of the chart, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.memory_stores import MemoryAccounts, MemoryChart, MemoryMailboxes

from lanpost.errors import ChartUnavailable, RegistrationRefused
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Source
from lanpost.model.device import Device, Lease, LeaseEvent
from lanpost.model.endpoint import Endpoint
from lanpost.service.credentials import Credential, new_secret, sha256_of
from lanpost.service.registrar import MAX_LIFETIME, Registrar, Rules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAC, OTHER_MAC = "00:11:22:33:44:55", "00:11:22:33:44:66"
SCANNER, GUEST = Device(mac=MAC), Device(OTHER_MAC, hostname="guest")
HERE, THERE = "10.0.0.7", "10.0.0.8"
HOUR = 3600.0
DHCP_SERVER = Endpoint("10.0.0.1", 40000)


def named(name: str) -> MailAddress:
    return MailAddress.parse(name, "office.lan")


class Office:
    """A scanner known by its hardware address, a printer by its host name, a fax machine with an agent alone."""

    def __init__(self) -> None:
        self.chart = MemoryChart()
        self.accounts = MemoryAccounts()
        self.dropped: list[str] = []
        self.credentials: dict[str, Credential] = {}
        for name, device, port in (
            ("scanner", Device(mac=MAC), 25),
            ("printer", Device(hostname="printer"), 2525),
            ("meter", Device(client_id="0a0b"), 80),
            ("fax1", Device(), 25),
            ("dhcp", Device(), 25),
        ):
            secret = new_secret(named(name))
            self.credentials[name] = Credential.read(secret)
            self.accounts.put_terminal(
                Terminal(named(name), sha256_of(secret), NOW, name == "dhcp", device, port=port)
            )
        self.registrar = Registrar(
            self.chart,
            self.accounts,
            MemoryMailboxes(),
            Rules("office.lan", (25, 2525)),
            durably=self._durably,
            administrator_sha256=sha256_of("admin"),
            dropped=lambda binding, _why: self.dropped.append(binding.address.local),
        )

    async def _durably(self, write: object) -> None:
        raise NotImplementedError

    async def hear(
        self,
        event: str,
        host: str = HERE,
        *,
        age: float = 0,
        at: datetime = NOW,
        lifetime: float | None = HOUR,
        who: str = "dhcp",
        device: Device = SCANNER,
    ) -> Binding | None:
        lease = Lease(LeaseEvent(event), host, device, lifetime)
        credential = Credential("admin") if who == "admin" else self.credentials[who]
        heard = await self.registrar.hear(lease, at - timedelta(seconds=age), credential, DHCP_SERVER, at)
        assert (heard.binding is None) == bool(heard.why)
        return heard.binding

    async def bind(self, name: str, host: str = HERE, source: Source = Source.AGENT, *, ago: float = 60) -> None:
        updated = NOW - timedelta(seconds=ago)
        owner = "" if source is Source.ADMINISTRATOR else named(name).key
        expires = updated + timedelta(days=1)
        await self.chart.bind(Binding(named(name), Endpoint(host), updated, expires, source, owner))

    def where(self, name: str) -> str:
        entry = self.chart.known.get(named(name))
        return str(entry.binding.endpoint) if entry and entry.binding else ""


async def test_a_lease_binds_the_terminal_for_as_long_as_it_lasts() -> None:
    office = Office()
    expires = NOW + timedelta(hours=1)
    endpoint = Endpoint(HERE)
    binding = Binding(named("scanner"), endpoint, NOW, expires, Source.DHCP, "dhcp@office.lan")
    assert await office.hear("bound") == binding
    assert office.where("scanner") == "10.0.0.7:25"
    forever = await office.hear("bound", lifetime=None)
    assert forever
    assert forever.expires == NOW + MAX_LIFETIME
    assert office.where("printer") == ""
    await office.hear("bound", "2001:db8::9", device=Device(OTHER_MAC, hostname="printer"))
    assert office.where("printer") == "[2001:db8::9]:2525"


@pytest.mark.parametrize("who", ["dhcp", "admin"])
async def test_whoever_speaks_for_others_is_heard(who: str) -> None:
    assert await Office().hear("bound", who=who)


async def test_a_terminal_is_not_heard_about_leases() -> None:
    with pytest.raises(RegistrationRefused) as caught:
        await Office().hear("bound", who="fax1")
    assert caught.value.http_status == 403


async def test_machines_that_are_no_terminals_leave_no_trace() -> None:
    office = Office()
    assert await office.hear("bound", device=GUEST) is None
    assert await office.hear("bound", device=Device(client_id="0a0b")) is None  # its port is not to be had
    assert office.chart.known == {}


async def test_a_renewal_is_written_once_a_quarter_of_the_lease_is_over() -> None:
    office = Office()
    await office.hear("bound")
    assert await office.hear("renewed", at=NOW + timedelta(minutes=14)) is None
    renewed = await office.hear("renewed", at=NOW + timedelta(minutes=15))
    assert renewed
    assert renewed.expires == NOW + timedelta(minutes=75)
    assert await office.hear("renewed", THERE, at=NOW + timedelta(minutes=16))  # "bound" was missed
    assert office.where("scanner") == "10.0.0.8:25"
    assert await office.hear("bound", THERE, at=NOW + timedelta(minutes=17))  # it was switched on again


@pytest.mark.parametrize("source", [Source.AGENT, Source.ADMINISTRATOR, Source.LDAP])
async def test_what_the_terminal_or_an_administrator_said_stands(source: Source) -> None:
    office = Office()
    await office.bind("scanner", HERE, source)
    assert await office.hear("bound", THERE) is None
    assert await office.hear("renewed", HERE) is None
    assert office.where("scanner") == "10.0.0.7:25"
    assert await office.hear("bound", THERE, at=NOW + timedelta(days=1))  # but not once it has expired
    assert office.where("scanner") == "10.0.0.8:25"


async def test_what_a_login_taught_gives_way_to_the_dhcp_server() -> None:
    office = Office()
    await office.bind("scanner", HERE, Source.SMTP)
    assert await office.hear("bound", THERE)


async def test_of_two_ip_versions_the_one_that_is_bound_stays() -> None:
    office = Office()
    await office.hear("bound")
    assert await office.hear("renewed", "2001:db8::7") is None
    assert office.where("scanner") == "10.0.0.7:25"
    assert await office.hear("renewed", "2001:db8::7", at=NOW + timedelta(hours=1))


@pytest.mark.parametrize("event", ["released", "expired", "declined"])
async def test_the_end_of_a_lease_unbinds_who_had_it(event: str) -> None:
    office = Office()
    await office.hear("bound")
    assert await office.hear(event, THERE, at=NOW + timedelta(seconds=1)) is None
    assert await office.hear(event, at=NOW + timedelta(seconds=1), device=GUEST) is None
    assert office.dropped == []  # another address, another machine
    await office.hear(event, at=NOW + timedelta(seconds=1))
    assert (office.dropped, office.where("scanner")) == (["scanner"], "")
    assert named("scanner") in office.chart.known


async def test_the_end_of_its_own_lease_unbinds_a_terminal_with_an_agent_too() -> None:
    office = Office()
    await office.bind("scanner")
    await office.bind("fax1", THERE)
    await office.hear("expired")
    await office.hear("expired", THERE)  # whether that was fax1's lease nobody knows
    assert office.dropped == ["scanner"]


@pytest.mark.parametrize(
    ("bound", "source", "event", "device", "dropped"),
    [
        ("scanner", Source.AGENT, "bound", Device(mac=OTHER_MAC), True),
        ("scanner", Source.AGENT, "renewed", Device(mac=OTHER_MAC), True),
        ("scanner", Source.SMTP, "bound", Device(mac=OTHER_MAC), True),
        ("scanner", Source.DHCP, "bound", Device(mac=OTHER_MAC), True),
        ("scanner", Source.ADMINISTRATOR, "bound", Device(mac=OTHER_MAC), False),
        ("scanner", Source.AGENT, "bound", Device(client_id="0f"), False),  # perhaps itself: its mac is not told
        ("scanner", Source.DHCP, "bound", Device(client_id="0f"), True),  # the one word is as good as the other
        ("printer", Source.DHCP, "renewed", Device(mac=OTHER_MAC), False),  # it says less, and need not be another
        ("printer", Source.DHCP, "renewed", Device(hostname="guest"), True),
        ("fax1", Source.AGENT, "bound", Device(mac=OTHER_MAC), False),  # of which nothing is known
        ("fax1", Source.AGENT, "bound", Device(mac=MAC), True),  # the scanner
    ],
)
async def test_an_address_that_another_machine_has_leads_no_more_to_the_first(
    bound: str, source: Source, event: str, device: Device, dropped: bool
) -> None:
    office = Office()
    await office.bind(bound, HERE, source)
    await office.hear(event, device=device)
    assert office.dropped == ([bound] if dropped else [])


async def test_a_word_that_comes_late_does_not_undo_what_is_newer() -> None:
    office = Office()
    await office.hear("bound", THERE)
    assert await office.hear("bound", HERE, age=30) is None
    await office.hear("released", THERE, age=30)
    assert office.where("scanner") == "10.0.0.8:25"
    await office.bind("fax1", "10.0.0.9", ago=10)
    await office.hear("bound", "10.0.0.9", age=30)
    assert office.dropped == []
    assert await office.hear("bound", HERE, age=HOUR) is None  # over by now


async def test_words_in_quick_succession_count_in_their_order() -> None:
    office = Office()
    await office.hear("bound", at=NOW)
    await office.hear("released", at=NOW + timedelta(milliseconds=20))
    assert office.where("scanner") == ""


async def test_the_servers_own_loopback_is_nobodys_lease() -> None:
    with pytest.raises(RegistrationRefused):
        await Office().hear("bound", "127.0.0.1")


async def test_a_chart_that_is_down_is_told_to_the_dhcp_server() -> None:
    office = Office()
    office.chart.is_down = True
    with pytest.raises(ChartUnavailable):
        await office.hear("bound")
