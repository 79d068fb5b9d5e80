"""Each real DHCP client beside each real DHCP server, with the kernel's word or with a hook's alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.lab import dhcp_clients
from tests.lab.fleet import Fleet, Member
from tests.lab.network import INTERFACE, Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(dhcp_clients.missing()), reason=f"not installed: {dhcp_clients.missing()}"),
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
    def hears_of_cables(self) -> bool:
        """NetworkManager waits for some seconds before it takes a cable for out, and calls no hook until then."""
        return not (self.is_hooked and self.kind == "networkmanager")

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
        guest.member.terminal.renews_when_told = guest.kind == "networkd"
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
        before = {guest: dhcp.granted(guest.member.terminal, guest.first) for guest in guests}
        for guest in guests:
            guest.member.terminal.renew()
        for guest in guests:
            dhcp.wait_for_leases(guest.member.terminal, guest.first, before[guest] + 1)
    assert {member.name: fleet.registrations(member) for member in members} == dict.fromkeys(
        (member.name for member in members), 1
    )

    dhcp.move({guest.member.terminal: guest.second for guest in guests})
    for guest in guests:
        guest.member.terminal.rebind()
    for guest in guests:
        fleet.registers(guest.member, guest.second)
    fleet.send("after the move", *members)
    for guest in guests:
        guest.member.mail_arrives("before the first lease", "after the move")
        assert fleet.endpoints(guest.member) == [guest.first, guest.second]

    # A cable that was out: the address may be the same afterwards, and mail waits.
    for guest in guests:
        guest.member.terminal.plug_out()
    told = {member.name: fleet.registrations(member) for member in members}  # the first was at the first address
    fleet.send("while the cable was out", *members)
    for guest in guests:
        guest.member.terminal.plug_in()
        guest.member.terminal.renew()
    for guest in guests:
        guest.member.mail_arrives("before the first lease", "after the move", "while the cable was out")
        if guest.hears_of_cables:
            fleet.registers(guest.member, guest.second, told[guest.member.name])
    assert lab.packets("port 53") == 0


def test_of_two_interfaces_the_address_that_reaches_the_server_is_registered(lab: Lab) -> None:
    fleet = Fleet(lab)
    members = fleet.terminals("auto", "hook")
    leases = dict(zip(members, ("10.77.0.10", "10.77.0.11"), strict=True))
    lab.dnsmasq.start({member.terminal: lease for member, lease in leases.items()})
    router = lab.terminal("router")
    router.plug_into("br1", "other0")
    router.run("ip", "addr", "add", "10.78.0.1/24", "dev", "other0")
    other = router.start(
        "dnsmasq",
        *(
            "dnsmasq",
            "--keep-in-foreground",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--pid-file=",
            "--user=root",
        ),
        *("--port=0", "--interface=other0", "--bind-interfaces", f"--dhcp-leasefile={router.folder}/leases"),
        "--dhcp-range=10.78.0.100,10.78.0.199",
    )
    other.wait_for("DHCP, IP range")
    for member in members:
        member.install_hook("udhcpc")
        member.terminal.plug_into("br1", "other0")
        member.start_agent(member.name)
        member.agent.wait_for("not registered .offline.")

    # First an address, and a default route, where the server is not to be reached.
    for member in members:
        client = dhcp_clients.start(member.terminal, "udhcpc", hooked=True, interface="other0")
        client.wait_for(r"lease of 10\.78\.0\.")
    assert [fleet.registrations(member) for member in members] == [0, 0]
    for member in members:
        member.terminal.start_dhcp("udhcpc", hooked=True)
    for member, lease in leases.items():
        fleet.registers(member, lease)
        assert fleet.endpoints(member) == [lease]
        assert "10.78.0." in member.terminal.run("ip", "-4", "route", "show", "default")
    fleet.send("to two interfaces", *members)
    for member in members:
        member.mail_arrives("to two interfaces")


def test_an_agent_that_goes_by_hooks_alone_hears_nothing_else(lab: Lab) -> None:
    fleet = Fleet(lab)
    (member,) = fleet.terminals("hooked")
    lab.batch(f"-n {member.terminal.namespace} addr add 10.77.0.10/24 dev {INTERFACE}")
    member.start_agent("hook")
    fleet.registers(member, "10.77.0.10")
    listening = Path(f"/proc/{member.agent.process.pid}/net/netlink").read_text().splitlines()
    heard = [int(line.split()[3], 16) for line in listening[1:] if line.split()[1] == "0"]  # of the route family
    assert not any(groups & 0x110 for groups in heard)  # nobody hears of addresses (RTMGRP_IPV4_IFADDR, _IPV6_)
