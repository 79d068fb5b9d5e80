"""What Kea 2.2 and dnsmasq 2.90 hand to their hooks, as they were seen to."""

from __future__ import annotations

import pytest

from lanpost.content.dhcp_words import Fields, dnsmasq_words, kea_words

MAC, CLIENT_ID = "02:00:0a:4d:00:02", "01:02:00:0a:4d:00:02"
LEASE = {
    "ADDRESS": "10.77.0.10",
    "HWADDR": MAC,
    "CLIENT_ID": CLIENT_ID,
    "HOSTNAME": "scanner",
    "VALID_LIFETIME": "16",
    "STATE": "default",
    "SUBNET_ID": "1",
}


def kea(prefix: str, lease: dict[str, str] = LEASE, **more: str) -> dict[str, str]:
    return {f"{prefix}_{name}": value for name, value in lease.items()} | more


def word(event: str, address: str = "10.77.0.10", **more: str) -> Fields:
    told = {"mac": MAC, "client_id": CLIENT_ID, "hostname": "scanner", "lifetime": "16", **more}
    return {"event": event, "address": address, **told}


@pytest.mark.parametrize(
    ("point", "environment", "words"),
    [
        (
            "leases4_committed",
            kea("LEASES4_AT0", LEASES4_SIZE="1", DELETED_LEASES4_SIZE="0", QUERY4_CIADDR="0.0.0.0"),
            [word("bound")],
        ),
        ("leases4_committed", kea("LEASES4_AT0", LEASES4_SIZE="1", QUERY4_CIADDR="10.77.0.10"), [word("renewed")]),
        (
            "leases4_committed",  # moved: the former address is free
            kea("LEASES4_AT0", LEASES4_SIZE="1", DELETED_LEASES4_SIZE="1", QUERY4_CIADDR="0.0.0.0")
            | kea("DELETED_LEASES4_AT0", {**LEASE, "ADDRESS": "10.77.0.9"}),
            [word("released", "10.77.0.9"), word("bound")],
        ),
        ("lease4_release", kea("LEASE4"), [word("released")]),
        ("lease4_expire", kea("LEASE4"), [word("expired")]),
        ("lease4_decline", kea("LEASE4"), [word("declined")]),
        ("lease4_renew", kea("LEASE4"), []),
        ("lease4_recover", kea("LEASE4"), []),
        (
            "leases6_committed",
            kea("LEASES6_AT0", {"ADDRESS": "fd00::7", "DUID": "00:03:00:01", "TYPE": "IA_NA"}, QUERY6_TYPE="RENEW")
            | kea("LEASES6_AT1", {"ADDRESS": "fd00:1::", "DUID": "00:03:00:01", "TYPE": "IA_PD"}, LEASES6_SIZE="2"),
            [
                word("renewed", "fd00::7", mac="", client_id="00:03:00:01", hostname="", lifetime=""),
                word("renewed", "", mac="", client_id="00:03:00:01", hostname="", lifetime=""),
            ],
        ),
        ("leases4_committed", {"LEASES4_SIZE": "-1"}, []),
        ("leases4_committed", {"LEASES4_SIZE": "x", "DELETED_LEASES4_SIZE": ""}, []),
        ("", {}, []),
    ],
)
def test_keas_hook_points(point: str, environment: dict[str, str], words: list[Fields]) -> None:
    assert list(kea_words(point, environment)) == words


def test_kea_cannot_make_the_hook_run_for_ever() -> None:
    assert len(list(kea_words("leases4_committed", {"LEASES4_SIZE": "999999999"}))) < 100


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (
            ["add", MAC, "10.77.0.10", "scanner"],
            {"DNSMASQ_CLIENT_ID": CLIENT_ID, "DNSMASQ_TIME_REMAINING": "16", "DNSMASQ_SUPPLIED_HOSTNAME": "other"},
            [word("bound")],
        ),
        (
            ["add", MAC, "10.77.0.10"],
            {"DNSMASQ_SUPPLIED_HOSTNAME": "scanner"},
            [word("bound", client_id="", lifetime="")],
        ),
        (
            ["old", MAC, "10.77.0.10"],
            {"DNSMASQ_TIME_REMAINING": "9"},
            [word("renewed", client_id="", hostname="", lifetime="9")],
        ),
        (
            ["del", MAC, "10.77.0.10"],
            {"DNSMASQ_OLD_HOSTNAME": "scanner", "DNSMASQ_TIME_REMAINING": "0"},
            [word("released", client_id="", lifetime="0")],
        ),
        (
            ["add", "00:01:00:01:2e", "fd00::7", "scanner"],
            {"DNSMASQ_IAID": "3", "DNSMASQ_MAC": MAC, "DNSMASQ_TIME_REMAINING": "16"},
            [word("bound", "fd00::7", client_id="00:01:00:01:2e")],
        ),
        (["init"], {}, []),
        (["tftp", "1234", "10.77.0.10", "/file"], {}, []),
        (["arp-add", MAC, "10.77.0.10"], {}, []),
        ([], {}, []),
    ],
)
def test_dnsmasqs_actions(arguments: list[str], environment: dict[str, str], words: list[Fields]) -> None:
    assert list(dnsmasq_words(arguments, environment)) == words
