"""What the whole program tells the sender of a mail that waits or fails, and when it tells nobody anything."""

from __future__ import annotations

import email
import email.policy
import poplib
from collections.abc import Iterator, Sequence
from email.message import EmailMessage

import pytest
from tests.program import HOST, Program
from tests.sessions.scripted_endpoint import ScriptedEndpoint
from tests.terminals import Terminals

from lanpost.app.queue_access import QueueAccess

PASSWORD = "correct horse battery"
REFUSED = {"RCPT": b"550 5.2.1 out of paper for ever"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Mail is delayed after half a second here, and given up after two."""
    settings = {
        "delivery": {
            "cut_through": False,
            "first_retry": "100ms",
            "last_retry": "300ms",
            "delay_notice": "500ms",
            "give_up": "2s",
        }
    }
    with Program(tmp_path_factory.mktemp("reports"), settings) as running:
        yield running


@pytest.fixture
def anna(program: Program) -> str:
    """A sender with a mailbox here."""
    name = program.new_name("anna")
    program.add_user(name, PASSWORD)
    return f"{name}@office.lan"


def send(program: Program, sender: str, to: str, mail: Sequence[str] = (), rcpt: Sequence[str] = ()) -> None:
    with program.smtp() as client:
        content = f"From: {sender}\r\nSubject: the original\r\n\r\nits body\r\n"
        assert not client.sendmail(sender, [to], content, mail, rcpt)


def fetched(program: Program, address: str) -> list[EmailMessage]:
    """The mails of a mailbox, by POP3, as a mail program would have them."""
    client = poplib.POP3(HOST, program.ports["pop3"], timeout=30)
    try:
        client.user(address)
        client.pass_(PASSWORD)
        count, _ = client.stat()
        contents = [b"\r\n".join(client.retr(number + 1)[1]) + b"\r\n" for number in range(count)]
    finally:
        client.quit()
    return [email.message_from_bytes(content, policy=email.policy.default) for content in contents]


def wait_for(program: Program, address: str, count: int) -> list[EmailMessage]:
    program.wait_until(lambda: len(fetched(program, address)) >= count, f"{count} reports for {address}", 10)
    return fetched(program, address)


def fields_of(report: EmailMessage) -> EmailMessage:
    """The part for machines: fields of the first recipient (RFC 3464 §2.3)."""
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert report["Return-Path"] == "<>"
    _, status, _ = report.iter_parts()
    assert status.get_content_type() == "message/delivery-status"
    _, recipient = status.iter_parts()
    assert isinstance(recipient, EmailMessage)
    return recipient


def nothing_waits_for(program: Program, name: str) -> bool:
    return f"{name}@" not in str(list(QueueAccess(program.folder / "data").mails()))


def test_a_refusal_reaches_the_senders_mailbox(program: Program, terminals: Terminals, anna: str) -> None:
    name, at = program.new_name(), program.new_endpoint()
    terminals.listen(at, ScriptedEndpoint(answers=REFUSED))
    program.bind(name, at)
    send(program, anna, f"{name}@office.lan", mail=["RET=HDRS", "ENVID=number-7"])
    (report,) = wait_for(program, anna, 1)
    fields = fields_of(report)
    assert fields["Action"] == "failed"
    assert fields["Status"] == "5.2.1"
    assert fields["Final-Recipient"].endswith(f"{name}@office.lan")
    assert "out of paper for ever" in fields["Diagnostic-Code"]
    assert at[0] in report.as_string()
    assert "number-7" in report.as_string()
    text, _, original = report.iter_parts()
    assert f"{name}@office.lan" in text.get_content()
    assert "the original" in original.as_string()
    assert "its body" not in original.as_string()  # RET=HDRS


def test_delay_is_told_once_then_failure(program: Program, anna: str) -> None:
    name, at = program.new_name(), program.new_endpoint()
    program.bind(name, at)  # nobody listens there
    send(program, anna, f"{name}@office.lan")
    delayed, failed = wait_for(program, anna, 2)
    assert fields_of(delayed)["Action"] == "delayed"
    assert fields_of(delayed)["Will-Retry-Until"]
    assert fields_of(failed)["Action"] == "failed"
    assert fields_of(failed)["Status"].startswith("4.4.")  # of the last try, as RFC 3464 has it for what ran out
    assert nothing_waits_for(program, name)
    assert len(fetched(program, anna)) == 2


def test_held_mail_is_given_up_too(program: Program, anna: str) -> None:
    name = program.new_name()
    program.lanpost("terminal", "add", name)
    send(program, anna, f"{name}@office.lan")
    delayed, failed = wait_for(program, anna, 2)
    assert [fields_of(report)["Action"] for report in (delayed, failed)] == ["delayed", "failed"]
    assert "register" in failed.as_string()


@pytest.mark.parametrize("notify", ["NEVER", "DELAY"])
def test_who_wants_no_failure_told_is_told_none(
    program: Program, terminals: Terminals, anna: str, notify: str
) -> None:
    name, at = program.new_name(), program.new_endpoint()
    terminals.listen(at, ScriptedEndpoint(answers=REFUSED))
    program.bind(name, at)
    send(program, anna, f"{name}@office.lan", rcpt=[f"NOTIFY={notify}"])
    program.wait_until(lambda: nothing_waits_for(program, name), "its end")
    # A report on another mail, written later, is the first that comes.
    other = program.new_name()
    program.bind(other, at)
    send(program, anna, f"{other}@office.lan")
    assert other in fields_of(wait_for(program, anna, 1)[0])["Final-Recipient"]
    assert len(fetched(program, anna)) == 1


def test_success_is_told_where_it_is_asked_for(program: Program, anna: str) -> None:
    name = program.new_name("bert")
    program.add_user(name, PASSWORD)
    send(program, anna, f"{name}@office.lan", rcpt=["NOTIFY=SUCCESS"])
    fields = fields_of(wait_for(program, anna, 1)[0])
    assert (fields["Action"], fields["Status"]) == ("delivered", "2.0.0")


def test_a_null_return_path_is_never_answered(program: Program, terminals: Terminals) -> None:
    """Nor is a report that fails itself: the log of the server shows the end of both, and no further mail."""
    name, at = program.new_name(), program.new_endpoint()
    endpoint = terminals.listen(at, ScriptedEndpoint(answers=REFUSED))
    program.bind(name, at)

    def without_return_path() -> int:
        return sum(command.startswith(b"MAIL FROM:<>") for command in endpoint.commands)

    send(program, "", f"{name}@office.lan")
    program.wait_until(lambda: nothing_waits_for(program, name), "its end")
    assert without_return_path() == 1
    # A mail from the terminal to itself: the report on it is refused there, and that is all.
    send(program, f"{name}@office.lan", f"{name}@office.lan")
    program.wait_until(lambda: without_return_path() > 1, "the report")
    program.wait_until(lambda: nothing_waits_for(program, name), "its end")
    assert without_return_path() == 2
