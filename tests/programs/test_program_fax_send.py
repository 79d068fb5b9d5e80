"""`lanpost fax send` as its users run it: to a fax machine, by name and by number, with receipts and reports."""

from __future__ import annotations

import json
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from tests.fax_documents import PHOTO_PAGE, lines_of_text, pdf, photograph
from tests.fax_machine import FaxMachine
from tests.program import DOMAIN, HOST, Program, as_toml
from tests.sessions.scripted_endpoint import ScriptedEndpoint
from tests.terminals import Terminals, subjects

from lanpost.content.fax.profile_s_faults import faults
from lanpost.content.fax.reading import read_pages
from lanpost.content.report_text import xtext

PASSWORD = "correct horse battery"


class Sender:
    """Somebody with a mailbox at the server, and a configuration that says so."""

    def __init__(self, program: Program, folder: Path, **fax: Any) -> None:
        self.program = program
        self.name = program.new_name("sender")
        self.folder = folder
        self.config = folder / "sender.toml"
        program.add_user(self.name, PASSWORD)
        (folder / "password").write_text(PASSWORD)
        mailbox = {"pop3": f"{HOST}:{program.ports['pop3']}", "password_file": "password"}
        via = f"{HOST}:{program.ports['smtp']}"
        fax = {"via": via, "sender": self.name, **mailbox, **fax}
        self.config.write_text(as_toml({"domain": DOMAIN, "data": "sender", "fax": fax}))

    def fax(self, *words: str, status: int = 0) -> str:
        return self.program.lanpost("fax", "send", *words, status=status, config=self.config)

    def report(self, *words: str, status: int = 0) -> Any:
        return json.loads(
            self.program.lanpost("fax", "send", *words, "--json", status=status, config=self.config, printed=True)
        )

    def file(self, data: bytes, name: str = "letter.pdf") -> str:
        file = self.folder / name
        file.write_bytes(data)
        return str(file)


@pytest.fixture
def sender(program: Program, tmp_path: Path) -> Sender:
    (tmp_path / "sender").mkdir()
    return Sender(program, tmp_path / "sender")


def bound(program: Program, terminals: Terminals, endpoint: ScriptedEndpoint | None = None) -> tuple[str, Any]:
    """A machine of the test's own, in the chart: its name and what it hears."""
    name, at = program.new_name(), program.new_endpoint()
    heard = terminals.listen(at, endpoint)
    program.bind(name, at)
    return name, heard


def test_a_fax_reaches_the_machine_in_profile_s_and_its_receipts_are_shown(
    program: Program, sender: Sender, tmp_path: Path
) -> None:
    via = f"{HOST}:{program.ports['smtp']}"
    machine = FaxMachine(program, tmp_path, {"mdn": "when-asked", "via": via})
    document = sender.file(pdf(lines_of_text(), PHOTO_PAGE, image=photograph()))
    with machine.running():
        said = sender.fax(document, "--to", machine.terminal.name, "--cover", "Grüße", "--header", "--receipt")
        (folder,) = machine.faxes()
    tiff = (folder / "fax.tif").read_bytes()
    assert faults(tiff) == ()
    assert [page.y_dpi for page in read_pages(tiff)] == [98, 98, 98]
    assert said.startswith("TRANSMISSION REPORT: OK\n")
    assert "Pages:     3 (standard, profile S" in said
    assert "Receipt:   delivered: 250" in said


def test_a_machine_that_cannot_read_it_is_told_of_in_its_own_words(
    program: Program, sender: Sender, terminals: Terminals
) -> None:
    name, _ = bound(program, terminals, ScriptedEndpoint(answers={"content": b"554 5.6.1 no paper that wide"}))
    note = sender.file(b"Hello", "note.txt")
    complaint = sender.fax(note, "--to", name, status=1)
    assert f"has not reached {name}@{DOMAIN}" in complaint


def test_a_failure_that_comes_later_is_in_the_report_too(
    program: Program, sender: Sender, terminals: Terminals, tmp_path: Path
) -> None:
    # With a receipt asked for, the server answers before the machine does, and reports.
    name, _ = bound(program, terminals, ScriptedEndpoint(answers={"content": b"554 5.6.1 no paper that wide"}))
    complaint = sender.fax(sender.file(b"Hello", "note.txt"), "--to", name, "--receipt", status=1)
    assert f"has not reached {name}@{DOMAIN}" in complaint


