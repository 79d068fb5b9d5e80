"""The host's own addresses, beside what iproute2 says of them."""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
import subprocess

import pytest

from lanpost.net import netlink
from lanpost.net.own_addresses import own_addresses as asked

HIDDEN = {"temporary", "tentative", "deprecated", "dadfailed"}


def test_they_are_those_that_iproute2_shows() -> None:
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    links = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, check=True).stdout)
    shown = {
        item["local"]
        for link in links
        for item in link.get("addr_info", ())
        if item["scope"] == "global" and not HIDDEN & {name for name, value in item.items() if value is True}
    }
    assert set(asked()) == shown


def test_ipv4_comes_first_and_nothing_is_said_twice() -> None:
    found = [ipaddress.ip_address(host) for host in asked()]
    assert found == sorted(found, key=lambda each: (each.version, int(each)))
    assert len(found) == len(set(found))
    assert not any(each.is_loopback or each.is_link_local for each in found)


def test_without_rtnetlink_the_routing_table_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    known = set(asked())
    monkeypatch.setattr(netlink, "IS_AVAILABLE", False)
    assert set(asked()) <= known


def test_a_kernel_that_gives_no_such_socket_is_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    known = set(asked())
    monkeypatch.setattr(socket, "AF_NETLINK", 255)
    assert set(asked()) <= known
