"""Devices that can run nothing: a login tells where they are; and endpoints that change hands, in the program."""

from __future__ import annotations

import smtplib
from typing import Any

from tests.enrolled import Enrolled
from tests.program import HOST, Program
from tests.terminals import Terminals, subjects


def log_in(program: Program, source: str, name: str, secret: str, service: str) -> None:
    """As a scanner does, from its own address."""
    with smtplib.SMTP(HOST, program.ports[service], timeout=30, source_address=(source, 0)) as client:
        client.login(name, secret)


def send(program: Program, name: str, subject: str) -> None:
    with program.smtp() as client:
        client.sendmail("anna@office.lan", [f"{name}@office.lan"], f"Subject: {subject}\r\n\r\nHello\r\n")


def shown(program: Program, name: str) -> Any:
    return program.lanpost_json("terminal", "show", name)


def test_a_device_that_only_sends_is_where_it_last_logged_in(program: Program, terminals: Terminals) -> None:
    name, (here, port) = program.new_name("scanner"), program.new_endpoint()
    device = terminals.listen((here, port))
    secret = program.lanpost_json("terminal", "add", name, "--learn", "--port", str(port))["secret"]
    log_in(program, here, name, secret, "smtp")
    send(program, name, "held")  # this machine itself is not learnt, unless the chart says that a terminal is on it
    program.bind(name, (here, 9))
    log_in(program, here, name, secret, "submission")
    program.wait_until(lambda: subjects(device.mails) == ["held"], "the mail")
    found = shown(program, name)
    assert (found["endpoint"], found["source"], found["learn"]) == (f"{here}:{port}", "smtp", True)
    log_in(program, here, name, secret, "smtp")
    assert shown(program, name)["updated"] == found["updated"]  # known, and not written again


def test_logins_of_people_and_of_other_terminals_teach_nothing(program: Program) -> None:
    name, person, (here, _) = program.new_name("scanner"), program.new_name("anna"), program.new_endpoint()
    secret = program.lanpost_json("terminal", "add", name)["secret"]
    program.bind(name, (here, 9))
    program.add_user(person, "a password of hers")
    log_in(program, here, name, secret, "smtp")
    log_in(program, here, person, "a password of hers", "submission")
    assert shown(program, name)["endpoint"] == f"{here}:9"
    assert program.lanpost_json("lookup", person)["outcome"] == "mailbox"
    assert person not in program.lanpost("chart", "list")


def test_who_has_the_endpoint_now_has_the_mail_and_the_first_ones_is_held(
    program: Program, terminals: Terminals
) -> None:
    first, second = Enrolled.new(program), Enrolled.new(program)
    here, port = program.new_endpoint()
    device = terminals.listen((here, port))
    first.ask("PUT", here, port=port)
    send(program, first.name, "to the first")
    second.ask("PUT", here, port=port)
    send(program, first.name, "held")
    send(program, second.name, "to the second")
    program.wait_until(lambda: len(device.mails) == 2, "two mails")
    assert subjects(device.mails) == ["to the first", "to the second"]
    assert shown(program, first.name)["state"] == "none"
    # By hand, past the registrar: the server sees to it all the same.
    third = program.new_name()
    program.bind(third, (here, port))
    program.wait_until(lambda: shown(program, second.name)["state"] == "none", "the second to be dropped")
    assert program.log().count("binding dropped") >= 2
    # The first says that it is elsewhere, and has its mail there.
    elsewhere, _ = program.new_endpoint()
    moved = terminals.listen((elsewhere, port))
    first.ask("PUT", elsewhere, port=port)
    program.wait_until(lambda: subjects(moved.mails) == ["held"], "the held mail")