def test_a_number_in_the_chart_finds_its_machine_which_is_called_by_its_own_address(
    program: Program, sender: Sender, terminals: Terminals, tmp_path: Path
) -> None:
    name, at = program.new_name(), program.new_endpoint()
    machine = terminals.listen(at)
    table = tmp_path / "chart.csv"
    number = f"+8131234{at[0].rpartition('.')[2]:0>4}"
    table.write_text(f"address,endpoint,facsimileTelephoneNumber\n{name},{at[0]}:{at[1]},{number}\n")
    program.lanpost("chart", "import", str(table))
    given = (number, f"FAX={number}/T33S=7")
    for to in given:
        result = json.loads(sender.fax(sender.file(b"Hello", "note.txt"), "--to", to, "--json"))
        assert result["results"][0]["result"] == "ok"
    # Reports will name the address as the sender gave it (RFC 3461 §4.2).
    original = [xtext(f"{each}@{DOMAIN}") for each in given]
    assert [mail.recipients for mail in machine.mails] == [
        [f"<{name}@{DOMAIN}> ORCPT=rfc822;{each}".encode()] for each in original
    ]
    assert program.lanpost_json("lookup", number)["endpoint"] == f"{at[0]}:{at[1]}"


def test_other_numbers_go_to_the_gateway_in_the_envelope_alone(
    program: Program, sender: Sender, terminals: Terminals
) -> None:
    name, gateway = bound(program, terminals)
    to = f"FAX=+4930123456/T33S=9@{name}.{DOMAIN}"
    sender.fax(sender.file(b"Hello", "note.txt"), "--to", to)
    (mail,) = gateway.mails
    assert mail.recipients == [f"<{to}>".encode()]
    headers = message_from_bytes(mail.content)
    assert headers["To"] == f"fax@{name}.{DOMAIN}"  # the number is not in what the sender wrote


def test_direct_asks_the_chart_and_speaks_to_the_machine_itself(
    program: Program, sender: Sender, terminals: Terminals
) -> None:
    name, machine = bound(program, terminals)
    note = sender.file(b"Hello", "note.txt")
    (result,) = program.lanpost_json("fax", "send", note, "--to", name, "--direct")["results"]
    assert result["endpoint"] == program.lanpost_json("lookup", name)["endpoint"]
    assert b"Received:" not in machine.mails[0].content
    assert "has not reached nobody" in program.lanpost("fax", "send", note, "--to", "nobody", "--direct", status=1)


@pytest.mark.parametrize("by_tls", [False, True])
def test_who_logs_in_sends_by_the_submission_port(
    program: Program, terminals: Terminals, tmp_path: Path, by_tls: bool
) -> None:
    name, machine = bound(program, terminals)
    authority = tmp_path / "ca.pem"
    authority.write_text(program.lanpost("ca", "export"))
    trust = {"ca_file": str(authority)} if by_tls else {}
    sender = Sender(program, tmp_path, via=f"{HOST}:{program.ports['submission']}", **trust)
    note = sender.file(b"Hello", "note.txt")
    assert "530 5.7.0" in sender.report(note, "--to", name, status=1)["results"][0]["said"]
    assert sender.report(note, "--to", name, "--user", sender.name)["results"][0]["result"] == "ok"
    (mail,) = machine.mails
    assert (b" with ESMTPSA " if by_tls else b" with ESMTPA ") in mail.content


def test_a_password_that_is_refused_is_told_in_the_report(
    program: Program, sender: Sender, terminals: Terminals, tmp_path: Path
) -> None:
    name, machine = bound(program, terminals)
    (tmp_path / "wrong").write_text("wrong horse\n")
    words = ("--user", sender.name, "--password-file", str(tmp_path / "wrong"))
    via = ("--via", f"{HOST}:{program.ports['submission']}")
    report = sender.report(sender.file(b"Hello", "note.txt"), "--to", name, *via, *words, status=1)
    assert f"does not let {sender.name} log in: 535 5.7.8" in report["results"][0]["said"]
    assert not machine.mails


