"""DHCP options as real clients left them on the disk, and whatever else may stand there."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.dhcp_lease import MAX_SERVERS, Lease, leases_in

URL = "ldap://10.77.0.1/ou=chart,o=lan"
DHCLIENT = f"""default-duid "\\000\\001\\000\\001.\\024";
lease {{
  interface "lan0";
  fixed-address 10.77.0.10;
  option subnet-mask 255.255.255.0;
  option smtp-server 10.77.0.1;
  option pop-server 10.77.0.1,10.77.0.2;
  option unknown-95 "{URL}";
  renew 5 2026/11/27 10:47:36;
}}
lease {{
  interface "lan0";
  fixed-address 10.77.0.11;
  option smtp-server 10.77.0.3;
}}
lease {{
  fixed-address 10.77.0.12;
  option host-name "option smtp-server 10.6.6.6;";
}}
""".encode()
# dhcpcd's /var/lib/dhcpcd/lan0.lease, answered by Kea.
DHCPCD = (
    bytes([2, 1, 6, 0])
    + bytes.fromhex("77f371ec000000000a4d000b0a4d000b0000000000000000")
    + bytes.fromhex("02000a4d0002").ljust(208, b"\0")
    + base64.b64decode(
        "Y4JTYzUBBQEE////ADMEAAAAEDYECk0AAToEAAAAATsEAAAACEUECk0AAUYICk0AAQpNAAJfH2xkYXA6Ly8xMC43Ny4wLjEvb3U9Y2hhcnQs"
        "bz1sYW7/"
    )
)
UDHCPC = f"address=10.77.0.12\n69=0a4d0001\n70=0a4d00010a4d0002\n95={URL.encode().hex()}\n".encode()


def test_dhclients_leases_the_last_first() -> None:
    assert leases_in(DHCLIENT) == (
        Lease("10.77.0.11", ("10.77.0.3",)),
        Lease("10.77.0.10", ("10.77.0.1",), ("10.77.0.1", "10.77.0.2"), URL),
    )


@pytest.mark.parametrize("name", ["ldap-server", "unknown-95"])
@pytest.mark.parametrize("value", [f'"{URL}"', ":".join(f"{octet:x}" for octet in URL.encode())])
def test_dhclient_writes_option_95_under_several_names_and_in_two_ways(name: str, value: str) -> None:
    (lease,) = leases_in(f"lease {{\n  fixed-address 10.0.0.1;\n  option {name} {value};\n}}\n".encode())
    assert lease.ldap == URL


@pytest.mark.parametrize(("data", "address"), [(DHCPCD, "10.77.0.11"), (UDHCPC, "10.77.0.12")])
def test_dhcpcds_message_and_what_the_hook_of_udhcpc_writes(data: bytes, address: str) -> None:
    (lease,) = leases_in(data)
    assert lease == Lease(address, ("10.77.0.1",), ("10.77.0.1", "10.77.0.2"), URL)
    assert lease.hosts == ("10.77.0.1", "10.77.0.2")


@pytest.mark.parametrize(
    "line",
    [
        "69=",
        "69=0a4d",
        "69=7f000001",
        "69=e00000fb",
        "69=00000000",
        "69=ffffffff",
        "69=$(reboot)",
        "95=6c0a64",
        "95=c3bc",
    ],
)
def test_what_is_no_server_is_left_out(line: str) -> None:
    assert leases_in(f"address=10.0.0.1\n{line}\n".encode()) == ()


def test_a_lease_with_very_many_servers_gives_the_first_few() -> None:
    servers = "".join(f"0a0000{number:02x}" for number in range(1, 60))
    (lease,) = leases_in(f"address=10.0.0.1\n69={servers}\n".encode())
    assert len(lease.smtp) == MAX_SERVERS


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda tail: DHCPCD[:240] + tail)))
def test_no_octets_make_it_raise(data: bytes) -> None:
    for lease in leases_in(data):
        assert lease.ldap.isprintable()


@given(st.integers(0, len(DHCLIENT)), st.text(max_size=8))
def test_nothing_that_is_written_into_a_lease_file_makes_it_raise(at: int, text: str) -> None:
    leases_in(DHCLIENT[:at] + text.encode("utf-8", "replace") + DHCLIENT[at:])
