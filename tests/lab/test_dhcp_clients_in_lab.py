"""Each real DHCP client beside each real DHCP server, with the kernel's word or with a hook's alone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import pytest
from tests.lab import dhcp_clients
from tests.lab.fleet import Fleet, Member
from tests.lab.network import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(
        not all(map(shutil.which, dhcp_clients.NEEDED)), reason=f"not installed: {dhcp_clients.NEEDED}"
    ),
]


@dataclass(frozen=True)
class Guest:
    """A terminal with its client, and the addresses that it has one after the other."""

    member: Member
    kind: str
    watch: str
    first: str
    second: str

    @property
    def is_hooked(self) -> bool:
        return self.watch == "hook"


def guests_of(fleet: Fleet) -> list[Guest]:
    """Each client twice: once the agent hears the kernel, once nothing but the hook."""
    ways = [(kind, watch) for kind in dhcp_clients.KINDS for watch in ("auto", "hook")]
    members = fleet.terminals(*(f"{kind}-{watch}" for kind, watch in ways))
    guests = [
        Guest(member, kind, watch, f"10.77.0.{10 + at}", f"10.77.0.{50 + at}")
        for at, ((kind, watch), member) in enumerate(zip(ways, members, strict=True))
    ]
    for guest in guests:
        if guest.is_hooked:
            guest.member.install_hook(guest.kind)
        guest.member.start_agent(guest.watch)
    return guests


@pytest.mark.parametrize("server", ["kea", "dnsmasq"])
def test_every_client_is_followed(lab: Lab, server: str) -> None:
    fleet = Fleet(lab)
    dhcp = lab.dhcp if server == "kea" else lab.dnsmasq
    guests = guests_of(fleet)
    members = [guest.member for guest in guests]
    dhcp.start({guest.member.terminal: guest.first for guest in guests})
    for guest in guests:
        guest.member.agent.wait_for("not registered .offline.")
    fleet.send("before the first lease", *members)

    for guest in guests:
        guest.member.terminal.start_dhcp(guest.kind, hooked=guest.is_hooked)
    for guest in guests:
        fleet.registers(guest.member, guest.first)
        guest.member.mail_arrives("before the first lease")

    # Renewals of the same address: nothing is written, though the hook calls each time.
    for _ in range(2):
        for guest in guests:
            before = dhcp.granted(guest.member.terminal, guest.first)
            guest.member.terminal.renew()
            dhcp.wait_for_leases(guest.member.terminal, guest.first, before + 1)
    assert {member.name: fleet.registrations(member) for member in members} == dict.fromkeys(
        (member.name for member in members), 1
    )

    dhcp.move({guest.member.terminal: guest.second for guest in guests})
    for guest in guests:
        guest.member.terminal.renew()
    for guest in guests:
        fleet.registers(guest.member, guest.second)
    fleet.send("after the move", *members)
    for guest in guests:
        guest.member.mail_arrives("before the first lease", "after the move")
        assert fleet.endpoints(guest.member) == [guest.first, guest.second]

    # A cable that was out: the address may be the same afterwards, and mail waits.
    for guest in guests:
        guest.member.terminal.plug_out()
    told = {member.name: fleet.registrations(member) for member in members}
    fleet.send("while the cable was out", *members)
    for guest in guests:
        guest.member.terminal.plug_in()
        guest.member.terminal.renew()
    for guest in guests:
        guest.member.mail_arrives("before the first lease", "after the move", "while the cable was out")
        fleet.registers(guest.member, guest.second, told[guest.member.name])
    assert lab.packets("port 53") == 0
