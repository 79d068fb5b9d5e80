"""What a mail brings to a fax machine (RFC 3965), in all the shapes that mail has."""

from __future__ import annotations

import base64
from contextlib import suppress
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.fax.mail import MAX_PARTS, Kind, documents
from lanpost.errors import InvalidFax

TIFF = b"II*\0" + bytes(range(256)) * 3
PDF = b"%PDF-1.7\n" + bytes(range(256))


def one(kind: str, data: bytes, encoding: str = "base64", extra: str = "") -> bytes:
    body = base64.encodebytes(data).replace(b"\n", b"\r\n") if encoding == "base64" else data
    head = f"Content-Type: {kind}{extra}\r\nContent-Transfer-Encoding: {encoding}\r\nMIME-Version: 1.0\r\n\r\n"
    return head.encode() + body


def mixed(*parts: bytes, kind: str = "mixed") -> bytes:
    pieces = b"".join(b"--b0\r\n" + part + b"\r\n" for part in parts)
    return (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/"
        + kind.encode()
        + b'; boundary="b0"\r\n\r\n'
        + (pieces + b"--b0--\r\n")
    )


@pytest.mark.parametrize(
    "kind",
    [
        "image/tiff",
        "image/tiff; application=faxbw",
        "image/tiff-fx; application=faxbw",
        'IMAGE/TIFF; name="page.tif"',
        "application/octet-stream",
    ],
)
def test_a_tiff_is_known_by_its_type_or_its_first_octets(kind: str) -> None:
    (found,) = documents(one(kind, TIFF))
    assert (found.kind, found.data) == (Kind.TIFF, TIFF)


def test_a_tiff_may_come_in_eight_bits_or_quoted() -> None:
    plain = TIFF.replace(b"\r", b"").replace(b"\n", b"")
    (found,) = documents(mixed(one("image/tiff", plain, "8bit")))
    assert found.data == plain
    quoted = b"".join(b"=%02X" % octet + (b"=\r\n" if at % 25 == 24 else b"") for at, octet in enumerate(TIFF))
    (found,) = documents(one("image/tiff", quoted, "quoted-printable"))
    assert found.data == TIFF


@pytest.mark.parametrize("kind", ["application/pdf", "application/octet-stream"])
def test_a_pdf_is_known_the_same_way(kind: str) -> None:
    (found,) = documents(one(kind, PDF))
    assert (found.kind, found.data) == (Kind.PDF, PDF)


def test_plain_text_is_read_in_its_charset() -> None:
    (found,) = documents(one("text/plain; charset=iso-8859-1", "Grüße\r\n".encode("latin-1"), "8bit"))
    assert (found.kind, found.text) == (Kind.TEXT, "Grüße\r\n")


def test_an_unknown_charset_still_shows_the_letters() -> None:
    (found,) = documents(one("text/plain; charset=x-none", b"Hello\r\n", "8bit"))
    assert found.text == "Hello\r\n"


def test_a_mail_without_mime_is_text() -> None:
    (found,) = documents(b"Subject: x\r\n\r\nHello\r\n")
    assert found.text == "Hello\r\n"


def test_several_tiffs_come_in_their_order_and_an_empty_text_is_no_page() -> None:
    found = documents(
        mixed(one("text/plain", b" \r\n", "7bit"), one("image/tiff", TIFF), one("image/tiff", TIFF + b"2"))
    )
    assert [each.data for each in found] == [TIFF, TIFF + b"2"]


def test_a_forwarded_mail_brings_what_is_in_it() -> None:
    inner = mixed(one("text/plain", b"see below\r\n", "7bit"), one("image/tiff", TIFF))
    found = documents(mixed(b"Content-Type: message/rfc822\r\n\r\n" + inner.replace(b"b0", b"b1")))
    assert [each.kind for each in found] == [Kind.TEXT, Kind.TIFF]


def test_of_alternatives_the_best_that_can_be_put_on_paper_is_taken() -> None:
    html = one("text/html", b"<p>Hello</p>\r\n", "7bit")
    text = one("text/plain", b"Hello\r\n", "7bit")
    (found,) = documents(mixed(text, html, kind="alternative"))
    assert found.text == "Hello\r\n"
    with pytest.raises(InvalidFax, match="none of its alternatives"):
        documents(mixed(html, kind="alternative"))


def test_a_delivery_report_is_its_text() -> None:
    report = mixed(one("text/plain", b"It failed\r\n", "7bit"), one("message/delivery-status", b"a: b\r\n", "7bit"))
    (found,) = documents(report.replace(b"multipart/mixed", b"multipart/report"))
    assert found.text == "It failed\r\n"


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (one("text/html", b"<p>\r\n", "7bit"), "part 3 is text/html"),
        (one("application/msword", b"x"), "part 3 is application/msword"),
        (one("application/octet-stream", b"x", extra='; name="a.doc"'), r"part 3 \(a.doc\) is application/octet"),
        (one("image/tiff", b"GIF89a"), "is no TIFF"),
        (one("application/pdf", TIFF), "is no PDF"),
        (one("image/tiff", b"=", "uuencode"), "transfer encoding 'uuencode'"),
        (one("image/tiff", b"", "base64") + b"SUkqA\r\n", "base64 cannot be decoded"),
        (b"Content-Type: multipart/mixed\r\n\r\nx\r\n", "without a boundary"),
    ],
)
def test_one_part_that_is_no_fax_fails_the_mail(part: bytes, reason: str) -> None:
    with pytest.raises(InvalidFax, match=reason):
        documents(mixed(one("image/tiff", TIFF), part))


def test_a_mail_with_nothing_in_it_is_no_fax() -> None:
    with pytest.raises(InvalidFax, match="nothing in this mail"):
        documents(b"Subject: x\r\n\r\n\r\n")


def test_parts_are_bounded_in_number_and_depth() -> None:
    with pytest.raises(InvalidFax, match="parts in one mail"):
        documents(mixed(*[one("text/plain", b"x\r\n", "7bit")] * (MAX_PARTS + 1)))
    deep = b"Subject: x\r\n\r\nx\r\n"
    for _ in range(3000):
        deep = b"Content-Type: message/rfc822\r\n\r\n" + deep
    with pytest.raises(InvalidFax, match="nested too deep"):
        documents(deep)


def test_mail_as_python_writes_it() -> None:
    whole = MIMEMultipart()
    whole.attach(MIMEText("Hello", "plain", "utf-8"))
    whole.attach(MIMEApplication(PDF, "pdf"))
    assert [each.kind for each in documents(whole.as_bytes())] == [Kind.TEXT, Kind.PDF]
    newer = EmailMessage()
    newer.set_content("Hello")
    newer.add_attachment(TIFF, "image", "tiff", filename="größe.tif")
    found = documents(newer.as_bytes(policy=SMTP))
    assert [each.kind for each in found] == [Kind.TEXT, Kind.TIFF]
    assert found[1].where == "part 3 (größe.tif)"


PIECES = (
    *(b"Content-Type: ", b"multipart/mixed; boundary=b0", b"--b0", b"--b0--", b"\r\n", b"message/rfc822"),
    *(b"image/tiff", b"Content-Transfer-Encoding: base64", b"SUkqAA==", b"\xff", b"; name*=x'", b"=?"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_mail_is_read_or_refused(pieces: list[bytes]) -> None:
    with suppress(InvalidFax):
        assert documents(b"".join(pieces))
