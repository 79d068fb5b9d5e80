"""The warning to the owner of a nearly full mailbox."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime

from lanpost.content.mailbox_notice import nearly_full
from lanpost.model.address import MailAddress


def test_the_warning_is_a_mail_that_says_how_full_and_what_to_do() -> None:
    moment = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    owner = MailAddress.parse("jörg@office.lan")
    made = nearly_full(owner, "office.lan", 910_000_000, 1_000_000_000, "abc", moment)
    assert made.count(b"\n") == made.count(b"\r\n")
    mail = email.message_from_bytes(made, policy=email.policy.SMTPUTF8)
    assert mail["Subject"] == "Your mailbox is 91 % full"
    assert mail["To"] == "jörg@office.lan"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == "<abc@office.lan>"
    assert mail["Date"].datetime == moment
    assert "910.0 MB of the 1000.0 MB" in mail.get_content()
