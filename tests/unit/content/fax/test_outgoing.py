"""The mail around a fax is what RFC 3965 wants, and other software reads it."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from random import Random

import pytest

from lanpost.content.fax.outgoing import FaxHeaders, body, head, size_of_body
from lanpost.errors import InvalidFax
from lanpost.model.address import MailAddress


def headers(*to: str, subject: str = "Fax", file_name: str = "fax.tif", receipt: bool = False) -> FaxHeaders:
    sender = MailAddress.parse("anna@office.lan")
    return FaxHeaders(
        sender,
        [MailAddress.parse(each, "office.lan") for each in to],
        subject,
        datetime(2026, 11, 27, 12, 0, tzinfo=UTC),
        "<1@office.lan>",
        file_name,
        sender if receipt else None,
    )


@pytest.mark.parametrize("octets", [0, 1, 2, 3, 56, 57, 58, 57 * 1024, 200_001])
def test_the_tiff_comes_out_as_it_went_in_and_the_size_told_is_the_size_sent(octets: int) -> None:
    tiff = Random(octets).randbytes(octets)
    pieces = [tiff[at : at + 7001] for at in range(0, octets, 7001)]
    sent = b"".join(body(pieces))
    assert len(sent) == size_of_body(octets)
    assert max(map(len, sent.split(b"\r\n"))) <= 76
    mail = message_from_bytes(head(headers("fax1")) + sent, policy=policy.default)
    assert mail.get_payload(decode=True) == tiff


def test_it_is_an_image_tiff_for_a_fax_with_the_headers_that_conformance_requires() -> None:
    mail = message_from_bytes(
        head(headers("fax1", "fax2", subject="Grüße " * 20, receipt=True)), policy=policy.default
    )
    assert mail.get_content_type() == "image/tiff"
    assert mail["Content-Type"].params == {"application": "faxbw", "name": "fax.tif"}
    assert mail["Date"].datetime == datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
    assert (mail["From"], mail["Message-ID"]) == ("anna@office.lan", "<1@office.lan>")
    assert [each.addr_spec for each in mail["To"].addresses] == ["fax1@office.lan", "fax2@office.lan"]
    assert mail["Subject"].strip() == ("Grüße " * 20).strip()
    assert mail["Disposition-Notification-To"] == "anna@office.lan"
    assert mail["MIME-Version"] == "1.0"


def test_a_telephone_number_stays_in_the_envelope() -> None:
    written = head(headers("FAX=+81312345678/T33S=12@gw.office.lan"))
    assert b"312345678" not in written
    assert b"To: fax@gw.office.lan\r\n" in written


@pytest.mark.parametrize("name", ['a"b.tif', "a\r\nb", "ü.tif"])
def test_a_name_that_would_break_the_header_is_refused(name: str) -> None:
    with pytest.raises(InvalidFax):
        head(headers("fax1", file_name=name))