def test_no_password_goes_in_the_clear_nor_to_a_server_that_nobody_vouches_for(
    program: Program, terminals: Terminals, tmp_path: Path
) -> None:
    name, at = program.new_name(), program.new_endpoint()
    stranger = terminals.listen(at, ScriptedEndpoint((b"mail", b"AUTH PLAIN")))
    sender = Sender(program, tmp_path)
    other = sender.config.with_name("careful.toml")
    other.write_text(sender.config.read_text() + "[authentication]\nnetworks_without_tls = []\n")
    note = sender.file(b"Hello", "note.txt")

    def said(via: str) -> str:
        words = ("fax", "send", note, "--to", name, "--user", sender.name, "--via", via, "--json")
        return str(program.lanpost(*words, status=1, config=other, printed=True))

    assert "offers no TLS, and the password must not cross" in said(f"{at[0]}:{at[1]}")
    assert stranger.commands[-1].startswith(b"EHLO")
    complaint = said(f"{HOST}:{program.ports['submission']}")
    assert "a certificate that nobody vouches for" in complaint
    assert "name its authority in fax.ca_file" in complaint


def test_a_machine_that_is_busy_is_tried_again(program: Program, sender: Sender, terminals: Terminals) -> None:
    answers = [b"451 4.3.2 busy", b"450 4.3.2 still busy"]
    busy = ScriptedEndpoint(decide=lambda verb, _: answers.pop(0) if verb == "RCPT" and answers else None)
    name, machine = bound(program, terminals, busy)
    words = ("fax", "send", sender.file(b"Hello", "note.txt"), "--to", name, "--direct", "--pause", "50ms")
    said = program.lanpost(*words)
    assert "Result:    OK (after 3 tries)" in said
    assert len(machine.mails) == 1


def test_a_machine_that_stays_busy_or_refuses_is_told_after_the_last_try(
    program: Program, sender: Sender, terminals: Terminals
) -> None:
    note = sender.file(b"Hello", "note.txt")
    for answer, tries in ((b"451 4.3.2 busy", 3), (b"554 5.7.1 never", 1)):
        name, _ = bound(program, terminals, ScriptedEndpoint(answers={"MAIL": answer}))
        words = ("--to", name, "--direct", "--pause", "50ms", "--retries", "2", "--json")
        (result,) = json.loads(program.lanpost("fax", "send", note, *words, status=1, printed=True))["results"]
        assert (result["result"], result["tries"]) == ("failed", tries)


def test_a_machine_that_reads_profile_f_gets_it(program: Program, terminals: Terminals, tmp_path: Path) -> None:
    name, at = program.new_name(), program.new_endpoint()
    machine = terminals.listen(at)
    table = tmp_path / "chart.csv"
    table.write_text(
        f"address,endpoint,facsimileTelephoneNumber\n{name},{at[0]}:{at[1]},+4940987$twoDimensional$a3Width$resolution8x15\n"
    )
    program.lanpost("chart", "import", str(table))
    plan = tmp_path / "plan.pdf"
    plan.write_bytes(pdf(b"200 200 200 200 re f", size=(841.89, 1190.55)))
    via = f"{HOST}:{program.ports['smtp']}"
    for to in (name, "+4940987"):  # known by its number, too
        told = program.lanpost_json("fax", "send", str(plan), "--to", to, "--via", via, "--superfine")
        assert told["profile"] == "F"
        tiff = message_from_bytes(machine.mails[-1].content).get_payload(decode=True)
        assert isinstance(tiff, bytes)
        (page,) = read_pages(tiff)
        assert (page.width, page.x_dpi, page.y_dpi) == (2432, 204, 391)


def test_the_report_is_faxed_to_the_machine_that_prints_reports(
    program: Program, terminals: Terminals, tmp_path: Path
) -> None:
    name, machine = bound(program, terminals)
    printer, reports = bound(program, terminals)
    sender = Sender(program, tmp_path, report_to=printer)
    sender.fax(sender.file(b"Hello", "note.txt"), "--to", name)
    assert subjects(machine.mails) == ["Fax: note (1 page)"]
    (report,) = reports.mails
    assert b"image/tiff" in report.content
    sender.fax(sender.file(b"Hello", "note.txt"), "--to", printer, "--report-to", name)
    program.wait_until(lambda: len(machine.mails) == 2, "the report at the other machine")


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("absent.pdf", "--to", "fax1"), 1, "absent.pdf: No such file"),
        (("--to", "fax1"), 2, "nothing to fax"),
        (("absent.pdf",), 2, "--to"),
        (("absent.pdf", "--to", "fax1", "--via", "post.office.lan"), 1, "host names are not looked up"),
    ],
)
def test_wrong_usage_is_said_with_the_remedy(
    sender: Sender, words: tuple[str, ...], status: int, told: str
) -> None:
    assert told in sender.fax(*words, status=status)
