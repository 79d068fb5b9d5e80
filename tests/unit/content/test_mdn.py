"""Disposition notifications: who is sent one, and what it says."""

from __future__ import annotations

import email
from datetime import UTC, datetime
from email.message import Message
from typing import cast

import pytest

from lanpost.content.mdn import Disposition, Notification, Notified, notification, wanted_by
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient

ANNA = MailAddress.parse("anna@office.lan")
FAX = MailAddress.parse("fax1@office.lan")
ASKED = ("Disposition-Notification-To", "Anna <Anna@office.lan>")
NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def made(disposition: Disposition, message_id: str = "<1@office.lan>", orcpt: str = "") -> Notification:
    about = Notified(Recipient(FAX, orcpt=orcpt), Envelope(ANNA), message_id, "Order 17")
    return notification(about, ANNA, disposition, "id-1", "fax1.test", NOW)


def parts(notice: Notification) -> tuple[Message, Message, Message]:
    """The mail, its text, and its disposition notification, which Python reads as a message of its own."""
    mail = email.message_from_bytes(b"".join(notice.content))
    text, status = cast("list[Message]", mail.get_payload())
    return mail, text, status


def fields_of(status: Message) -> Message:
    assert status.get_content_type() == "message/disposition-notification"
    return cast("list[Message]", status.get_payload())[0]


def test_whoever_asks_for_himself_is_notified() -> None:
    assert wanted_by([ASKED], ANNA) == ANNA


@pytest.mark.parametrize(
    ("headers", "sender"),
    [
        ([], ANNA),
        ([ASKED], None),  # the null sender
        ([ASKED], MailAddress.parse("bert@office.lan")),  # asked for somebody else
        ([("disposition-notification-to", "anna@office.lan, bert@office.lan")], ANNA),
        ([ASKED, ASKED], ANNA),
        ([("disposition-notification-to", "")], ANNA),
        ([("disposition-notification-to", "not an address")], ANNA),
        ([ASKED, ("Content-Type", "multipart/report; report-type=disposition-notification")], ANNA),
        ([ASKED, ("Content-Type", "message/disposition-notification")], ANNA),
        ([ASKED, ("Auto-Submitted", "auto-replied")], ANNA),
        ([ASKED, ("List-Id", "<everybody.office.lan>")], ANNA),
        ([ASKED, ("Disposition-Notification-Options", "x=required,1")], ANNA),
    ],
)
def test_nobody_else_is(headers: list[tuple[str, str]], sender: MailAddress | None) -> None:
    assert wanted_by(headers, sender) is None


def test_a_printed_fax_is_told_as_dispatched_by_a_machine() -> None:
    notice = made(Disposition(), orcpt="rfc822;fax+2B1@office.lan")
    mail, text, status = parts(notice)
    assert notice.envelope.sender is None
    assert [recipient.address for recipient in notice.envelope.recipients] == [ANNA]
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "disposition-notification"
    assert mail["In-Reply-To"] == "<1@office.lan>"
    assert "Order 17" in text.get_payload()
    fields = fields_of(status)
    assert fields["Disposition"] == "automatic-action/MDN-sent-automatically; dispatched"
    assert fields["Final-Recipient"] == "rfc822; fax1@office.lan"
    assert fields["Original-Recipient"] == "rfc822; fax+1@office.lan"
    assert fields["Original-Message-ID"] == "<1@office.lan>"
    assert fields["Error"] is None


def test_a_fax_that_could_not_be_put_out_is_told_with_the_reason() -> None:
    _, text, status = parts(made(Disposition("it could not be printed: out of\r\npaper")))
    fields = fields_of(status)
    assert fields["Disposition"] == "automatic-action/MDN-sent-automatically; processed/error"
    assert fields["Error"] == "it could not be printed: out of  paper"
    assert "out of" in text.get_payload()


def test_a_message_id_that_is_none_is_not_repeated() -> None:
    content = b"".join(made(Disposition(), message_id="<x@y>\r\nBcc: z@office.lan").content)
    assert b"Bcc" not in content
    assert b"Original-Message-ID" not in content
