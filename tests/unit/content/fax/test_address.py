"""Fax numbers in mail addresses: loose forms are read, strict ones written (RFC 3191, RFC 3192)."""

from __future__ import annotations

import pytest

from lanpost.content.fax.address import FaxAddress, bare, features, read
from lanpost.errors import InvalidAddress
from lanpost.model.address import MailAddress
from lanpost.model.fax_number import normal


@pytest.mark.parametrize(
    ("local", "number", "subaddress"),
    [
        ("FAX=+12027653000", "+12027653000", ""),
        ("FAX=+12027653000/T33S=1387", "+12027653000", "1387"),
        ("fax=+1-202-765.3000", "+12027653000", ""),
        ("/FAX=+12027653000/T33S=1387/", "+12027653000", "1387"),
        ('"FAX=+12027653000/T33S=1387"', "+12027653000", "1387"),
        ("fax=0312345678", "0312345678", ""),
        ("Fax=#001", "#001", ""),
        ("FAX=*72#5", "*72#5", ""),
        ("FAX=+12027653000/POSTAL=x/t33s=12", "+12027653000", "12"),
    ],
)
def test_forms_that_machines_send_are_read(local: str, number: str, subaddress: str) -> None:
    assert read(local) == FaxAddress(number, subaddress)


@pytest.mark.parametrize("local", ["fax1", "anna", "faxes=12", "VOICE=+1202", "+12027653000", "fax"])
def test_what_does_not_begin_as_one_is_none(local: str) -> None:
    assert read(local) is None


@pytest.mark.parametrize(
    "local", ["FAX=", "FAX=anna", "FAX=+", "FAX=##", "FAX=" + "1" * 41, "FAX=+1202/T33S=", "FAX=+1202/T33S=a",
              "FAX=+1202/T33S=1/T33S=2"]
)  # fmt: skip
def test_one_without_a_number_is_refused(local: str) -> None:
    with pytest.raises(InvalidAddress):
        read(local)


def test_what_is_written_is_strict_and_reads_back() -> None:
    address = FaxAddress("+12027653000", "1387").at("gateway.office.lan")
    assert str(address) == "FAX=+12027653000/T33S=1387@gateway.office.lan"
    assert read(MailAddress.parse(str(address)).local) == FaxAddress("+12027653000", "1387")


def test_a_bare_number_is_one_and_a_name_of_two_digits_is_not() -> None:
    assert bare("+81312345678") == FaxAddress("+81312345678")
    assert bare("03-1234-5678") == FaxAddress("0312345678")
    assert bare("42") is None
    assert bare("fax1") is None


def test_numbers_of_a_directory_lose_separators_and_parameters() -> None:
    assert normal("+81 (3) 1234-5678$twoDimensional$fineResolution") == "+81312345678"
    assert normal("ask anna") is None
    assert features("+81 3 1234 5678$twoDimensional$ fineResolution") == {"twodimensional", "fineresolution"}
