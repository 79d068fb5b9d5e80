from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.reply import Reply
from lanpost.wire.smtp_commands import parse_bdat, parse_mail, parse_rcpt


def mail(argument: str) -> Envelope | Reply:
    return parse_mail(argument.encode(), "office.lan")


def rcpt(argument: str, *, smtputf8: bool = False) -> Recipient | Reply:
    return parse_rcpt(argument.encode(), "office.lan", smtputf8=smtputf8)


@pytest.mark.parametrize(
    ("argument", "sender"),
    [
        ("FROM:<a@b.c>", "a@b.c"),
        ("from:<a@b.c>", "a@b.c"),
        ("FROM: <a@b.c>", "a@b.c"),
        ("FROM : <a@b.c>", "a@b.c"),
        ("FROM:a@b.c", "a@b.c"),
        ("FROM: a@b.c ", "a@b.c"),
        ("FROM:<a@b.c> ", "a@b.c"),
        ("FROM:<@x.y,@z.y:a@b.c>", "a@b.c"),
        ('FROM:<"a > b"@b.c>', '"a > b"@b.c'),
        ("FROM:<fax1>", "fax1@office.lan"),
        ("FROM:<a@[10.0.0.7]>", "a@[10.0.0.7]"),
    ],
)
def test_forms_of_the_sender(argument: str, sender: str) -> None:
    envelope = mail(argument)
    assert isinstance(envelope, Envelope)
    assert str(envelope.sender) == sender


@pytest.mark.parametrize("argument", ["FROM:<>", "FROM: <>", "FROM:<> SIZE=0"])
def test_the_null_return_path(argument: str) -> None:
    envelope = mail(argument)
    assert isinstance(envelope, Envelope)
    assert envelope.sender is None


def test_all_parameters_of_mail() -> None:
    argument = "FROM:<a@b.c> SIZE=4096 BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=x+2Dy AUTH=<>"
    envelope = mail(argument.replace("AUTH=<>", "AUTH=a+40b"))
    assert isinstance(envelope, Envelope)
    assert (envelope.size, envelope.body_8bit, envelope.smtputf8) == (4096, True, True)
    assert (envelope.ret, envelope.envid) == ("HDRS", "x+2Dy")
    assert isinstance(mail(argument), Envelope)


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", "501 5.5.4"),
        ("TO:<a@b.c>", "501 5.5.4"),
        ("FROM:<a@b.c", "501 5.5.4"),
        ("FROM:<a@b.c>SIZE=1", "501 5.5.4"),
        ("FROM:a@b.c>", "501 5.5.4"),
        ("FROM:<a b@b.c>", "501 5.5.4"),
        ("FROM:<a@b..c>", "553 5.1.7"),
        ("FROM:<a@b.c> SIZE=x", "501 5.5.4"),
        ("FROM:<a@b.c> SIZE=" + "9" * 21, "501 5.5.4"),
        ("FROM:<a@b.c> SIZE=1 SIZE=2", "501 5.5.4"),
        ("FROM:<a@b.c> SIZE=1 size=2", "501 5.5.4"),
        ("FROM:<a@b.c> BODY=BINARYMIME", "555 5.5.4"),
        ("FROM:<a@b.c> SMTPUTF8=1", "501 5.5.4"),
        ("FROM:<a@b.c> RET=ALL", "501 5.5.4"),
        ("FROM:<a@b.c> ENVID=" + "x" * 101, "501 5.5.4"),
        ("FROM:<a@b.c> ENVID=+2d", "501 5.5.4"),
        ("FROM:<a@b.c> FOO=1", "555 5.5.4"),
        ("FROM:<a@b.c> =1", "501 5.5.4"),
        ("FROM:<ä@b.c>", "553 5.6.7"),
    ],
)
def test_what_mail_refuses(argument: str, reply: str) -> None:
    refusal = mail(argument)
    assert isinstance(refusal, Reply)
    assert str(refusal)[:9] == reply


def test_an_address_in_utf8_needs_the_parameter() -> None:
    envelope = mail("FROM:<ä@b.c> SMTPUTF8")
    assert isinstance(envelope, Envelope)
    assert str(envelope.sender) == "ä@b.c"
    assert isinstance(rcpt("TO:<ä@b.c>", smtputf8=True), Recipient)
    assert str(rcpt("TO:<ä@b.c>"))[:9] == "553 5.6.7"


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("TO:<fax1>", "fax1@office.lan"),
        ("TO:<Postmaster>", "Postmaster@office.lan"),
        ("TO:fax1", "fax1@office.lan"),
        ("TO: <@relay.lan:fax1@office.lan>", "fax1@office.lan"),
    ],
)
def test_forms_of_the_recipient(argument: str, address: str) -> None:
    recipient = rcpt(argument)
    assert isinstance(recipient, Recipient)
    assert str(recipient.address) == address


def test_all_parameters_of_rcpt() -> None:
    recipient = rcpt("TO:<fax1> NOTIFY=success,FAILURE ORCPT=rfc822;fax1+2Bx@office.lan")
    assert isinstance(recipient, Recipient)
    assert recipient.notify == {"SUCCESS", "FAILURE"}
    assert recipient.orcpt == "rfc822;fax1+2Bx@office.lan"


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("TO:<>", "553 5.1.3"),
        ("FROM:<a@b.c>", "501 5.5.4"),
        ("TO:<a@b.c> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        ("TO:<a@b.c> NOTIFY=SOMETIMES", "501 5.5.4"),
        ("TO:<a@b.c> NOTIFY", "501 5.5.4"),
        ("TO:<a@b.c> ORCPT=nothing", "501 5.5.4"),
        ("TO:<a@b.c> ORCPT=rfc822;" + "x" * 500, "501 5.5.4"),
        ("TO:<a@b.c> SIZE=1", "555 5.5.4"),
        ("TO:<a@b.c> " + " ".join(f"A{number}=1" for number in range(100)), "501 5.5.4"),
    ],
)
def test_what_rcpt_refuses(argument: str, reply: str) -> None:
    refusal = rcpt(argument)
    assert isinstance(refusal, Reply)
    assert str(refusal)[:9] == reply


def test_a_bare_name_without_a_default_domain_is_refused() -> None:
    assert str(parse_rcpt(b"TO:<fax1>", "", smtputf8=False))[:9] == "553 5.1.3"


@pytest.mark.parametrize(
    ("argument", "chunk"), [(b"0", (0, False)), (b"10 LAST", (10, True)), (b"10 last ", (10, True))]
)
def test_bdat(argument: bytes, chunk: tuple[int, bool]) -> None:
    assert parse_bdat(argument) == chunk


@pytest.mark.parametrize("argument", [b"", b"LAST", b"-1", b"1 FIRST", b"1LAST", b"1" * 21])
def test_what_bdat_refuses(argument: bytes) -> None:
    assert str(parse_bdat(argument))[:9] == "501 5.5.4"


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_argument_raises(argument: bytes) -> None:
    for parsed in (
        parse_mail(argument, "office.lan"),
        parse_mail(b"FROM:<" + argument, ""),
        parse_mail(b"FROM:<a@b.c> " + argument, ""),
        parse_rcpt(argument, "office.lan", smtputf8=True),
        parse_rcpt(b"TO:<" + argument + b">", "office.lan", smtputf8=True),
        parse_rcpt(b"TO:<a@b.c> " + argument, "office.lan", smtputf8=True),
        parse_bdat(argument),
    ):
        if isinstance(parsed, Reply):
            assert parsed.encode().count(b"\n") == 1  # nothing of the client's breaks out of its line
