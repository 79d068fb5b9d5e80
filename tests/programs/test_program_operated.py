"""The whole program in an administrator's hands: queue, status, signals, and what it says when it cannot start."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.program import HOST, Program
from tests.sessions.scripted_endpoint import PLAIN, ScriptedEndpoint
from tests.terminals import Terminals, subjects

from lanpost.app.queue_access import QueueAccess

SLOW_RETRIES = {"delivery": {"first_retry": "1m", "last_retry": "1m", "cut_through_timeout": "300ms"}}


def send(program: Program, to: str, subject: str) -> None:
    with program.smtp() as client:
        assert not client.sendmail("anna@office.lan", [to], f"Subject: {subject}\r\n\r\nx\r\n")


def rcpt(program: Program, recipient: str) -> int:
    with program.smtp() as client:
        client.ehlo()
        client.mail("anna@office.lan")
        return client.rcpt(recipient)[0]


def waiting(program: Program) -> list[dict[str, Any]]:
    return list(QueueAccess(program.folder / "data").mails())


def ends_in_time(program: Program) -> int:
    assert program.process
    return program.process.wait(20)


def start_in_vain(file: Path) -> str:
    """What `lanpost serve` says, in one line, when it cannot start."""
    program = Program(file.parent / "unused")
    said = program.lanpost("serve", config=file, status=1)
    # Log lines are JSON here or begin with the time; the verdict is the last line.
    verdict = said.strip().splitlines()[-1]
    assert verdict.startswith("lanpost: "), said
    assert "Traceback" not in said
    return verdict


# The queue.


def test_the_queue_is_seen_and_managed(tmp_path: Path, terminals: Terminals) -> None:
    with Program(tmp_path, SLOW_RETRIES) as program:
        off = program.new_endpoint()
        program.bind("fax1", off)
        program.lanpost("terminal", "add", "fax2")
        for subject in ("first", "second", "third"):
            send(program, "fax1", subject)
        send(program, "fax2", "held")
        program.wait_until(lambda: "under way" not in str(waiting(program)), "the first tries")
        mails = program.lanpost_json("queue", "list")
        assert [each["recipients"][0]["state"] for each in mails] == ["due", "due", "due", "held"]
        assert "fax1@office.lan" in program.lanpost("queue", "list")
        first, second, third, held = (mail["id"] for mail in mails)
        shown = program.lanpost("queue", "show", first)
        assert "connection refused" in shown
        assert f"{off[0]}:{off[1]}" in shown
        program.lanpost("queue", "hold", second)
        program.lanpost("queue", "remove", third)
        assert "no mail" in program.lanpost("queue", "show", third, status=1).lower()
        fax1 = terminals.listen(off)
        program.lanpost("queue", "retry")
        program.wait_until(lambda: subjects(fax1.mails) == ["first"], "the mail that is not on hold")
        # On hold it survives a restart, and a mail that is held for its terminal too.
        assert program.stop() == 0
        assert [mail["on_hold"] for mail in program.lanpost_json("queue", "list")] == [True, False]
        assert "no server is running" in program.lanpost("queue", "retry", status=1)
        program.start()
        assert [mail["id"] for mail in waiting(program)] == [second, held]
        program.lanpost("queue", "retry", second)
        program.wait_until(lambda: subjects(fax1.mails) == ["first", "second"], "the mail that was on hold")
        program.wait_until(lambda: len(waiting(program)) == 1, "its end")


def test_the_queues_of_all_workers_are_one(tmp_path: Path, terminals: Terminals) -> None:
    with Program(tmp_path, SLOW_RETRIES | {"workers": 3}) as program:
        off = program.new_endpoint()
        program.bind("fax1", off)
        sent = {f"mail {number}" for number in range(12)}
        for subject in sent:
            send(program, "fax1", subject)
        program.wait_until(lambda: "under way" not in str(waiting(program)), "the first tries")
        ids = {mail["id"] for mail in waiting(program)}
        assert len(ids) == len(sent)
        for mail_id in ids:
            QueueAccess(tmp_path / "data").hold(mail_id)
        assert program.stop() == 0
        assert {mail["id"] for mail in waiting(program)} == ids
        # With fewer workers than before, what the others had is taken over.
        program.settings["workers"] = 2
        program.write_settings()
        program.start()
        program.wait_until(
            lambda: {mail["id"] for mail in waiting(program)} == ids, "all mail, all workers being up"
        )
        assert all(mail["on_hold"] for mail in waiting(program))
        fax1 = terminals.listen(off)
        for mail_id in ids:
            QueueAccess(tmp_path / "data").retry(mail_id)
        program.wait_until(lambda: not waiting(program), "an empty queue")
        assert sorted(subjects(fax1.mails)) == sorted(sent)


def test_status_counts_what_it_did(tmp_path: Path, terminals: Terminals) -> None:
    program = Program(tmp_path)
    assert "no server is running" in program.lanpost("status", status=1)
    assert "no server is running" in program.lanpost("status", "--ready", status=1)
    with program:
        program.wait_until(lambda: '"ready"' in program.log(), "its word")
        assert program.lanpost("status", "--ready") == "ready\n"
        at = program.new_endpoint()
        terminals.listen(at)
        program.bind("fax1", at)
        program.lanpost("terminal", "add", "fax2")
        send(program, "fax1", "through")
        send(program, "fax2", "held")
        assert rcpt(program, "nobody") == 550
        status = program.lanpost_json("status")
        assert {
            key: status[key] for key in ("running", "received", "cut_through", "spooled", "refused", "queue")
        } == {
            "running": True,
            "received": 2,
            "cut_through": 1,
            "spooled": 1,
            "refused": 1,
            "queue": 1,
        }
        assert status["state"] == "ready"
        assert status["listeners"]["smtp"] == [f"{HOST}:{program.ports['smtp']}"]
        assert "in order" in program.lanpost("check")


# Signals.


def test_sighup_takes_over_what_can_change_and_a_broken_file_changes_nothing(
    tmp_path: Path, terminals: Terminals
) -> None:
    with Program(tmp_path, SLOW_RETRIES) as program:
        smarthost = terminals.listen((HOST, 0))
        assert rcpt(program, "someone@elsewhere.example") == 550
        program.settings["relay"] = {"smarthost": str(smarthost.at)}
        program.settings["smtp"]["listen"] = ["127.0.0.1:1"]
        program.reload()
        program.wait_until(lambda: "settings reloaded" in program.log(), "the new settings")
        (line,) = (line for line in program.log().splitlines() if "settings reloaded" in line)
        assert json.loads(line)["at_next_start"] == ["smtp.listen"]
        send(program, "someone@elsewhere.example", "out")
        assert subjects(smarthost.mails) == ["out"]
        # A file with a mistake: said, and what was in force stays.
        program.settings["relay"] = {"smarthost": "mail.example.com:25"}
        program.reload()
        program.wait_until(lambda: "settings not reloaded" in program.log(), "the complaint")
        assert "relay.smarthost" in program.log()
        send(program, "someone@elsewhere.example", "out again")
        assert subjects(smarthost.mails) == ["out", "out again"]
        # Without cut-through every mail goes by the spool.
        program.settings["relay"] = {"smarthost": str(smarthost.at)}
        program.settings["delivery"]["cut_through"] = False
        program.reload()
        program.wait_until(lambda: program.log().count("settings reloaded") == 2, "the new settings")
        send(program, "someone@elsewhere.example", "by the spool")
        program.wait_until(lambda: subjects(smarthost.mails)[-1] == "by the spool", "the mail")
        assert program.lanpost_json("status")["spooled"] == 1


def test_sighup_does_not_change_half_of_what_waits_for_the_next_start(tmp_path: Path, terminals: Terminals) -> None:
    with Program(tmp_path) as program:
        at = program.new_endpoint()
        terminals.listen(at)
        program.bind("fax1", at)
        assert rcpt(program, f"fax1@[{at[0]}]") == 250
        program.settings["domain"] = "elsewhere.lan"
        program.reload()
        program.wait_until(lambda: "settings reloaded" in program.log(), "the new settings")
        assert rcpt(program, "fax1") == 250
        assert rcpt(program, f"fax1@[{at[0]}]") == 250


def test_sigterm_lets_a_mail_be_finished(tmp_path: Path, terminals: Terminals) -> None:
    with Program(tmp_path) as program:
        at = program.new_endpoint()
        fax1 = terminals.listen(at)
        program.bind("fax1", at)
        idle, busy = program.smtp(), program.smtp()
        busy.ehlo()
        busy.mail("anna@office.lan")
        busy.rcpt("fax1")
        assert busy.docmd("DATA")[0] == 354
        busy.send(b"Subject: in time\r\n\r\nhalf of it")
        assert program.process
        program.process.send_signal(signal.SIGTERM)
        assert idle.getreply()[0] == 421  # who does nothing is sent away at once
        program.wait_until(lambda: not listens(program.ports["smtp"]), "closed doors")
        busy.send(b", and the rest\r\n.\r\n")
        assert busy.getreply()[0] == 250
        assert ends_in_time(program) == 0
        busy.close()
        idle.close()
        assert subjects(fax1.mails) == ["in time"]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.mark.parametrize("cut_through", [True, False])
def test_sigterm_waits_for_an_endpoints_verdict(tmp_path: Path, terminals: Terminals, cut_through: bool) -> None:
    """Ended before it, the mail would be sent once more at the next start."""
    settings = {"delivery": {"cut_through_timeout": "200ms", "cut_through": cut_through}}
    with Program(tmp_path, settings) as program:
        at = program.new_endpoint()
        slow = terminals.listen(at, ScriptedEndpoint(offers=PLAIN, waits_at="content"))
        program.bind("fax1", at)
        send(program, "fax1", "once")
        program.wait_until(lambda: len(slow.mails) == 1, "the whole mail at the endpoint")
        assert program.process
        program.process.send_signal(signal.SIGTERM)
        program.wait_until(lambda: not listens(program.ports["smtp"]), "closed doors")
        terminals.let_go(slow)
        assert ends_in_time(program) == 0
        program.start()
        assert waiting(program) == []
        assert subjects(slow.mails) == ["once"]


def test_sigterm_does_not_wait_for_ever(tmp_path: Path, terminals: Terminals) -> None:
    """Nor does a stalled endpoint's mail get lost by it."""
    with Program(tmp_path, SLOW_RETRIES) as program:
        at = program.new_endpoint()
        stalled = terminals.listen(at, ScriptedEndpoint(offers=PLAIN, waits_at="DATA"))
        program.bind("fax1", at)
        send(program, "fax1", "kept")
        program.wait_until(lambda: b"DATA" in stalled.commands, "the stall")
        assert program.process
        began = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        assert ends_in_time(program) == 0
        assert time.monotonic() - began < 18
        terminals.switch_off(stalled)
        alive = terminals.listen(at)
        program.start()
        program.lanpost("queue", "retry")
        program.wait_until(lambda: subjects(alive.mails) == ["kept"], "the mail")


