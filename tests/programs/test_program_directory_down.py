"""The chart is in OpenLDAP, which stops, hangs, is slow, busy, started again: no mail is refused, none is lost."""

from __future__ import annotations

import json
import smtplib
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.program import Program, lay_over
from tests.slapd import Slapd
from tests.terminals import Terminals, subjects
from tests.unwell_directory import UnwellDirectory

pytestmark = pytest.mark.peer

SENDER = "anna@office.lan"


@pytest.fixture
def terminals() -> Iterator[Terminals]:
    with Terminals() as running:
        yield running


@contextmanager
def serving(
    folder: Path, *directories: Slapd | UnwellDirectory, settings: Mapping[str, Any] | None = None
) -> Iterator[Program]:
    """A mail server whose chart is there. An inquiry may take half a second."""
    folder.mkdir(exist_ok=True)
    (folder / "password").write_text(directories[0].password, "ascii")
    chosen: dict[str, Any] = {
        "chart": {
            "url": " ".join(f"{each.url}/{each.base}" for each in directories),
            "bind_dn": directories[0].bind_dn,
            "password_file": "password",
            "timeout": "500ms",
        },
        "delivery": {"first_retry": "100ms", "last_retry": "300ms"},
    }
    lay_over(chosen, settings or {})
    with Program(folder, chosen) as program:
        yield program


def send(program: Program, subject: str, *to: str) -> float:
    """Hand a mail in; nobody may be refused. Seconds until the 250."""
    began = time.monotonic()
    with program.smtp() as client:
        refused = client.sendmail(SENDER, list(to), f"From: {SENDER}\r\nSubject: {subject}\r\n\r\nx\r\n")
    assert not refused
    return time.monotonic() - began


# Nothing is tried again so soon by itself: what flows within a test flows because the directory is well again.
PATIENT = {"delivery": {"first_retry": "5m", "last_retry": "10m"}}
SOON = 15.0  # seconds; half of what the queue waits by itself while the chart cannot be asked


@pytest.mark.parametrize("failure", ["stop", "pause"])
def test_mail_waits_while_the_directory_is_away_and_arrives_when_it_is_back(
    tmp_path: Path, terminals: Terminals, failure: str
) -> None:
    with Slapd() as directory, serving(tmp_path, directory, settings=PATIENT) as program:
        at = program.new_endpoint()
        program.bind("fax1", at)
        fax1 = terminals.listen(at)
        send(program, "before", "fax1@office.lan")
        program.wait_until(lambda: subjects(fax1.mails) == ["before"], "the first mail")
        getattr(directory, failure)()
        for number in range(3):
            send(program, f"meanwhile {number}", "fax1@office.lan")
        # It may be right, it may be wrong: only the directory knows, so it is taken too.
        send(program, "for nobody", "nobody@office.lan")
        assert subjects(fax1.mails) == ["before"]
        began = time.monotonic()
        directory.start() if failure == "stop" else directory.resume()
        program.wait_until(lambda: len(fax1.mails) == 4, "what waited", SOON)
        print(f"{failure}: the last of what waited arrived {time.monotonic() - began:.2f} s after the directory")
        assert sorted(subjects(fax1.mails)[1:]) == [f"meanwhile {number}" for number in range(3)]
        with program.smtp() as client, pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail(SENDER, ["nobody@office.lan"], "Subject: x\r\n\r\nx\r\n")


@pytest.mark.parametrize("ailment", ["slow", "busy", "unavailable"])
def test_mail_waits_while_the_directory_is_unwell_and_arrives_when_it_is_well(
    tmp_path: Path, terminals: Terminals, ailment: str
) -> None:
    with (
        Slapd() as slapd,
        UnwellDirectory(slapd) as directory,
        serving(tmp_path, directory, settings=PATIENT) as program,
    ):
        at = program.new_endpoint()
        program.bind("fax1", at)
        fax1 = terminals.listen(at)
        send(program, "before", "fax1@office.lan")
        program.wait_until(lambda: subjects(fax1.mails) == ["before"], "the first mail")
        directory.be(ailment)
        for number in range(3):
            send(program, f"meanwhile {number}", "fax1@office.lan")
        send(program, "for nobody", "nobody@office.lan")
        assert directory.held if ailment == "slow" else directory.refused
        assert subjects(fax1.mails) == ["before"]
        began = time.monotonic()
        directory.be("well")
        program.wait_until(lambda: len(fax1.mails) == 4, "what waited", SOON)
        print(f"{ailment}: the last of what waited arrived {time.monotonic() - began:.2f} s after the directory")
        assert sorted(subjects(fax1.mails)[1:]) == [f"meanwhile {number}" for number in range(3)]
        # Now it is known, and its sender is told.
        program.wait_until(lambda: not program.lanpost_json("queue", "list"), "the end of the mail for nobody")
        with program.smtp() as client, pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail(SENDER, ["nobody@office.lan"], "Subject: x\r\n\r\nx\r\n")


