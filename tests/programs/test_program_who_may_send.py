"""Who may send what to whom, in which form of address, by the whole program; and POP3 afterwards."""

from __future__ import annotations

import json
import poplib
import smtplib
import ssl
from collections.abc import Iterator

import pytest
from tests.program import HOST, Program
from tests.sessions.scripted_endpoint import CHUNKING, ScriptedEndpoint
from tests.terminals import Terminals, subjects

PASSWORD = "correct horse battery"
CONTENT = "From: anna@office.lan\r\nSubject: {}\r\n\r\n.a dot\r\nx\r\n"


@pytest.fixture(scope="module")
def smarthost() -> Iterator[ScriptedEndpoint]:
    with Terminals() as outside:
        yield outside.listen((HOST, 0))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, smarthost: ScriptedEndpoint) -> Iterator[Program]:
    """It relays for 127.0.0.1 alone, so that a client at another loopback address is a stranger."""
    settings = {"relay": {"smarthost": str(smarthost.at), "networks": ["127.0.0.1/32"]}}
    with Program(tmp_path_factory.mktemp("senders"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def bert(program: Program) -> str:
    program.add_user("bert", PASSWORD)
    return "bert@office.lan"


def connect(program: Program, service: str = "smtp", source: str = "127.0.0.1") -> smtplib.SMTP:
    return smtplib.SMTP(HOST, program.ports[service], timeout=30, source_address=(source, 0))


def answer_to(client: smtplib.SMTP, recipient: str) -> str:
    """Code and enhanced status of RCPT."""
    client.ehlo()
    client.mail("anna@office.lan")
    code, text = client.rcpt(recipient)
    client.rset()
    return f"{code} {text.split()[0].decode()}"


def trusting(program: Program) -> ssl.SSLContext:
    """The server is known by its CA; its name in the certificate is another test's affair."""
    context = ssl.create_default_context(cadata=program.lanpost("ca", "export"))
    context.check_hostname = False
    return context


def test_who_guessed_passwords_by_smtp_has_guessed_by_pop3_too(program: Program, bert: str) -> None:
    with connect(program) as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login(bert, "wrong")
    reader = poplib.POP3(HOST, program.ports["pop3"], timeout=30)
    reader.user(bert)
    with pytest.raises(poplib.error_proto):
        reader.pass_("wrong")
    reader.close()
    events = map(json.loads, program.log().splitlines())
    (refused,) = (event for event in events if event["event"] == "pop3 login refused")
    assert refused["delay"] > 1.0, "the delay of a first guess"


def mails_of(program: Program, address: str) -> list[bytes]:
    client = poplib.POP3(HOST, program.ports["pop3"], timeout=30)
    client.user(address)
    client.pass_(PASSWORD)
    count, _ = client.stat()
    contents = [b"\r\n".join(client.retr(number + 1)[1]) for number in range(count)]
    for number in range(count):
        client.dele(number + 1)
    client.quit()
    return contents


def test_unknown_addresses_and_foreign_domains_are_refused_at_rcpt(program: Program, bert: str) -> None:
    with connect(program, source="127.0.0.2") as stranger:
        assert answer_to(stranger, "nobody@office.lan") == "550 5.1.1"
        assert answer_to(stranger, "nobody") == "550 5.1.1"
        assert answer_to(stranger, "someone@elsewhere.example") == "550 5.7.1"
        assert answer_to(stranger, "someone%elsewhere.example@office.lan") == "550 5.1.1"
        assert answer_to(stranger, "someone@[192.0.2.1]").startswith("550 5.")
        assert answer_to(stranger, bert) == "250 2.1.5"


def test_mail_for_outside_goes_by_the_smarthost(program: Program, smarthost: ScriptedEndpoint) -> None:
    with connect(program) as client:
        client.sendmail("anna@office.lan", ["someone@elsewhere.example"], CONTENT.format("out"))
    assert subjects(smarthost.mails)[-1:] == ["out"]
    assert smarthost.mails[-1].recipients[0].startswith(b"<someone@elsewhere.example>")


def test_submission_takes_nothing_from_a_stranger(program: Program, bert: str) -> None:
    with connect(program, "submission") as client:
        client.ehlo()
        code, text = client.mail("anna@office.lan")
        assert (code, text[:5]) == (530, b"5.7.0")


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
@pytest.mark.parametrize("tls", [False, True])
def test_submission_relays_for_who_proves_himself(
    program: Program, smarthost: ScriptedEndpoint, bert: str, tls: bool, mechanism: str
) -> None:
    # Without TLS from 127.0.0.0/8 alone, which is what the settings say where they say nothing.
    with connect(program, "submission", "127.0.0.2") as client:
        if tls:
            client.starttls(context=trusting(program))
        client.ehlo()
        assert set(client.esmtp_features["auth"].split()) >= {"PLAIN", "LOGIN"}
        client.user, client.password = bert, "wrong"
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.auth(mechanism[5:].upper(), getattr(client, mechanism))
        assert refused.value.smtp_code == 535
        client.password = PASSWORD
        assert client.auth(mechanism[5:].upper(), getattr(client, mechanism))[0] == 235
        client.sendmail(bert, ["someone@elsewhere.example"], CONTENT.format(f"{mechanism} {tls}"))
    assert subjects(smarthost.mails)[-1:] == [f"{mechanism} {tls}"]
    assert b"with ESMTPSA" in smarthost.mails[-1].content if tls else b"with ESMTPA" in smarthost.mails[-1].content


def test_a_terminal_proves_itself_by_its_secret_on_port_25_too(
    program: Program, smarthost: ScriptedEndpoint
) -> None:
    name = program.new_name()
    secret = program.lanpost_json("terminal", "add", name)["secret"]
    with connect(program, source="127.0.0.2") as client:
        assert answer_to(client, "someone@elsewhere.example") == "550 5.7.1"
        client.login(name, secret)
        client.sendmail(f"{name}@office.lan", ["someone@elsewhere.example"], CONTENT.format(name))
    assert subjects(smarthost.mails)[-1:] == [name]


def test_every_form_of_an_address_finds_its_terminal(program: Program, terminals: Terminals) -> None:
    name, at = program.new_name(), program.new_endpoint()
    fax = terminals.listen(at)
    program.bind(name, at)
    forms = [name, name.upper(), f"{name}@office.lan", f"{name.title()}@OFFICE.LAN", f"{name}@[{at[0]}]"]
    for number, form in enumerate(forms):
        with connect(program) as client:
            client.sendmail("anna@office.lan", [form], CONTENT.format(number))
    assert subjects(fax.mails) == [str(number) for number in range(len(forms))]
    assert all(b"\r\n\r\n..a dot\r\nx\r\n" in mail.content for mail in fax.mails)
    with connect(program) as client:
        assert answer_to(client, f"{name}@[127.20.255.255]").startswith("550 5.")


def test_addresses_beyond_ascii(program: Program, terminals: Terminals) -> None:
    number, at = program.new_name("ü"), program.new_endpoint()
    fax = terminals.listen(at, ScriptedEndpoint(offers=CHUNKING))
    program.bind(f"größe-{number}", at)
    content = CONTENT.format("Größe").encode()
    with connect(program) as client:
        client.ehlo()
        # Composed or decomposed, upper or lower case: one address.
        for form in (
            f"größe-{number}@office.lan",
            f"gro\u0308ße-{number}@office.lan",
            f"GRÖßE-{number}@office.lan",
        ):
            assert client.sendmail("änne@office.lan", [form], content, ["SMTPUTF8"]) == {}
        client.mail("anna@office.lan")
        assert client.docmd("RCPT TO:<größe@office.lan>")[0] == 553
    assert len(fax.mails) == 3


def test_mailbox_mail_is_fetched_by_pop3_and_gone(program: Program, bert: str) -> None:
    mails_of(program, bert)
    with connect(program) as client:
        client.sendmail("anna@office.lan", ["bert", "BERT@office.lan"], CONTENT.format("one copy"))
        client.sendmail("anna@office.lan", [bert], CONTENT.format("another"))
    first, second = mails_of(program, "bert")
    assert first.startswith(b"Return-Path: <anna@office.lan>\r\nReceived: ")
    assert first.endswith(b"Subject: one copy\r\n\r\n.a dot\r\nx")
    assert b"Subject: another" in second
    assert mails_of(program, bert) == []
    reader = poplib.POP3(HOST, program.ports["pop3"], timeout=30)
    reader.stls(trusting(program))
    reader.user(bert)
    with pytest.raises(poplib.error_proto, match="-ERR"):
        reader.pass_("wrong")
    reader.close()
