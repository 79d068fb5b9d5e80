"""Who may bind what: every rule, and the status that a breach of it gets."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.memory_stores import MemoryAccounts, MemoryChart, MemoryMailboxes

from lanpost.errors import ChartUnavailable, RegistrationRefused
from lanpost.model.account import Terminal, User
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry, Source
from lanpost.model.endpoint import Endpoint
from lanpost.model.token import EnrolmentToken
from lanpost.service.credentials import Credential, new_secret, sha256_of
from lanpost.service.registrar import CLAIMS, WRONG_SECRETS, Registrar, Registration, Request, Rules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADMINISTRATOR = "the-administrator"
PEER = Endpoint("10.0.0.7", 40000)
RULES = Rules("office.lan", (25, 2525), timedelta(hours=24), networks=(ipaddress.ip_network("10.0.0.0/8"),))


def address(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


class Place:
    """A registrar with two terminals, a DHCP server that speaks for others, and a person."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.chart = MemoryChart()
        self.accounts = MemoryAccounts()
        self.dropped: list[str] = []
        self.secrets = {"administrator": Credential(ADMINISTRATOR)}
        for name in ("fax1", "fax2", "dhcp"):
            secret = new_secret(address(name))
            self.secrets[name] = Credential.read(secret)
            self.accounts.put_terminal(Terminal(address(name), sha256_of(secret), NOW, name == "dhcp"))
            self.chart.known[address(name)] = Entry(address(name))
        self.accounts.put_user(User(address("anna"), "", NOW))
        self.chart.known[address("by-hand")] = Entry(address("by-hand"))
        self.chart.known[address("bound")] = Entry(
            address("bound"),
            Binding(address("bound"), Endpoint("10.0.0.99"), NOW - timedelta(9), NOW - timedelta(8)),
        )
        self.registrar = Registrar(
            self.chart,
            self.accounts,
            MemoryMailboxes("bert@office.lan"),
            rules,
            durably=self.durably,
            administrator_sha256=sha256_of(ADMINISTRATOR),
            dropped=lambda binding, _why: self.dropped.append(str(binding.address)),
        )

    async def durably(self, write: Callable[[], None]) -> None:
        await asyncio.sleep(0)
        write()

    async def register(
        self, who: str, name: str, *, peer: Endpoint = PEER, now: datetime = NOW, request: Request | None = None
    ) -> Registration:
        credential = self.secrets.get(who) if who in self.secrets else (Credential.read(who) if who else None)
        return await self.registrar.register(address(name), credential, peer, request or Request(), now)

    async def refusal(self, who: str, name: str, *, peer: Endpoint = PEER, request: Request | None = None) -> int:
        before = dict(self.chart.known)
        with pytest.raises(RegistrationRefused) as caught:
            await self.register(who, name, peer=peer, request=request)
        assert self.chart.known == before
        assert len(str(caught.value)) > 20
        return caught.value.http_status


CLAIMING = replace(RULES, claim=True)
ELSEWHERE = Request(endpoint=Endpoint("10.0.0.9"))


@pytest.mark.parametrize(
    ("who", "name", "request_", "status"),
    [
        ("", "fax1", Request(), 401),
        ("wrong", "fax1", Request(), 401),
        ("fax2", "fax1", Request(), 403),
        ("fax2", "fax1", ELSEWHERE, 403),
        ("fax1", "fax1", ELSEWHERE, 403),
        ("fax1", "fax1", Request(port=80), 422),
        ("fax1", "fax1", Request(endpoint=Endpoint("10.0.0.7", 80)), 422),
        ("fax1", "fax1", Request(lifetime=timedelta(seconds=0.9)), 422),
        ("dhcp", "fax1", Request(), 422),
        ("dhcp", "fax1", Request(endpoint=Endpoint("127.0.0.1")), 422),
        ("dhcp", "stranger", ELSEWHERE, 404),
        ("dhcp", "anna", ELSEWHERE, 409),
        ("administrator", "fax1", Request(), 422),
        ("administrator", "anna", ELSEWHERE, 409),
        ("administrator", "fax1", Request(endpoint=Endpoint("10.0.0.9", 80)), 422),
        ("wrong", "fax9", Request(), 404),
        ("fax1", "anna", Request(), 409),
        ("fax1", "bert", Request(), 409),
    ],
)
async def test_what_is_refused_to_whom(who: str, name: str, request_: Request, status: int) -> None:
    assert await Place().refusal(who, name, request=request_) == status