def test_a_copy_answers_while_the_directory_is_unwell(tmp_path: Path, terminals: Terminals) -> None:
    settings = {**PATIENT, "chart": {"replica": True}}
    with (
        Slapd() as slapd,
        UnwellDirectory(slapd) as directory,
        serving(tmp_path, directory, settings=settings) as program,
    ):
        at = program.new_endpoint()
        program.bind("fax1", at)
        fax1 = terminals.listen(at)
        send(program, "well", "fax1@office.lan")
        program.wait_until(lambda: "chart copy complete" in program.log(), "the copy")
        # A command's copy says so too, but not into its answer.
        assert program.lanpost_json("lookup", "fax1")["outcome"] == "endpoint"
        expected = ["well"]
        for ailment in ("slow", "busy", "unavailable"):
            directory.be(ailment)
            send(program, ailment, "fax1@office.lan", "nobody@office.lan")
            expected.append(ailment)
            program.wait_until(lambda: subjects(fax1.mails) == expected, f"the mail by the copy of a {ailment} one")
            directory.be("well")


def test_a_hung_directory_costs_the_first_mail_its_time_limit_and_the_next_ones_nothing(
    tmp_path: Path, terminals: Terminals
) -> None:
    with Slapd() as directory, serving(tmp_path, directory, settings={"chart": {"timeout": "3s"}}) as program:
        send_to = "fax1@office.lan"
        program.bind("fax1", program.new_endpoint())
        directory.pause()
        assert send(program, "first", send_to) > 1.5
        # Told apart by a wide margin: each of these would cost three seconds.
        assert sum(send(program, f"later {number}", send_to) for number in range(5)) < 3.0
        directory.resume()


def test_a_copy_answers_while_the_directory_is_away(tmp_path: Path, terminals: Terminals) -> None:
    with Slapd() as directory, serving(tmp_path, directory, settings={"chart": {"replica": True}}) as program:
        at = program.new_endpoint()
        program.bind("fax1", at)
        fax1 = terminals.listen(at)
        send(program, "before", "fax1@office.lan")
        program.wait_until(lambda: "chart copy complete" in program.log(), "the copy")
        directory.stop()
        send(program, "meanwhile", "fax1@office.lan", "nobody@office.lan")
        program.wait_until(lambda: subjects(fax1.mails) == ["before", "meanwhile"], "the mail by the copy")
        directory.start()
        moved = program.new_endpoint()
        program.bind("fax1", moved)
        elsewhere = terminals.listen(moved)
        send(program, "after", "fax1@office.lan")
        program.wait_until(lambda: subjects(elsewhere.mails) == ["after"], "the mail at the new place")


def test_the_fallback_mailbox_takes_what_cannot_be_asked_for(tmp_path: Path) -> None:
    settings = {**PATIENT, "fallback": {"mailbox": "postmaster"}}
    with (
        Slapd() as slapd,
        UnwellDirectory(slapd) as directory,
        serving(tmp_path, directory, settings=settings) as program,
    ):
        program.add_user("postmaster", "correct horse battery")
        program.bind("fax1", program.new_endpoint())
        mailbox = tmp_path / "data" / "mailboxes"

        def has(subject: str) -> bool:
            return any(subject.encode() in file.read_bytes() for file in mailbox.rglob("new/*"))

        failures = ("busy", "unavailable", "slow", "stopped")
        for failure in failures:
            slapd.stop() if failure == "stopped" else directory.be(failure)
            send(program, f"lost while {failure}", "fax1@office.lan")
        program.wait_until(
            lambda: all(has(f"lost while {failure}") for failure in failures), "the mails in the fallback mailbox"
        )


def test_the_second_server_is_asked_when_the_first_is_killed(tmp_path: Path, terminals: Terminals) -> None:
    with Slapd() as first, Slapd() as second, serving(tmp_path, first, second) as program:
        at = program.new_endpoint()
        fax1 = terminals.listen(at)
        for directory in (first, second):
            directory.add_terminal("fax1", "secret")
            directory.modify(
                f"dn: {directory.dn('fax1')}\nchangetype: modify\nadd: objectClass\nobjectClass: ipHost\n-\n"
                f"add: ipHostNumber\nipHostNumber: {at[0]}\n-\nadd: lanpostPort\nlanpostPort: {at[1]}\n"
            )
        send(program, "by the first", "fax1@office.lan")
        first.kill()
        send(program, "by the second", "fax1@office.lan")
        program.wait_until(lambda: len(fax1.mails) == 2, "both mails")
        assert subjects(fax1.mails) == ["by the first", "by the second"]


def test_an_agent_that_reaches_only_the_mail_server_is_written_into_the_directory(tmp_path: Path) -> None:
    with Slapd(dds=False) as directory, serving(tmp_path, directory) as program:
        secret = program.lanpost_json("terminal", "add", "fax1")["secret"]
        put = ["curl", "-sS", "-k", "-X", "PUT", "-H", f"Authorization: Bearer {secret}"]
        url = f"https://127.0.0.1:{program.ports['http']}/v1/bindings/fax1"
        body = json.dumps({"port": program.endpoint_port})
        made = []
        for _ in range(2):
            done = subprocess.run([*put, "-d", body, url], capture_output=True, text=True, timeout=30)
            assert '"live":true' in done.stdout.replace(" ", ""), done.stdout + done.stderr
            ((_, entry),) = directory.search(
                "(mailLocalAddress=fax1@office.lan)", "*", "createTimestamp", "entryUUID"
            ).items()
            made.append(entry)
        assert made[0]["ipHostNumber"] == ["127.0.0.1"]
        assert made[0]["lanpostNextHop"] == [f"smtp:[127.0.0.1]:{program.endpoint_port}"]
        # A renewal is a Modify: the entry stays the same one.
        assert made[1]["entryUUID"] == made[0]["entryUUID"]
        assert made[1]["lanpostUpdated"] > made[0]["lanpostUpdated"]
