"""Delivery reports: read back by Python's own parser, and by a strict reading of RFC 3464's fields."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.content.dots import stuffed, unstuffed
from lanpost.content.reports import MAX_RETURNED, Action, Notice, Report, Reporter, report
from lanpost.errors import LocalProtocolError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.reply import Reply

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ARRIVED = NOW.timestamp() - 90
REPORTER = Reporter("mail.office.lan", "office.lan")
AT = Endpoint.parse("10.0.0.7:25")
WHO = Recipient(MailAddress.parse("fax1@office.lan"))
ORIGINAL = b"From: a@office.lan\r\nSubject: hello\r\nMessage-ID: <1@x>\r\n\r\nText\r\n..a dot\r\n"


def envelope(**more: object) -> Envelope:
    return replace(Envelope(MailAddress.parse("a@office.lan"), (WHO,)), **more)  # type: ignore[arg-type]


def notice(action: Action = Action.FAILED, who: Recipient = WHO, **more: object) -> Notice:
    said = Reply(250, "2.0.0", "ok") if action is Action.DELIVERED else Reply(550, "5.1.1", "no such user")
    return replace(Notice(action, who, said, AT), **more)  # type: ignore[arg-type]


def make(
    *notices: Notice, of: Envelope | None = None, original: bytes = ORIGINAL, report_id: str = "r1"
) -> tuple[Report, EmailMessage]:
    given = notices or (notice(),)
    made = report(
        REPORTER, report_id, given[0].action, given, of or envelope(), ARRIVED, len(original), [original], NOW
    )
    stuffed_text = b"".join(made.content)
    assert b"\r\n.\r\n" not in stuffed_text
    text = b"".join(unstuffed(made.content))
    assert b"".join(stuffed([text])) == stuffed_text
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", text.replace(original, b"")), "bare CR or LF"
    policy = email.policy.SMTPUTF8 if made.envelope.smtputf8 else email.policy.SMTP
    return made, email.message_from_bytes(text, policy=policy)


def fields(made: Report) -> list[list[tuple[str, str]]]:
    """The groups of fields of the status part, read strictly."""
    text = b"".join(unstuffed(made.content)).decode()
    boundary = re.search(r'boundary="([^"]+)"', text)
    assert boundary
    body = text.split(f"\r\n--{boundary[1]}\r\n")[2].partition("\r\n\r\n")[2]
    groups = body.removesuffix("\r\n").split("\r\n\r\n")
    return [[_field(line) for line in group.split("\r\n")] for group in groups]


def _field(line: str) -> tuple[str, str]:
    found = re.fullmatch(r"([A-Za-z-]+): (\S.*)", line)
    assert found, line
    assert len(line.encode()) <= 998
    return found[1], found[2]


def test_a_failure_names_the_address_the_endpoint_its_words_and_what_to_do() -> None:
    made, message = make()
    assert made.envelope.sender is None
    assert [each.address for each in made.envelope.recipients] == [MailAddress.parse("a@office.lan")]
    assert message["From"] == "Mail Delivery System <postmaster@office.lan>"
    assert message["To"] == "a@office.lan"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == "<r1@mail.office.lan>"
    assert message["References"] == "<1@x>"
    assert parsedate_to_datetime(message["Date"]) == NOW
    assert message["Subject"] == "Mail not delivered: fax1@office.lan"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects
    text, status, original = message.iter_parts()
    words = text.get_content()
    for part in ("fax1@office.lan", "10.0.0.7:25 said: 550 5.1.1 no such user", "Check the address"):
        assert part in words
    assert status.get_content_type() == "message/delivery-status"
    assert original.get_content_type() == "message/rfc822"
    assert original.get_content()["Subject"] == "hello"
    assert original.get_content().get_content() == "Text\r\n.a dot\r\n"


def test_the_fields_of_a_failure() -> None:
    who = Recipient(WHO.address, frozenset(), "rfc822;Fax+2B1@office.lan")
    made, _ = make(notice(who=who), of=envelope(envid="QQ+3D7"))
    of_mail, of_recipient = fields(made)
    assert of_mail == [
        ("Original-Envelope-Id", "QQ=7"),
        ("Reporting-MTA", "dns; mail.office.lan"),
        ("Arrival-Date", "Wed, 04 Mar 2026 05:04:37 +0000"),
    ]
    assert of_recipient == [
        ("Original-Recipient", "rfc822; Fax+1@office.lan"),
        ("Final-Recipient", "rfc822; fax1@office.lan"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; [10.0.0.7]"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 no such user"),
        ("Last-Attempt-Date", "Wed, 04 Mar 2026 05:06:07 +0000"),
    ]


def test_a_delay_says_until_when_and_returns_headers_only() -> None:
    until = NOW.timestamp() + 3600
    who = notice(Action.DELAYED, reply=Reply(451, "4.4.1", "connection refused"), retry_until=until)
    made, message = make(who, of=envelope(ret="FULL"))
    text, _, original = message.iter_parts()
    assert "need not send it again" in text.get_content()
    assert dict(fields(made)[1])["Will-Retry-Until"] == "Wed, 04 Mar 2026 06:06:07 +0000"
    assert dict(fields(made)[1])["Action"] == "delayed"
    assert original.get_content_type() == "text/rfc822-headers"
    assert original.get_content().replace("\r\n", "\n").startswith("From: a@office.lan\nSubject: hello\n")
    assert "Text" not in original.get_content()


def test_a_success_is_told_as_such() -> None:
    made, _ = make(notice(Action.DELIVERED, endpoint=None, reply=Reply(250, "", "ok")))
    found = dict(fields(made)[1])
    assert (found["Action"], found["Status"]) == ("delivered", "2.0.0")
    assert found["Diagnostic-Code"].startswith("x-lanpost; ")
    assert "Remote-MTA" not in found


def test_a_mail_handed_on_to_who_reports_nothing_is_told_as_such() -> None:
    made, _ = make(notice(Action.RELAYED, reply=Reply(250, "2.6.0", "printed")))
    text = b"".join(made.content)
    assert b"\r\nSubject: Mail handed on: fax1@office.lan\r\n" in text
    assert b"10.0.0.7:25 has taken it, and said: 250 2.6.0 printed" in text
    about = fields(made)[1]
    assert ("Action", "relayed") in about
    assert ("Status", "2.6.0") in about
    assert ("Remote-MTA", "dns; [10.0.0.7]") in about


def test_waiting_too_long_has_its_own_status() -> None:
    made, _ = make(notice(reply=Reply(450, "4.4.1", "not registered"), endpoint=None, expired=True))
    assert dict(fields(made)[1])["Status"] == "4.4.7"


def test_several_recipients_share_a_report() -> None:
    other = Recipient(MailAddress.parse("fax2@office.lan"))
    made, message = make(notice(), notice(who=other))
    assert message["Subject"] == "Mail not delivered: fax1@office.lan and 1 more"
    assert [dict(group)["Final-Recipient"] for group in fields(made)[1:]] == [
        "rfc822; fax1@office.lan",
        "rfc822; fax2@office.lan",
    ]


@pytest.mark.parametrize(
    ("ret", "size", "kind"),
    [
        ("HDRS", 100, "text/rfc822-headers"),
        ("", 100, "message/rfc822"),
        ("", 60_000, "text/rfc822-headers"),
        ("FULL", 60_000, "message/rfc822"),
        ("FULL", MAX_RETURNED + 1, "text/rfc822-headers"),
    ],
)
def test_what_is_returned_is_asked_for_and_bounded(ret: str, size: int, kind: str) -> None:
    original = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * (size // 18)
    original += b"x" * (size - len(original))
    made, message = make(of=envelope(ret=ret), original=original)
    assert list(message.iter_parts())[2].get_content_type() == kind
    assert sum(map(len, made.content)) < MAX_RETURNED + 10_000


def test_a_mail_that_is_all_header_is_returned_in_part() -> None:
    original = b"X: y\r\n" * 1_000_000
    made, _ = make(of=envelope(ret="HDRS"), original=original)
    assert sum(map(len, made.content)) < 100_000


def test_eight_bit_content_is_declared() -> None:
    made, message = make(original="Subject: x\r\n\r\nGrüße\r\n".encode())
    assert made.envelope.body_8bit
    assert not made.envelope.smtputf8
    assert message["Content-Transfer-Encoding"] == "8bit"
    plain_report, _ = make()
    assert not plain_report.envelope.body_8bit


def test_addresses_beyond_ascii_make_it_a_global_report() -> None:
    who = Recipient(MailAddress.parse("büro@office.lan"))
    made, message = make(notice(who=who), of=envelope(smtputf8=True))
    assert made.envelope.smtputf8
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global"]
    text = b"".join(made.content).decode()
    assert "\r\nFinal-Recipient: utf-8; büro@office.lan\r\n" in text


def test_the_endpoints_words_cannot_break_out() -> None:
    said = Reply(550, "", "no\r\n\r\nFinal-Recipient: rfc822; evil@x\r\n--=_\x00" + "y" * 5000 + "ü")
    made, _ = make(notice(reply=said))
    groups = fields(made)
    assert len(groups) == 2
    assert [name for name, _ in groups[1]].count("Final-Recipient") == 1
    assert dict(groups[1])["Status"] == "5.0.0"


def test_no_content_can_close_its_part() -> None:
    first = b"".join(make()[0].content)
    boundary = re.search(rb'boundary="([^"]+)"', first)
    assert boundary
    evil = b"Subject: x\r\n\r\n--" + boundary[1] + b"--\r\n"
    _, message = make(original=evil)
    assert len(list(message.iter_parts())) == 3


def test_a_null_sender_gets_nothing() -> None:
    with pytest.raises(LocalProtocolError):
        make(of=envelope(sender=None))


@given(st.binary(max_size=300), st.text(max_size=50), st.sampled_from(list(Action)), st.sampled_from(["", "HDRS"]))
def test_whatever_was_sent_and_said_the_report_has_three_parts(
    original: bytes, said: str, action: Action, ret: str
) -> None:
    made = report(
        REPORTER,
        "r1",
        action,
        [notice(action, reply=Reply(550, "5.0.0", said))],
        envelope(ret=ret),
        ARRIVED,
        len(original),
        [original],
        NOW,
    )
    message = email.message_from_bytes(b"".join(unstuffed(made.content)), policy=email.policy.compat32)
    assert len(message.get_payload()) == 3