# What it says when it cannot start.


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with Program(tmp_path / "first") as program:
        second = Program(tmp_path / "second", {"data": str(tmp_path / "first/data")})
        said = start_in_vain(second.file)
        assert "first/data" in said
        assert program.process
        assert f"in use by process {program.process.pid}" in said
        assert program.lanpost_json("status")["running"]  # and the first has not noticed
        assert rcpt(program, "nobody") == 550


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        for service in ("smtp", "submission", "pop3", "http"):
            program = Program(tmp_path / service, {service: {"listen": [f"{HOST}:{port}"]}})
            assert f"{HOST}:{port}" in start_in_vain(program.file)


def no_folder(program: Program) -> None:
    (program.folder / "data").write_text("not a folder")


def damaged_chart(program: Program) -> None:
    (program.folder / "data").mkdir()
    (program.folder / "data/chart.sqlite3").write_bytes(b"no database" * 1000)


def damaged_ca(program: Program) -> None:
    program.lanpost("ca", "show")
    for file in (program.folder / "data").rglob("*.pem"):
        file.write_text("no certificate")


@pytest.mark.parametrize("harm", [no_folder, damaged_chart, damaged_ca])
def test_data_that_cannot_be_used_are_named(tmp_path: Path, harm: Callable[[Program], None]) -> None:
    program = Program(tmp_path)
    harm(program)
    assert str(tmp_path / "data") in start_in_vain(program.file)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"smtp": {"listen": ["example.com:25"]}}, "smtp.listen"),
        ({"delivery": {"cut_through_timeout": "soon"}}, "delivery.cut_through_timeout"),
        ({"delivery": {"cut_thru": True}}, "cut_thru"),
        ({"relay": {"networks": ["0.0.0.0/0"]}}, "open relay"),
        ({"chart": {"url": "sqlserver:x"}}, "chart.url"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, settings: dict[str, Any], named: str) -> None:
    program = Program(tmp_path, settings)
    said = start_in_vain(program.file)
    assert named in said
    assert str(program.file) in said
    assert named in program.lanpost("check", status=1)


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "lanpost.toml"
    file.write_text('domain = "office.lan"\n[smtp\n')
    said = start_in_vain(file)
    assert str(file) in said
    assert "line 2" in said