@pytest.mark.parametrize(
    ("who", "name", "request_", "binding"),
    [
        (
            "fax1",
            "fax1",
            Request(),
            Binding(
                address("fax1"),
                Endpoint("10.0.0.7"),
                NOW,
                NOW + timedelta(hours=24),
                Source.AGENT,
                "fax1@office.lan",
            ),
        ),
        (
            "fax1",
            "FAX1",
            Request(2525, Endpoint("10.0.0.7", 2525), timedelta(seconds=1)),
            Binding(
                address("fax1"),
                Endpoint("10.0.0.7", 2525),
                NOW,
                NOW + timedelta(seconds=1),
                Source.AGENT,
                "fax1@office.lan",
            ),
        ),
        (
            "dhcp",
            "fax1",
            Request(None, Endpoint("10.0.0.9"), timedelta(days=999)),
            Binding(
                address("fax1"),
                Endpoint("10.0.0.9"),
                NOW,
                NOW + timedelta(hours=24),
                Source.DHCP,
                "dhcp@office.lan",
            ),
        ),
        (
            "dhcp",
            "by-hand",
            ELSEWHERE,
            Binding(
                address("by-hand"),
                Endpoint("10.0.0.9"),
                NOW,
                NOW + timedelta(hours=24),
                Source.DHCP,
                "dhcp@office.lan",
            ),
        ),
        (
            "dhcp",
            "dhcp",
            Request(),
            Binding(
                address("dhcp"),
                Endpoint("10.0.0.7"),
                NOW,
                NOW + timedelta(hours=24),
                Source.AGENT,
                "dhcp@office.lan",
            ),
        ),
        (
            "administrator",
            "new",
            ELSEWHERE,
            Binding(address("new"), Endpoint("10.0.0.9"), NOW, None, Source.ADMINISTRATOR, ""),
        ),
        (
            "administrator",
            "new",
            Request(endpoint=Endpoint("10.0.0.9"), lifetime=timedelta(days=30)),
            Binding(address("new"), Endpoint("10.0.0.9"), NOW, NOW + timedelta(days=30), Source.ADMINISTRATOR, ""),
        ),
    ],
)
async def test_what_is_granted_to_whom(who: str, name: str, request_: Request, binding: Binding) -> None:
    place = Place()
    assert await place.register(who, name, request=request_) == Registration(binding)
    assert place.chart.known[binding.address].binding == binding


async def test_a_link_local_peer_keeps_its_zone_and_a_mapped_one_is_ipv4() -> None:
    place = Place()
    first = await place.register("fax1", "fax1", peer=Endpoint.of("fe80::7", 4000, "eth0"))
    assert str(first.binding.endpoint) == "[fe80::7%eth0]:25"
    named = Request(endpoint=Endpoint.parse("[fe80::7]:2525"))
    second = await place.register("fax1", "fax1", peer=Endpoint.of("fe80::7", 4000, "eth0"), request=named)
    assert str(second.binding.endpoint) == "[fe80::7%eth0]:2525"
    third = await place.register("fax1", "fax1", peer=Endpoint.of("::ffff:10.0.0.7", 4000))
    assert str(third.binding.endpoint) == "10.0.0.7:25"


async def test_another_zone_is_another_endpoint() -> None:
    named = Request(endpoint=Endpoint.parse("[fe80::7%eth1]:25"))
    assert await Place().refusal("fax1", "fax1", peer=Endpoint.of("fe80::7", 4000, "eth0"), request=named) == 403


async def test_a_whole_token_in_place_of_the_secret_is_understood() -> None:
    place = Place()
    token = EnrolmentToken(("https://10.0.0.2:8025",), "0" * 64, address("fax1"), place.secrets["fax1"].secret)
    assert (await place.register(token.encode(), "fax1")).binding.owner == "fax1@office.lan"
    assert await place.refusal(token.encode(), "fax2") == 403


async def test_a_secret_that_names_no_account_serves_its_own_terminal() -> None:
    place = Place()
    place.accounts.put_terminal(Terminal(address("old"), sha256_of("plain"), NOW))
    assert (await place.register("plain", "old")).binding.owner == "old@office.lan"


async def test_a_removed_account_is_refused_at_once() -> None:
    place = Place()
    await place.register("fax1", "fax1")
    place.accounts.remove_terminal(address("fax1"))
    assert await place.refusal("fax1", "fax1") == 404


