"""The table of own addresses, from messages made as the kernel makes them (struct nlmsghdr and its like)."""

from __future__ import annotations

import ipaddress
import struct

from hypothesis import given
from hypothesis import strategies as st

from lanpost.net.netlink import AddressTable, Change

NEW_LINK, DEL_LINK, NEW_ADDRESS, DEL_ADDRESS, DONE, ERROR = 16, 17, 20, 21, 3, 2
UP = 0x1 | 0x40 | 0x10000
DOWN = 0x1
PERMANENT, TENTATIVE, DEPRECATED, TEMPORARY, DAD_FAILED = 0x80, 0x40, 0x20, 0x01, 0x08
GLOBAL, LINK, HOST = 0, 253, 254


def message(kind: int, body: bytes = b"", sequence: int = 0, flags: int = 0) -> bytes:
    data = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body
    return data + bytes(-len(data) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), kind) + value
    return data + bytes(-len(data) % 4)


def address(host: str, flags: int = PERMANENT, scope: int = GLOBAL, index: int = 2) -> bytes:
    packed = ipaddress.ip_address(host).packed
    family = 2 if len(packed) == 4 else 10
    wide = attribute(8, struct.pack("=I", flags))
    return struct.pack("=BBBBI", family, 24, flags & 0xFF, scope, index) + attribute(1, packed) + wide


def link(flags: int = UP, index: int = 2) -> bytes:
    return struct.pack("=BxHiII", 0, 1, index, flags, 0) + attribute(3, b"eth0\0")


def listed(*hosts: bytes, links: tuple[bytes, ...] = (link(),)) -> AddressTable:
    """A table that has been told everything once."""
    table = AddressTable()
    answer_listing(table, hosts, links)
    return table


def answer_listing(table: AddressTable, hosts: tuple[bytes, ...], links: tuple[bytes, ...], flags: int = 0) -> None:
    for kind, bodies in ((NEW_LINK, links), (NEW_ADDRESS, hosts)):
        request = table.next_request()
        assert request is not None
        _, _, _, sequence, _ = struct.unpack_from("=IHHII", request)
        for body in bodies:
            table.receive_datagram(message(kind, body, sequence, flags))
        table.receive_datagram(message(DONE, bytes(4), sequence, flags))


def test_addresses_are_known_once_the_kernel_has_listed_them() -> None:
    table = AddressTable()
    answer_listing(table, (address("10.0.0.7"), address("2001:db8::7")), (link(),))
    assert table.addresses == {"10.0.0.7", "2001:db8::7"}
    assert table.next_request() is None


def test_only_addresses_that_others_can_use_count() -> None:
    table = listed(
        address("127.0.0.1", scope=HOST),
        address("fe80::1", scope=LINK),
        address("2001:db8::1", TENTATIVE),
        address("2001:db8::2", PERMANENT | DEPRECATED),
        address("2001:db8::3", TEMPORARY),
        address("2001:db8::4", DAD_FAILED | TENTATIVE),
        address("10.0.0.8", 0x01),  # of IPv4 this bit says "secondary"
    )
    assert table.addresses == {"10.0.0.8"}


def test_a_tentative_address_counts_once_it_is_not_tentative_any_more() -> None:
    table = listed(address("2001:db8::1", TENTATIVE))
    assert table.receive_datagram(message(NEW_ADDRESS, address("2001:db8::1"))) == {Change.ADDRESSES}
    assert table.receive_datagram(message(NEW_ADDRESS, address("2001:db8::1", DEPRECATED))) == {Change.ADDRESSES}
    assert table.addresses == frozenset()


def test_a_renewal_that_repeats_an_address_is_no_change() -> None:
    table = listed(address("10.0.0.7"))
    assert table.receive_datagram(message(NEW_ADDRESS, address("10.0.0.7", 0))) == set()


def test_an_address_that_moves_in_one_datagram_is_one_change() -> None:
    table = listed(address("10.0.0.7"))
    both = message(DEL_ADDRESS, address("10.0.0.7")) + message(NEW_ADDRESS, address("10.0.0.8"))
    assert table.receive_datagram(both) == {Change.ADDRESSES}
    assert table.addresses == {"10.0.0.8"}


def test_the_same_address_on_two_links_is_there_until_both_have_lost_it() -> None:
    table = listed(address("10.0.0.7"), address("10.0.0.7", index=3))
    assert table.receive_datagram(message(DEL_ADDRESS, address("10.0.0.7"))) == set()
    assert table.receive_datagram(message(DEL_LINK, link(index=3))) == {Change.ADDRESSES}


def test_a_link_that_comes_up_is_told_though_its_addresses_stayed() -> None:
    table = listed(address("10.0.0.7"))
    assert table.receive_datagram(message(NEW_LINK, link(UP))) == set()
    assert table.receive_datagram(message(NEW_LINK, link(DOWN))) == set()
    assert table.receive_datagram(message(NEW_LINK, link(UP))) == {Change.LINK_UP}
    assert table.addresses == {"10.0.0.7"}


def test_after_lost_messages_everything_is_listed_anew_and_nothing_flickers() -> None:
    table = listed(address("10.0.0.7"), address("10.0.0.8"))
    table.resync()
    request = table.next_request()
    assert request is not None
    assert table.addresses == {"10.0.0.7", "10.0.0.8"}
    (sequence,) = struct.unpack_from("=I", request, 8)
    table.receive_datagram(message(DONE, bytes(4), sequence))
    # What is told while the list is being made counts in it.
    table.receive_datagram(message(NEW_ADDRESS, address("10.0.0.9")))
    answer = table.next_request()
    assert answer is not None
    (sequence,) = struct.unpack_from("=I", answer, 8)
    table.receive_datagram(message(NEW_ADDRESS, address("10.0.0.8"), sequence))
    assert table.receive_datagram(message(DONE, bytes(4), sequence)) == {Change.ADDRESSES}
    assert table.addresses == {"10.0.0.8", "10.0.0.9"}


def test_a_list_that_was_disturbed_is_asked_for_again_but_only_when_it_has_ended() -> None:
    table = AddressTable()
    request = table.next_request()
    assert request is not None
    (sequence,) = struct.unpack_from("=I", request, 8)
    table.receive_datagram(message(NEW_LINK, link(), sequence, flags=0x10))
    table.resync()
    assert table.next_request() is None  # the kernel would say EBUSY
    table.receive_datagram(message(DONE, bytes(4), sequence))
    answer_listing(table, (address("10.0.0.7"),), (link(),))
    assert table.addresses == {"10.0.0.7"}


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_datagram_raises(datagrams: list[bytes]) -> None:
    table = AddressTable()
    for data in datagrams:
        table.receive_datagram(data)
        table.next_request()


@given(st.sampled_from([NEW_LINK, DEL_LINK, NEW_ADDRESS, DEL_ADDRESS, DONE, ERROR]), st.binary(max_size=80))
def test_no_message_body_raises(kind: int, body: bytes) -> None:
    table = listed(address("10.0.0.7"))
    table.receive_datagram(message(kind, body))
    table.receive_datagram(message(kind, body, 2))
