"""Endpoints that stall, drop, refuse or move, before the whole program: nothing is lost, nothing comes twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.program import Program
from tests.sessions.scripted_endpoint import CLOSE, DROP, PLAIN, ScriptedEndpoint
from tests.terminals import Terminals, subjects

from lanpost.app.queue_access import QueueAccess

CUT_THROUGH_TIMEOUT = 0.5  # seconds
SLACK = 2.0  # seconds that a busy machine may take for what takes milliseconds
SENDER = "anna@office.lan"
# Closing amid the content is a reset too, since octets are left unread.
LOSSES = [(verb, how) for verb in ("greeting", "EHLO", "MAIL", "RCPT", "DATA") for how in (DROP, CLOSE)]
LOSSES.append(("amid", DROP))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    settings = {
        "delivery": {
            "cut_through_timeout": f"{CUT_THROUGH_TIMEOUT:g}s",
            "connect_timeout": "1s",
            "first_retry": "100ms",
            "last_retry": "300ms",
        }
    }
    with Program(tmp_path_factory.mktemp("endpoints"), settings) as running:
        yield running


def send(program: Program, subject: str, *to: str, sender: str = SENDER, size: int = 0) -> float:
    """Hand a mail in. Seconds from the first command to the 250."""
    content = (
        f"From: {SENDER}\r\nSubject: {subject}\r\n\r\n" + "x" * 70 + "\r\n" + ("y" * 98 + "\r\n") * (size // 100)
    )
    began = time.monotonic()
    with program.smtp() as client:
        refused = client.sendmail(sender, list(to), content)
    assert not refused
    return time.monotonic() - began


def queued(program: Program, name: str) -> list[dict[str, Any]]:
    """The waiting mails for one address."""
    address = f"{name}@office.lan"
    return [
        mail
        for mail in QueueAccess(program.folder / "data").mails()
        if any(each["address"] == address for each in mail["recipients"])
    ]


@pytest.mark.parametrize("verb", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content"])
def test_a_stall_costs_the_sender_the_timeout_and_makes_no_second_copy(
    program: Program, terminals: Terminals, verb: str
) -> None:
    name, at = program.new_name(), program.new_endpoint()
    program.bind(name, at)
    stalls = terminals.listen(at, ScriptedEndpoint(offers=PLAIN, waits_at=verb))
    took = send(program, "slow", f"{name}@office.lan")
    assert took < CUT_THROUGH_TIMEOUT + SLACK
    assert took > CUT_THROUGH_TIMEOUT / 2
    assert queued(program, name)
    terminals.let_go(stalls)
    program.wait_until(lambda: not queued(program, name), "an empty queue")
    assert subjects(stalls.mails) == ["slow"]
    # One that is sent after it overtakes no second copy of the first.
    send(program, "next", f"{name}@office.lan")
    program.wait_until(lambda: len(stalls.mails) >= 2, "the second mail")
    assert subjects(stalls.mails) == ["slow", "next"]


@pytest.mark.parametrize("size", [0, 500_000])
@pytest.mark.parametrize(("verb", "how"), LOSSES)
def test_a_connection_lost_is_made_good(
    program: Program, terminals: Terminals, verb: str, how: bytes, size: int
) -> None:
    name, at = program.new_name(), program.new_endpoint()
    program.bind(name, at)
    endpoint = ScriptedEndpoint(offers=PLAIN)
    if verb == "amid":
        endpoint.answers["amid"] = how

    def fail_once(asked: str, connection: int) -> bytes | None:
        if connection > 1:
            endpoint.answers.pop("amid", None)
        return how if asked == verb and connection == 1 else None

    endpoint.decide = fail_once
    terminals.listen(at, endpoint)
    assert send(program, "once", f"{name}@office.lan", size=size) < CUT_THROUGH_TIMEOUT + SLACK
    program.wait_until(lambda: len(endpoint.mails) >= 1 and not queued(program, name), "delivery")
    assert subjects(endpoint.mails) == ["once"]
    assert endpoint.connections >= 2
    assert len(endpoint.mails[0].content) > size


@pytest.mark.parametrize("verb", ["greeting", "MAIL", "RCPT", "DATA", "content"])
def test_a_temporary_refusal_of_any_command_is_tried_again(
    program: Program, terminals: Terminals, verb: str
) -> None:
    name, at = program.new_name(), program.new_endpoint()
    program.bind(name, at)
    answers = {verb: b"451 4.3.0 not now" if verb != "greeting" else b"421 4.3.0 not now"}
    endpoint = terminals.listen(at, ScriptedEndpoint(decide=lambda asked, _: answers.get(asked)))
    send(program, "patience", f"{name}@office.lan")
    (waiting,) = queued(program, name)
    assert "not now" in str(waiting["recipients"])
    answers.clear()
    program.wait_until(lambda: len(endpoint.mails) >= 1 and not queued(program, name), "delivery")
    assert subjects(endpoint.mails) == ["patience"]


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "content"])
def test_a_refusal_for_good_is_the_senders_answer(program: Program, terminals: Terminals, verb: str) -> None:
    """It still has the mail: it is told at once, and nobody needs a report."""
    name, at = program.new_name(), program.new_endpoint()
    program.bind(name, at)
    terminals.listen(at, ScriptedEndpoint(answers={verb: b"554 5.7.0 never"}))
    with program.smtp() as client:
        client.ehlo()
        assert client.mail(SENDER)[0] == 250
        assert client.rcpt(f"{name}@office.lan")[0] == 250
        code, text = client.data("Subject: x\r\n\r\nx\r\n")
    assert code == 554
    assert b"never" in text
    assert not queued(program, name)


def test_a_terminal_that_is_off_gets_its_mail_when_it_is_on(program: Program, terminals: Terminals) -> None:
    name, at = program.new_name(), program.new_endpoint()
    program.bind(name, at)
    assert send(program, "later", f"{name}@office.lan") < SLACK
    (waiting,) = queued(program, name)
    assert "refused" in str(waiting["recipients"])
    endpoint = terminals.listen(at)
    program.wait_until(lambda: subjects(endpoint.mails) == ["later"], "delivery")


def test_mail_follows_a_terminal_that_moves_while_we_talk_to_its_old_address(
    program: Program, terminals: Terminals
) -> None:
    name, old, new = program.new_name(), program.new_endpoint(), program.new_endpoint()
    program.bind(name, old)
    # Somebody else has the old address by now, and never answers.
    stranger = terminals.listen(old, ScriptedEndpoint(offers=PLAIN, waits_at="DATA"))
    send(program, "moved", f"{name}@office.lan")
    program.wait_until(lambda: b"DATA" in stranger.commands, "the try at the old address")
    moved = terminals.listen(new)
    program.bind(name, new)
    program.wait_until(lambda: len(moved.mails) >= 1 and not queued(program, name), "the mail at the new address")
    assert subjects(moved.mails) == ["moved"]
    terminals.let_go(stranger)
    program.wait_until(lambda: stranger.open == 0, "the end of the talk with the stranger")
    assert stranger.mails == []


def test_a_dead_and_a_stalled_endpoint_delay_nobody_else(program: Program, terminals: Terminals) -> None:
    names = [program.new_name() for _ in range(3)]
    places = [program.new_endpoint() for _ in names]
    for name, at in zip(names, places, strict=True):
        program.bind(name, at)
    dead, stalled, alive = (f"{name}@office.lan" for name in names)
    stalls = terminals.listen(places[1], ScriptedEndpoint(waits_at="content"))
    lives = terminals.listen(places[2])
    senders = []
    try:
        for number in range(30):
            send(program, f"dead {number}", dead)
            client = program.smtp()
            client.ehlo()
            client.mail(SENDER)
            client.rcpt(stalled)
            client.putcmd("DATA")
            assert client.getreply()[0] == 354
            client.send(b"Subject: stalled %d\r\n\r\nx\r\n.\r\n" % number)  # its answer waits for the timeout
            senders.append(client)
        # The stalled ones fill their endpoint's connections by now, the dead ones are tried again and again.
        slowest = max(send(program, f"alive {number}", alive) for number in range(20))
        assert slowest < SLACK
        assert not queued(program, names[2])
        assert subjects(lives.mails) == [f"alive {number}" for number in range(20)]
        assert all(client.getreply()[0] == 250 for client in senders)
    finally:
        for client in senders:
            client.close()
    assert len(queued(program, names[0])) == 30
    terminals.let_go(stalls)
    returns = terminals.listen(places[0])
    program.wait_until(lambda: not queued(program, names[0]) and not queued(program, names[1]), "an empty queue")
    assert sorted(subjects(returns.mails)) == sorted(f"dead {number}" for number in range(30))
    assert sorted(subjects(stalls.mails)) == sorted(f"stalled {number}" for number in range(30))