async def test_repeating_an_endpoint_renews_the_lease() -> None:
    place = Place()
    await place.register("fax1", "fax1")
    later = NOW + timedelta(hours=12)
    renewed = await place.register("fax1", "fax1", now=later)
    assert renewed.binding.updated == later
    assert renewed.binding.expires == later + timedelta(hours=24)


async def test_new_rules_are_for_what_comes_after_them() -> None:
    place = Place()
    assert await place.refusal("", "cam1") == 401
    place.registrar.use(CLAIMING)
    assert (await place.register("", "cam1")).key


async def test_a_short_lifetime_setting_lowers_the_least_one() -> None:
    place = Place(replace(RULES, lifetime=timedelta(seconds=0.5)))
    request = Request(lifetime=timedelta(seconds=0.5))
    assert (await place.register("fax1", "fax1", request=request)).binding.expires == NOW + timedelta(seconds=0.5)


async def test_too_many_wrong_secrets_lock_the_peer_out_for_a_minute_and_nobody_else() -> None:
    place = Place()
    for _ in range(WRONG_SECRETS):
        assert await place.refusal("wrong", "fax1") == 401
    assert await place.refusal("wrong", "fax1") == 429
    assert await place.refusal("fax1", "fax1") == 429
    await place.register("fax1", "fax1", peer=Endpoint("10.0.0.8"))
    await place.register("fax1", "fax1", now=NOW + timedelta(minutes=1))


async def test_unbinding_is_for_the_terminal_and_those_who_speak_for_it() -> None:
    place = Place()
    for who in ("fax1", "dhcp", "administrator"):
        await place.register("fax1", "fax1")
        assert await place.registrar.unregister(address("fax1"), place.secrets[who], PEER, NOW)
        assert place.chart.known[address("fax1")] == Entry(address("fax1"))
    assert not await place.registrar.unregister(address("fax1"), place.secrets["fax1"], PEER, NOW)
    with pytest.raises(RegistrationRefused) as caught:
        await place.registrar.unregister(address("fax1"), place.secrets["fax2"], PEER, NOW)
    assert caught.value.http_status == 403


async def test_a_binding_is_shown_to_the_terminal_and_administrators_also_when_expired() -> None:
    place = Place()
    await place.register("fax1", "fax1")
    late = NOW + timedelta(days=9)
    for who in ("fax1", "administrator"):
        assert not (await place.registrar.get(address("fax1"), place.secrets[who], PEER, late)).is_live(late)
    for who, name, status in [("fax2", "fax1", 403), ("fax2", "fax2", 404), ("administrator", "nobody", 404)]:
        with pytest.raises(RegistrationRefused) as caught:
            await place.registrar.get(address(name), place.secrets[who], PEER, NOW)
        assert caught.value.http_status == status


async def test_the_whole_chart_is_for_administrators() -> None:
    place = Place()
    shown = [entry async for entry in place.registrar.entries(place.secrets["administrator"], PEER, NOW)]
    assert len(shown) == len(place.chart.known)
    for credential, status in [(None, 401), (Credential("wrong"), 401), (place.secrets["dhcp"], 403)]:
        with pytest.raises(RegistrationRefused) as caught:
            place.registrar.entries(credential, PEER, NOW)
        assert caught.value.http_status == status


async def test_without_an_administrator_no_secret_is_his() -> None:
    place = Place()
    registrar = Registrar(place.chart, place.accounts, MemoryMailboxes(), RULES, durably=place.durably)
    with pytest.raises(RegistrationRefused):
        registrar.entries(Credential(""), PEER, NOW)


async def test_a_chart_that_is_down_is_nobodys_refusal() -> None:
    place = Place()
    place.chart.is_down = True
    with pytest.raises(ChartUnavailable):
        await place.register("fax1", "fax1")


async def test_the_first_to_claim_a_free_address_gets_it_and_its_key() -> None:
    place = Place(CLAIMING)
    claimed = await place.register("", "cam1")
    assert claimed.key
    assert claimed.binding.owner == "cam1@office.lan"
    assert await place.refusal("", "cam1", peer=Endpoint("10.0.0.8")) == 401
    again = await place.register(claimed.key, "cam1", peer=Endpoint("10.0.0.8"))
    assert str(again.binding.endpoint) == "10.0.0.8:25"
    assert again.key == ""


