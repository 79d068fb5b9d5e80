"""IPP requests and responses; CUPS itself answers in tests/peers/test_fax_printing.py."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.errors import InvalidValue
from lanpost.wire import ipp


def response(status: int, *attributes: tuple[int, bytes, bytes]) -> bytes:
    written = b"".join(
        struct.pack(">BH", tag, len(name)) + name + struct.pack(">H", len(value)) + value
        for tag, name, value in attributes
    )
    return struct.pack(">BBHIB", 2, 0, status, 7, 1) + written + b"\x03"


def test_a_print_job_names_printer_job_and_format_in_the_order_of_the_standard() -> None:
    request = ipp.print_job(1, "ipp://10.0.0.5/ipp/print", "lanpost", "Fax from anna", "application/pdf")
    assert request == (
        b"\x01\x01\x00\x02\x00\x00\x00\x01"
        b"\x01\x47\x00\x12attributes-charset\x00\x05utf-8"
        b"\x48\x00\x1battributes-natural-language\x00\x02en"
        b"\x45\x00\x0bprinter-uri\x00\x18ipp://10.0.0.5/ipp/print"
        b"\x42\x00\x14requesting-user-name\x00\x07lanpost"
        b"\x42\x00\x08job-name\x00\x0dFax from anna"
        b"\x49\x00\x0fdocument-format\x00\x0fapplication/pdf"
        b"\x03"
    )


def test_a_long_name_is_cut_between_letters() -> None:
    request = ipp.print_job(1, "ipp://10.0.0.5/", "lanpost", "ü" * 300, "application/pdf")
    assert b"\x00\x08job-name\x00\xfe" + "ü".encode() * 127 + b"\x49" in request


def test_several_values_of_one_attribute_bear_its_name_once() -> None:
    request = ipp.get_printer_attributes(1, "ipp://10.0.0.5/", "lanpost", ("one", "two"))
    assert request.endswith(b"\x44\x00\x14requested-attributes\x00\x03one\x44\x00\x00\x00\x03two\x03")


def test_the_number_of_a_job_that_was_taken() -> None:
    read = ipp.read_response(response(0, (0x21, b"job-id", b"\0\0\0\x93")), 7)
    assert read.is_successful
    assert read.number("job-id") == 0x93


def test_all_values_of_an_attribute_are_read() -> None:
    data = response(1, (0x49, b"document-format-supported", b"image/tiff"), (0x49, b"", b"application/pdf"))
    read = ipp.read_response(data, 7)
    assert read.texts("document-format-supported") == ("image/tiff", "application/pdf")


@pytest.mark.parametrize(
    ("status", "permanent"), [(0x0507, False), (0x0406, False), (0x040A, True), (0x0400, True)]
)
def test_a_refusal_says_whether_to_try_again(status: int, permanent: bool) -> None:
    read = ipp.read_response(response(status, (0x41, b"status-message", b"so it is")), 7)
    assert not read.is_successful
    assert read.is_permanent is permanent
    assert "so it is" in str(read)


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1", response(0)[:-1], response(0, (0x41, b"x", b"y"))[:-3], b"\x09" + response(0)[1:]]
)
def test_what_is_no_response_is_told(data: bytes) -> None:
    with pytest.raises(InvalidValue, match="IPP response"):
        ipp.read_response(data, 7)


def test_the_response_to_another_request_is_none() -> None:
    with pytest.raises(InvalidValue, match="another request"):
        ipp.read_response(response(0), 8)


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(tail: bytes) -> None:
    with suppress(InvalidValue):
        ipp.read_response(struct.pack(">BBHIB", 1, 1, 0, 7, 1) + tail, 7)
