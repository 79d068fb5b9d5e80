"""By what a DHCP server knows a machine: what is taken, what is not."""

from __future__ import annotations

import pytest

from lanpost.errors import InvalidValue
from lanpost.model.device import Device

MAC = "00:11:22:aa:bb:cc"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"mac": "00-11-22-AA-BB-CC"}, Device(mac=MAC)),
        ({"mac": "0011.22aa.bbcc"}, Device(mac=MAC)),
        ({"mac": f" {MAC} "}, Device(mac=MAC)),
        ({"client_id": "01:00:11:22:AA:bb:cc"}, Device(client_id="01001122aabbcc")),
        ({"client_id": "0x01001122aabbcc"}, Device(client_id="01001122aabbcc")),
        ({"client_id": "ff" * 255}, Device(client_id="ff" * 255)),
        ({"hostname": "Scanner"}, Device(hostname="scanner")),
        ({"hostname": "scanner.office.lan."}, Device(hostname="scanner")),
        ({"hostname": "a_b-c1"}, Device(hostname="a_b-c1")),
        ({}, Device()),
    ],
)
def test_each_is_read_as_people_and_dhcp_servers_write_it(given: dict[str, str], read: Device) -> None:
    assert Device.of(**given) == read


@pytest.mark.parametrize(
    "given",
    [
        {"mac": "00:11:22:33:44"},
        {"mac": "00:11:22:33:44:5g"},
        {"mac": "00:00:00:00:00:00"},
        {"mac": "ff:ff:ff:ff:ff:ff"},  # every machine
        {"mac": "01:00:5e:00:00:01"},  # a group
        {"mac": "06-00:11:22:33:44:55"},
        {"mac": f"{MAC}\n{MAC}"},
        {"mac": "٠٠:11:22:33:44:55"},  # digits, but not ours
        {"client_id": "0"},
        {"client_id": "xyz"},
        {"client_id": "::"},
        {"client_id": "ff" * 256},
        {"hostname": "-scanner"},
        {"hostname": "$(reboot)"},
        {"hostname": "a b"},
        {"hostname": "a/../b"},
        {"hostname": "."},
        {"hostname": "x" * 64},
        {"hostname": "scanner." + "x" * 300},
    ],
)
def test_what_is_none_of_them_is_refused_with_a_word(given: dict[str, str]) -> None:
    with pytest.raises(InvalidValue, match=r"is not (a|the) "):
        Device.of(**given)


@pytest.mark.parametrize(
    ("own", "told", "other"),
    [
        (Device(mac=MAC), Device(mac=MAC, hostname="b"), False),
        (Device(mac=MAC, hostname="a"), Device(mac=MAC, hostname="b"), False),  # it was renamed
        (Device(mac=MAC), Device(mac="00:11:22:aa:bb:cd"), True),
        (Device(client_id="01"), Device(mac=MAC, client_id="02"), True),
        (Device(hostname="a"), Device(mac=MAC, hostname="b"), True),
        (Device(mac=MAC), Device(client_id="01"), False),  # nothing to compare
        (Device(), Device(mac=MAC), False),
    ],
)
def test_the_strongest_name_that_both_have_decides(own: Device, told: Device, other: bool) -> None:
    assert own.is_other_than(told) is other
