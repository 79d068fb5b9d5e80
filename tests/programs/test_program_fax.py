"""`lanpost fax receive` as its users run it: enrolled with a server, given faxes by it, killed, started again."""

from __future__ import annotations

import json
import re
import signal
import smtplib
from pathlib import Path

import pytest
from tests.fax_machine import FaxMachine
from tests.fax_receiving import ANNA, mail_of, tiff_of
from tests.program import DOMAIN, HOST, Program

from lanpost.content.fax.reading import read_pages


def test_a_fax_sent_to_the_server_is_a_folder_at_the_fax_machine(program: Program, tmp_path: Path) -> None:
    machine = FaxMachine(program, tmp_path)
    with machine.running() as process:
        with program.smtp() as client:
            client.sendmail(ANNA, [machine.terminal.address], mail_of(tiff_of(2)))
        # On a busy machine the server has it durable before the fax machine is through with it.
        program.wait_until(lambda: machine.faxes() != [], "the fax")
        (folder,) = machine.faxes()
        assert len(list(read_pages((folder / "fax.tif").read_bytes()))) == 2
        assert json.loads((folder / "fax.json").read_bytes())["recipient"] == machine.terminal.address
        process.terminate()
        assert process.wait(30) == 0


def test_whom_behind_a_number_a_fax_is_for_is_told_at_the_machine_that_has_the_number(
    program: Program, tmp_path: Path
) -> None:
    machine = FaxMachine(program, tmp_path)
    number = f"+4989{machine.at[0].replace('.', '')}"
    table = tmp_path / "chart.csv"
    host, port = machine.at
    table.write_text(
        f"address,endpoint,facsimileTelephoneNumber\n{machine.terminal.address},{host}:{port},{number}\n"
    )
    with machine.running():
        program.lanpost("chart", "import", str(table))
        with program.smtp() as client:
            client.sendmail(ANNA, [f"FAX={number}/T33S=12@{DOMAIN}"], mail_of(tiff_of(1)))
        program.wait_until(lambda: machine.faxes() != [], "the fax")
        (folder,) = machine.faxes()
        facts = json.loads((folder / "fax.json").read_bytes())
        assert (facts["recipient"], facts["subaddress"]) == (machine.terminal.address, "12")


def test_whoever_sends_what_is_no_fax_hears_it_from_the_server(program: Program, tmp_path: Path) -> None:
    machine = FaxMachine(program, tmp_path)
    with machine.running(), program.smtp() as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail(ANNA, [machine.terminal.address], "Content-Type: text/html\r\n\r\n<p>\r\n")
        assert refused.value.smtp_code == 554
        assert "part 1 is text/html" in str(refused.value.smtp_error)
        assert machine.faxes() == []


def test_what_was_answered_250_is_whole_after_sigkill_and_nothing_else_is_there(
    program: Program, tmp_path: Path
) -> None:
    machine = FaxMachine(program, tmp_path)
    answered = set()
    with machine.running() as process, smtplib.SMTP(*machine.at, local_hostname="x", timeout=30) as client:
        client.ehlo()
        for number in range(3):
            client.mail(ANNA)
            client.rcpt(machine.terminal.address)
            code, said = client.data(mail_of(tiff_of(1 + number)))
            assert code == 250
            answered.add(re.findall(rb"stored as (\S+)", said)[0].decode())
        # One more is being looked at when the power goes.
        client.mail(ANNA)
        client.rcpt(machine.terminal.address)
        client.putcmd("data")
        assert client.getreply()[0] == 354
        assert client.sock is not None
        client.sock.sendall(mail_of(tiff_of(3)) + b"\r\n.\r\n")
        program.wait_until(lambda: list((tmp_path / "data/faxes/.work").glob("2*")) != [], "it is being looked at")
        process.kill()
        process.wait()
        client.close()
    kept = {json.loads((fax / "fax.json").read_bytes())["id"] for fax in machine.faxes()}
    assert answered <= kept
    for fax in machine.faxes():
        pages = json.loads((fax / "fax.json").read_bytes())["pages"]
        assert len(list(read_pages((fax / "fax.tif").read_bytes()))) == len(pages)
        assert {"mail.eml", "fax.pdf", *(page["picture"] for page in pages)} <= {
            file.name for file in fax.iterdir()
        }
    with machine.running():
        assert [each.name for each in (tmp_path / "data/faxes/.work").iterdir()] == ["todo"]


def test_sighup_puts_new_settings_in_force(program: Program, tmp_path: Path) -> None:
    machine = FaxMachine(program, tmp_path)
    with machine.running() as process:
        with machine.config.open("a") as config:
            config.write("[fax]\npages = 1\n")
        process.send_signal(signal.SIGHUP)
        program.wait_until(lambda: machine.log.read_text().count("taking faxes") == 2, "it takes faxes again")
        with (
            smtplib.SMTP(*machine.at, local_hostname="x", timeout=30) as client,
            pytest.raises(smtplib.SMTPDataError, match="more than 1 page,"),
        ):
            client.sendmail(ANNA, [machine.terminal.address], mail_of(tiff_of(2)))


def test_a_terminal_that_is_not_enrolled_is_told_what_to_do(program: Program, tmp_path: Path) -> None:
    config = tmp_path / "lanpost.toml"
    config.write_text('data = "data"\n')
    said = program.lanpost("fax", "receive", status=1, config=config)
    assert "this terminal is not enrolled; run `lanpost terminal add ADDRESS` at the server" in said


def test_a_printer_by_name_is_refused_with_the_remedy(program: Program, tmp_path: Path) -> None:
    config = tmp_path / "lanpost.toml"
    config.write_text('data = "data"\n[fax]\nprinter = "ipp://printer.lan/x"\n')
    said = program.lanpost("fax", "receive", status=1, config=config)
    assert "fax.printer = 'ipp://printer.lan/x'" in said
    assert "with an IP address" in said


def test_the_server_it_is_enrolled_with_takes_its_notices(program: Program, tmp_path: Path) -> None:
    machine = FaxMachine(program, tmp_path)
    via = f"{HOST}:{program.ports['smtp']}"
    with machine.config.open("a") as config:
        config.write(f'[fax]\nmdn = "when-asked"\nvia = "{via}"\n')
    person = f"{program.new_name('anna')}@office.lan"
    program.add_user(person, "a password of hers")
    with machine.running(), program.smtp() as client:
        asking = mail_of(tiff_of(1), Disposition_Notification_To=person)
        client.sendmail(person, [machine.terminal.address], asking, rcpt_options=["NOTIFY=SUCCESS"])
        machine.logged("disposition notification")
        found = [file.read_text() for file in (program.folder / "data").rglob("new/*")]
        about = [text for text in found if f"To: <{person}>" in text]
    assert any("automatic-action/MDN-sent-automatically; dispatched" in text for text in about), found
    assert any("Action: delivered" in text for text in about), found
