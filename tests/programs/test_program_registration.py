"""Terminals that come, go and grow old: their mail waits in the whole program, and goes when they are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.enrolled import Enrolled
from tests.program import Program, as_toml
from tests.terminals import Terminals, subjects

from lanpost.app.queue_access import QueueAccess

SOON = 3.0  # seconds within which a registration must bring its mail; the queue's own look comes after ten


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Several processes, of which the mail may be in another one than the registrar."""
    settings = {
        "workers": 3,
        "delivery": {"first_retry": "10s", "last_retry": "10s"},
        "registrar": {"lifetime": "2s"},
    }
    with Program(tmp_path_factory.mktemp("registration"), settings) as running:
        yield running


def waiting(fax: Enrolled) -> list[dict[str, Any]]:
    return [
        each
        for mail in QueueAccess(fax.program.folder / "data").mails()
        for each in mail["recipients"]
        if each["address"] == fax.address
    ]


def send(program: Program, to: str, subject: str) -> None:
    with program.smtp() as client:
        assert not client.sendmail("anna@office.lan", [to], f"Subject: {subject}\r\n\r\nx\r\n")


def test_mail_is_held_until_the_terminal_registers(program: Program, terminals: Terminals) -> None:
    fax, at = Enrolled.new(program), program.new_endpoint()
    assert program.lanpost_json("lookup", fax.name)["outcome"] == "hold"
    for number in range(3):
        send(program, fax.address, f"held {number}")
    assert [each["state"] for each in waiting(fax)] == ["held"] * 3
    endpoint = terminals.listen(at)
    fax.register(at)
    program.wait_until(lambda: len(endpoint.mails) == 3 and not waiting(fax), "the held mail", SOON)
    assert sorted(subjects(endpoint.mails)) == ["held 0", "held 1", "held 2"]
    found = program.lanpost_json("lookup", fax.name)
    assert (found["outcome"], found["endpoint"]) == ("endpoint", f"{at[0]}:{at[1]}")


def test_the_agent_registers_once_and_its_mail_comes(
    program: Program, terminals: Terminals, tmp_path: Path
) -> None:
    fax, at = Enrolled.new(program), program.new_endpoint()
    send(program, fax.address, "for the agent")
    endpoint = terminals.listen(at)
    file = tmp_path / "agent.toml"
    file.write_text(as_toml({"data": "agent", "agent": {"port": at[1], "address": at[0]}}))
    program.lanpost("agent", "enrol", fax.token, config=file)
    assert f"{at[0]}:{at[1]}" in program.lanpost("agent", "--once", config=file)
    program.wait_until(lambda: subjects(endpoint.mails) == ["for the agent"], "the held mail", SOON)


def test_a_binding_that_has_run_out_holds_mail_until_it_is_renewed(program: Program, terminals: Terminals) -> None:
    fax, at = Enrolled.new(program), program.new_endpoint()
    endpoint = terminals.listen(at)
    fax.register(at)  # for two seconds: this server's lifetime
    send(program, fax.address, "in time")
    assert subjects(endpoint.mails) == ["in time"]
    program.wait_until(lambda: fax_outcome(program, fax) == "hold", "the end of the binding", 10)
    send(program, fax.address, "too late")
    assert [each["state"] for each in waiting(fax)] == ["held"]
    fax.register(at)  # the same endpoint as before: a renewal
    program.wait_until(lambda: subjects(endpoint.mails) == ["in time", "too late"], "the held mail", SOON)


def fax_outcome(program: Program, fax: Enrolled) -> str:
    return str(program.lanpost_json("lookup", fax.name)["outcome"])


def test_a_goodbye_holds_mail(program: Program, terminals: Terminals) -> None:
    fax, at = Enrolled.new(program), program.new_endpoint()
    terminals.listen(at)
    fax.register(at)
    fax.say_goodbye()
    send(program, fax.address, "held")
    assert [each["state"] for each in waiting(fax)] == ["held"]


def test_mail_for_a_dead_address_goes_to_the_one_registered_next(program: Program, terminals: Terminals) -> None:
    """It waits for its next try ten seconds hence; the registration is sooner."""
    fax, old, new = Enrolled.new(program), program.new_endpoint(), program.new_endpoint()
    fax.register(old)
    send(program, fax.address, "deferred")
    program.wait_until(lambda: [each["state"] for each in waiting(fax)] == ["due"], "the first try's end", SOON)
    endpoint = terminals.listen(new)
    fax.register(new)
    program.wait_until(lambda: subjects(endpoint.mails) == ["deferred"], "the deferred mail", SOON)


def test_what_another_process_writes_into_the_chart_releases_mail(program: Program, terminals: Terminals) -> None:
    fax, at = Enrolled.new(program), program.new_endpoint()
    send(program, fax.address, "held")
    endpoint = terminals.listen(at)
    program.bind(fax.name, at)
    program.wait_until(lambda: subjects(endpoint.mails) == ["held"], "the held mail", SOON)
    program.lanpost("chart", "remove", fax.name)
    with program.smtp() as client:
        client.ehlo()
        client.mail("anna@office.lan")
        code, text = client.rcpt(fax.address)
    assert (code, text[:5]) == (550, b"5.1.1")


def test_mail_for_a_terminal_that_is_removed_is_not_kept_for_ever(program: Program) -> None:
    fax = Enrolled.new(program)
    send(program, fax.address, "held")
    assert waiting(fax)
    program.lanpost("terminal", "remove", fax.name)
    program.lanpost("queue", "retry")
    program.wait_until(lambda: not waiting(fax), "its end", SOON)
