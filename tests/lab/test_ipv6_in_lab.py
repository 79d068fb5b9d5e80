"""IPv6 addresses, by SLAAC and by DHCPv6, as endpoints: which of them are registered, and when."""

from __future__ import annotations

import ipaddress
import time

import pytest
from tests.lab import dhcp_clients
from tests.lab.fleet import Fleet, Member
from tests.lab.network import INTERFACE, Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(dhcp_clients.missing()), reason=f"not installed: {dhcp_clients.missing()}"),
]

ADVERTISED = "fd78::"  # where addresses are made by SLAAC; those of fd77:: are given by DHCPv6
QUICK = {"dad_transmits": 0}  # addresses are valid at once


def made_by_slaac(member: Member) -> str:
    """The lasting address that a kernel makes of its MAC address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(member.terminal.mac.replace(":", ""))
    made = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(ADVERTISED)) | int.from_bytes(made)))


def addresses_of(member: Member) -> dict[str, set[str]]:
    """What `ip` shows on the LAN: address to flags."""
    lines = member.terminal.run("ip", "-6", "-o", "addr", "show", "dev", INTERFACE, "scope", "global").splitlines()
    return {line.split()[3].partition("/")[0]: set(line.split()[4:]) for line in lines}


def advertise(lab: Lab) -> None:
    """Router advertisements for both prefixes, DHCPv6 in one of them."""
    lab.batch(f"-n {lab.server.namespace} addr add {ADVERTISED}1/64 dev {INTERFACE} nodad")
    lab.dnsmasq.start(
        {},
        "--enable-ra",
        f"--dhcp-range={ADVERTISED},ra-only,64",
        "--dhcp-range=fd77::100,fd77::1ff,64,120",
    )


def test_addresses_by_slaac_and_by_dhcpv6_are_endpoints(lab: Lab) -> None:
    fleet = Fleet(lab)
    plain, private, *leased = fleet.terminals("plain", "private", "dhclient", "dhcpcd", "networkd", "hooked")
    members = [plain, private, *leased]
    for member in members:
        member.terminal.sysctl(**QUICK)
    for member in (plain, private):
        member.terminal.sysctl(accept_ra=1, autoconf=1)
    private.terminal.sysctl(use_tempaddr=2)  # the kernel prefers temporary addresses (RFC 8981)
    for member in leased:
        member.terminal.sysctl(autoconf=0)
    *_, hooked = leased
    hooked.install_hook("dhclient")
    for member in members:
        member.start_agent("hook" if member is hooked else "auto")
    for member in members:
        member.agent.wait_for("not registered .offline.")
    fleet.send("before", *members)
    advertise(lab)
    for member in leased:
        member.terminal.wait_for_link_local()
        kind = "dhclient" if member is hooked else member.name
        member.terminal.start_dhcp(kind, hooked=member is hooked, version=6)

    for member in (plain, private):
        fleet.registers(member, made_by_slaac(member))
    for member in leased:
        fleet.server.wait_until(rf"terminal registered .*address={member.name}@.*endpoint=.*\[fd77::1\w\w\]:")
    for member in members:
        member.mail_arrives("before")
    fleet.send("after", *members)
    for member in members:
        member.mail_arrives("after", "before")
    for member in (plain, private):
        assert fleet.endpoints(member) == [made_by_slaac(member)]
    temporary = [address for address, flags in addresses_of(private).items() if "temporary" in flags]
    assert temporary, "there was no temporary address to choose"
    assert lab.packets("port 53") == 0


def test_an_address_that_is_being_checked_is_waited_for_and_a_duplicate_is_never_registered(lab: Lab) -> None:
    fleet = Fleet(lab)
    slow, doubled = fleet.terminals("slow", "doubled")
    slow.terminal.sysctl(dad_transmits=3)  # a second each
    for member in (slow, doubled):
        member.start_agent()
        member.agent.wait_for("not registered .offline.")

    started = time.monotonic()
    add = ("ip", "addr", "add")
    slow.terminal.run(*add, "fd77::30/64", "dev", INTERFACE)
    assert "tentative" in addresses_of(slow)["fd77::30"]
    fleet.registers(slow, "fd77::30")
    assert time.monotonic() - started > 2
    assert fleet.registrations(slow) == 1

    for host in ("fd77::30", "fd77::40"):  # the first is another machine's
        doubled.terminal.run(*add, f"{host}/64", "dev", INTERFACE)
    fleet.registers(doubled, "fd77::40")
    assert fleet.endpoints(doubled) == ["fd77::40"]
    assert "dadfailed" in addresses_of(doubled)["fd77::30"]
    assert "fd77::30" not in " ".join(line for line in doubled.agent.lines if "own addresses" in line)