@pytest.mark.parametrize(
    ("name", "peer", "status"),
    [
        ("fax1", PEER, 401),
        ("bound", PEER, 409),
        ("by-hand", PEER, 409),
        ("anna", PEER, 409),
        ("bert", PEER, 409),
        ("x@elsewhere.example", PEER, 403),
        ("Postmaster", PEER, 403),
        ("cam1", Endpoint("192.0.2.7"), 403),
        ("cam1", Endpoint("2001:db8::7"), 403),
        ("cam1", Endpoint("127.0.0.1"), 403),
    ],
)
async def test_what_cannot_be_claimed(name: str, peer: Endpoint, status: int) -> None:
    place = Place(CLAIMING)
    accounts = dict(place.accounts.by_terminal)
    assert await place.refusal("", name, peer=peer) == status
    assert place.accounts.by_terminal == accounts


async def test_nothing_is_claimed_where_the_policy_is_enrolled() -> None:
    assert await Place().refusal("", "cam1") == 401


async def test_of_two_claims_at_once_one_wins() -> None:
    place = Place(CLAIMING)
    outcomes = await asyncio.gather(
        *(place.register("", "cam1", peer=Endpoint(f"10.0.0.{n}")) for n in range(2, 8)), return_exceptions=True
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, Registration)]
    assert len(won) == 1
    assert place.chart.known[address("cam1")].binding == won[0].binding


async def test_a_claim_that_the_chart_did_not_take_leaves_the_address_free() -> None:
    place = Place(CLAIMING)

    async def fail(binding: Binding) -> None:
        raise ChartUnavailable("full")

    bind, place.chart.bind = place.chart.bind, fail  # type: ignore[method-assign]
    with pytest.raises(ChartUnavailable):
        await place.register("", "cam1")
    place.chart.bind = bind  # type: ignore[method-assign]
    assert (await place.register("", "cam1")).key


async def test_an_address_enrolled_while_the_claim_was_looked_at_stays_enrolled() -> None:
    place = Place(CLAIMING)
    enrolled = Terminal(address("cam1"), sha256_of("theirs"), NOW)

    async def durably(write: Callable[[], None]) -> None:
        place.accounts.put_terminal(enrolled)
        write()

    registrar = Registrar(place.chart, place.accounts, MemoryMailboxes(), CLAIMING, durably=durably)
    with pytest.raises(RegistrationRefused) as caught:
        await registrar.register(address("cam1"), None, PEER, Request(), NOW)
    assert caught.value.http_status == 409
    assert place.accounts.terminal(address("cam1")) == enrolled


async def test_one_machine_cannot_claim_every_name() -> None:
    place = Place(CLAIMING)
    for number in range(CLAIMS):
        await place.register("", f"cam{number}")
    assert await place.refusal("", "one-more") == 429
    await place.register("", "one-more", now=NOW + timedelta(hours=1))


async def test_who_registers_at_an_endpoint_takes_it_from_the_terminal_that_was_there() -> None:
    place = Place()
    await place.register("fax1", "fax1")
    await place.register("fax2", "fax2")
    assert place.dropped == ["fax1@office.lan"]
    assert place.chart.known[address("fax1")] == Entry(address("fax1"))
    assert (await place.register("fax1", "fax1", peer=Endpoint("10.0.0.8"))).binding
    assert place.dropped == ["fax1@office.lan"]


async def test_one_account_may_bind_several_addresses_to_one_endpoint() -> None:
    place = Place()
    await place.register("dhcp", "fax1", request=ELSEWHERE)
    await place.register("dhcp", "fax2", request=ELSEWHERE)
    assert place.dropped == []


async def test_a_renamed_terminal_that_has_not_heard_yet_binds_its_new_address() -> None:
    place = Place()
    renamed = replace(place.accounts.by_terminal[address("fax1")], address=address("fax9"))
    place.accounts.rename_terminal(address("fax1"), renamed)
    registration = await place.register("fax1", "fax1")
    assert registration.binding.address == address("fax9")
    assert registration.binding.owner == "fax9@office.lan"
    assert await place.refusal("fax2", "fax1") == 403
    assert await place.refusal("wrong", "fax1") == 401
    assert await place.registrar.unregister(address("fax1"), place.secrets["fax1"], PEER, NOW)


async def test_a_renamed_dhcp_server_goes_on_speaking_for_others() -> None:
    place = Place()
    renamed = replace(place.accounts.by_terminal[address("dhcp")], address=address("kea"))
    place.accounts.rename_terminal(address("dhcp"), renamed)
    registration = await place.register("dhcp", "fax1", request=ELSEWHERE)
    assert registration.binding.owner == "kea@office.lan"
