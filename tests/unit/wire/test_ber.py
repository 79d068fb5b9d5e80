"""The BER that LDAP allows, and nothing more of it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import InvalidLdapValue, LdapProtocolError
from lanpost.wire import ber


@given(
    st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F), st.binary(max_size=70_000) | st.binary(max_size=300)
)
def test_an_element_is_read_as_it_was_written(tag: int, contents: bytes) -> None:
    data = b"x" + ber.element(tag, contents) + b"behind"
    found, start, stop = ber.read_header(data, 1, len(data))
    assert (found, data[start:stop], data[stop:]) == (tag, contents, b"behind")


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_number_of_32_bits_is_read_as_it_was_written(number: int) -> None:
    data = ber.integer(number)
    assert ber.read_integer(data, 0, len(data)) == (number, len(data))


@pytest.mark.parametrize(
    ("number", "octets"),
    [
        (0, "020100"),
        (127, "02017f"),
        (128, "02020080"),
        (-1, "0201ff"),
        (-128, "020180"),
        (2**31 - 1, "02047fffffff"),
    ],
)
def test_numbers_take_as_few_octets_as_they_can(number: int, octets: str) -> None:
    assert ber.integer(number).hex() == octets


@pytest.mark.parametrize("octets", ["0400", "048100", "04820000", "0483000000", "048400000000"])
def test_lengths_may_have_zeros_in_front(octets: str) -> None:
    data = bytes.fromhex(octets)
    assert ber.read_octets(data, 0, len(data)) == (b"", len(data))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("", "cut short"),
        ("04", "cut short"),
        ("0405616263", "longer than what holds it"),
        ("048461", "cut short"),
        ("048461626364", "longer than what holds it"),
        ("0480616200", "indefinite"),
        ("048500000000016100", "5 octets"),
        ("04ff", "127 octets"),
        ("1f810100", "more than one octet"),
        ("24030401 61", "tag 0x24"),  # a string in pieces
    ],
)
def test_what_ldap_does_not_allow_is_refused(octets: str, reason: str) -> None:
    data = bytes.fromhex(octets)
    with pytest.raises(LdapProtocolError, match=reason):
        ber.read_octets(data, 0, len(data))


@pytest.mark.parametrize("octets", ["0200", "02050000000001"])
def test_numbers_have_one_to_four_octets(octets: str) -> None:
    data = bytes.fromhex(octets)
    with pytest.raises(LdapProtocolError, match="a number of"):
        ber.read_integer(data, 0, len(data))


def test_a_truth_value_is_one_octet() -> None:
    assert ber.read_boolean(b"\x01\x01\x00", 0, 3) == (False, 3)
    assert ber.read_boolean(b"\x01\x01\x01", 0, 3) == (True, 3)
    assert ber.boolean(value=True) == b"\x01\x01\xff"
    with pytest.raises(LdapProtocolError, match="truth"):
        ber.read_boolean(b"\x01\x02\x00\x00", 0, 4)


def test_text_is_utf_8() -> None:
    assert ber.read_text(ber.text("Grüße"), 0, 9) == ("Grüße", 9)
    with pytest.raises(InvalidLdapValue, match="UTF-8"):
        ber.read_text(b"\x04\x01\xff", 0, 3)


def test_nothing_is_read_beyond_the_end_that_is_given() -> None:
    data = ber.octets(b"abc")
    with pytest.raises(LdapProtocolError):
        ber.read_octets(data, 0, len(data) - 1)


def test_elements_are_counted_before_anything_is_made_of_them() -> None:
    ber.check_elements(ber.element(0x30, b"\x04\x00" * (ber.MAX_ELEMENTS - 1)), 0, 2 * ber.MAX_ELEMENTS + 2)
    data = ber.element(0x30, b"\x04\x00" * ber.MAX_ELEMENTS)
    with pytest.raises(LdapProtocolError, match="elements"):
        ber.check_elements(data, 0, len(data))


def test_nesting_is_bounded() -> None:
    data = b""
    for _ in range(ber.MAX_NESTING + 1):
        data = ber.element(0x30, data)
    with pytest.raises(LdapProtocolError, match="too deep"):
        ber.check_elements(data, 0, len(data))


@given(st.binary(max_size=60))
def test_a_count_of_anything_ends_or_is_refused(data: bytes) -> None:
    with contextlib.suppress(LdapProtocolError):
        ber.check_elements(data, 0, len(data))


def test_a_message_is_too_long_as_soon_as_its_length_is_known() -> None:
    with pytest.raises(LdapProtocolError, match="1000 are allowed"):
        ber.message_end(bytes.fromhex("3084 7fffffff"), 0, 6, 1000)
    assert ber.message_end(bytes.fromhex("308203e4"), 0, 4, 1000) == 1000
    with pytest.raises(LdapProtocolError, match="1001 octets"):
        ber.message_end(bytes.fromhex("308203e5"), 0, 4, 1000)


@pytest.mark.parametrize("octets", ["", "30", "3082", "308203"])
def test_the_end_of_a_message_is_unknown_until_its_length_is_here(octets: str) -> None:
    data = bytes.fromhex(octets)
    assert ber.message_end(data, 0, len(data), 1000) == -1


@pytest.mark.parametrize("octets", ["16", "1603", "47455420", "3080", "3085"])
def test_what_begins_like_no_message_is_refused_at_once(octets: str) -> None:
    data = bytes.fromhex(octets)
    with pytest.raises(LdapProtocolError):
        ber.message_end(data, 0, len(data), 1000)
