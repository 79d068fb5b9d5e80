"""What DHCP servers hand to their hooks, as words about addresses: Kea's run_script, and dnsmasq's dhcp-script.

The values come from the network, and are taken over as they are: whoever uses them reads them strictly. Nothing is
imported here: a hook is started for each lease.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

MAX_LEASES = 64  # of one event; there is one, or a few for IPv6
_KEA_ENDS = {"release": "released", "expire": "expired", "decline": "declined"}
_DNSMASQ_EVENTS = {"add": "bound", "old": "renewed", "del": "released"}

Fields = dict[str, str]  # as `POST /v1/leases` takes them


def kea_words(point: str, environment: Mapping[str, str]) -> Iterator[Fields]:
    """What Kea says at a hook point. `lease4_renew` says nothing that `leases4_committed` does not."""
    for version in "46":
        if point == f"leases{version}_committed":
            event = "renewed" if _is_renewal(version, environment) else "bound"
            yield from _kea_leases(f"DELETED_LEASES{version}", "released", environment)
            yield from _kea_leases(f"LEASES{version}", event, environment)
        for end, event in _KEA_ENDS.items():
            if point == f"lease{version}_{end}":
                yield _kea_lease(f"LEASE{version}", event, environment)


def _is_renewal(version: str, environment: Mapping[str, str]) -> bool:
    """The client has its address already, and asks for no more than to keep it (RFC 2131 §4.3.2)."""
    if version == "4":
        return environment.get("QUERY4_CIADDR", "0.0.0.0") != "0.0.0.0"  # noqa: S104
    return environment.get("QUERY6_TYPE", "") in ("RENEW", "REBIND")


def _kea_leases(prefix: str, event: str, environment: Mapping[str, str]) -> Iterator[Fields]:
    count = environment.get(f"{prefix}_SIZE", "0")
    for number in range(min(int(count), MAX_LEASES) if count.isdecimal() else 0):
        yield _kea_lease(f"{prefix}_AT{number}", event, environment)


def _kea_lease(prefix: str, event: str, environment: Mapping[str, str]) -> Fields:
    def told(name: str) -> str:
        return environment.get(f"{prefix}_{name}", "")

    return {
        "event": event,
        "address": "" if told("TYPE") == "IA_PD" else told("ADDRESS"),  # a prefix is no terminal's address
        "mac": told("HWADDR"),
        "client_id": told("CLIENT_ID") or told("DUID"),
        "hostname": told("HOSTNAME"),
        "lifetime": told("VALID_LIFETIME"),
    }


def dnsmasq_words(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[Fields]:
    """What dnsmasq says: action, hardware address or DUID, IP address, and the host name where it knows one."""
    if len(arguments) < 3 or arguments[0] not in _DNSMASQ_EVENTS:
        return  # its start, TFTP, ARP
    action, machine, address, *name = arguments
    is_dhcpv6 = bool(environment.get("DNSMASQ_IAID"))
    supplied = environment.get("DNSMASQ_SUPPLIED_HOSTNAME", "")
    yield {
        "event": _DNSMASQ_EVENTS[action],
        "address": address,
        "mac": environment.get("DNSMASQ_MAC", "") if is_dhcpv6 else machine,
        "client_id": machine if is_dhcpv6 else environment.get("DNSMASQ_CLIENT_ID", ""),
        "hostname": "".join(name[:1]) or supplied or environment.get("DNSMASQ_OLD_HOSTNAME", ""),
        "lifetime": environment.get("DNSMASQ_TIME_REMAINING", ""),
    }
