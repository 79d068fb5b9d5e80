"""What comes back is understood, whoever wrote it, and what is about other mail is left alone."""

from __future__ import annotations

import pytest

from lanpost.content.fax.receipt import Receipt, receipts
from lanpost.model.address import MailAddress

IDS = ("fax-1", "<1.fax@office.lan>")


def dsn(fields: str, envelope_id: str = "Original-Envelope-Id: fax-1\n", returned: str = "<other@x>") -> bytes:
    return (
        "From: MAILER-DAEMON@post.office.lan\nTo: anna@office.lan\nSubject: Report\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nSee below.\n"
        "--b\nContent-Type: message/delivery-status\n\n"
        f"{envelope_id}Reporting-MTA: dns; post.office.lan\n\n{fields}\n"
        f"--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: {returned}\nSubject: Fax\n\n--b--\n"
    ).encode()


def mdn(disposition: str, more: str = "") -> bytes:
    return (
        "From: fax1@office.lan\nTo: anna@office.lan\nSubject: Disposition\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=disposition-notification; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nSee below.\n"
        "--b\nContent-Type: message/disposition-notification\n\nReporting-UA: fax1\n"
        f"Final-Recipient: rfc822;fax1@office.lan\nOriginal-Message-ID: {IDS[1]}\n"
        f"Disposition: automatic-action/MDN-sent-automatically; {disposition}\n{more}\n--b--\n"
    ).encode()


def found(mail: bytes) -> list[Receipt]:
    return list(receipts(mail, *IDS))


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_delivery_is_told_in_words_with_what_the_machine_said(line_end: bytes) -> None:
    mail = dsn(
        "Original-Recipient: rfc822;FAX+3D+2B81312345678@office.lan\nFinal-Recipient: rfc822;fax1@office.lan\n"
        "Action: delivered\nStatus: 2.0.0\nDiagnostic-Code: smtp; 250 2.0.0 Ok,\n printed\n"
    )
    (receipt,) = found(mail.replace(b"\n", line_end))
    assert receipt == Receipt("FAX=+81312345678@office.lan", True, True, "delivered: 250 2.0.0 Ok, printed")
    assert receipt.is_of(MailAddress.parse("fax=+81312345678@OFFICE.lan"))


def test_a_failure_a_delay_and_a_delivery_are_each_its_recipient_s() -> None:
    fields = "\n".join(
        f"Final-Recipient: rfc822; fax{number}@office.lan\nAction: {action}\nStatus: {status}\n"
        for number, action, status in ((1, "failed", "5.6.1"), (2, "delayed", "4.4.1"), (3, "relayed", "2.0.0"))
    )
    failed, delayed, relayed = found(dsn(fields))
    assert (failed.good, failed.final, failed.words) == (False, True, "not delivered (5.6.1)")
    assert (delayed.final, relayed.good, relayed.final) == (False, True, True)


def test_a_report_without_envelope_id_is_known_by_what_it_returns() -> None:
    fields = "Final-Recipient: rfc822;fax1@office.lan\nAction: failed\nStatus: 5.1.1\n"
    assert len(found(dsn(fields, "", IDS[1]))) == 1
    assert found(dsn(fields, "", "<another@office.lan>")) == []
    assert found(dsn(fields, "Original-Envelope-Id: fax-2\n", IDS[1])) == []


@pytest.mark.parametrize(
    ("disposition", "more", "good", "words"),
    [
        ("dispatched", "", True, "the machine has it: printed or passed on"),
        ("displayed", "", True, "somebody has looked at it"),
        ("processed", "", True, "the machine has processed it"),
        ("processed/error", "Error: out of paper\n", False,
         "the machine could not process it (processed/error): out of paper"),
        ("deleted", "", False, "the machine could not process it (deleted)"),
    ],
)  # fmt: skip
def test_a_disposition_is_told_in_words(disposition: str, more: str, good: bool, words: str) -> None:
    assert found(mdn(disposition, more)) == [Receipt("fax1@office.lan", good, True, words)]


@pytest.mark.parametrize(
    "mail",
    [b"", b"Subject: lunch\n\nDid you get my report?", dsn("")[:200], b"Content-Type: multipart/report\n\nx",
     dsn("Action: delivered\n").replace(b"message/delivery-status", b"message/delivery-status; x=\xff")],
)  # fmt: skip
def test_other_mail_and_damaged_reports_tell_nothing_wrong(mail: bytes) -> None:
    assert all(receipt.words for receipt in found(mail))
    assert found(mail) == [] or found(mail)[0].recipient == ""
