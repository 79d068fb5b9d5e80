"""The whole program killed under load again and again: no mail that was answered 250 is lost."""

from __future__ import annotations

import itertools
import mailbox
import smtplib
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.program import Program
from tests.sessions.scripted_endpoint import DROP, ScriptedEndpoint
from tests.terminals import Terminals, subjects

from lanpost.app.queue_access import QueueAccess

ROUNDS = 8
MAILS_PER_ROUND = 60  # answered ones, after which it is killed
SENDERS = 2  # for each recipient
SETTINGS = {
    "delivery": {"cut_through_timeout": "300ms", "first_retry": "50ms", "last_retry": "300ms"},
    "log": {"level": "warning"},
}


@dataclass
class Load:
    """Senders that never rest. A mail is `begun` before its first octet, `answered` once its 250 is read."""

    program: Program
    names: Sequence[str]
    begun: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    enough: threading.Event = field(default_factory=threading.Event)
    progress: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._threads = [
            threading.Thread(target=self._send, args=(name,)) for name in self.names for _ in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        with self.progress:
            assert self.progress.wait_for(lambda: len(self.answered) >= count, 60), self.program.log()[-4000:]

    def stop(self) -> None:
        self.enough.set()
        for thread in self._threads:
            thread.join(60)

    def _send(self, name: str) -> None:
        while not self.enough.is_set():
            try:
                with self.program.smtp() as client:
                    client.ehlo()
                    while not self.enough.is_set():
                        self._send_one(client, name)
            except (OSError, smtplib.SMTPException):
                self.enough.wait(0.02)  # it has been killed: until it is there again

    def _send_one(self, client: smtplib.SMTP, name: str) -> None:
        subject = f"{name}-{next(self._numbers)}"
        self.begun.add(subject)
        content = f"From: anna@office.lan\r\nSubject: {subject}\r\n\r\n" + f"{subject}\r\n" * 100
        client.sendmail("anna@office.lan", f"{name}@office.lan", content)
        with self.progress:
            self.answered.add(subject)
            self.progress.notify_all()


@pytest.mark.parametrize("workers", [1, 3])
def test_killed_under_load_again_and_again(tmp_path: Path, terminals: Terminals, workers: int) -> None:
    program = Program(tmp_path, SETTINGS | {"workers": workers})
    live, moody, held = (program.new_endpoint() for _ in range(3))
    endpoint = terminals.listen(live)
    # Every second connection is lost before a word.
    grudging = terminals.listen(
        moody, ScriptedEndpoint(decide=lambda verb, number: DROP if verb == "greeting" and number % 2 else None)
    )
    with program:
        program.bind("live", live)
        program.bind("moody", moody)
        program.lanpost("terminal", "add", "held")
        program.add_user("bert", "long enough a secret")
        load = Load(program, ("live", "moody", "held", "bert"))
        try:
            for number in range(1, ROUNDS + 1):
                load.wait_for(number * MAILS_PER_ROUND)
                program.kill()
                program.start()
        finally:
            load.stop()
        # There are those at least for the terminal that is not there.
        assert len(list(QueueAccess(tmp_path / "data").mails())) > ROUNDS
        registers = terminals.listen(held)
        program.bind("held", held)
        program.wait_until(lambda: not list(QueueAccess(tmp_path / "data").mails()), "an empty queue", 60)
    bert = mailbox.Maildir(tmp_path / "data/mailboxes/bert@office.lan", create=False)
    arrived = Counter(
        [
            *subjects(endpoint.mails),
            *subjects(grudging.mails),
            *subjects(registers.mails),
            *(str(mail["Subject"]) for mail in bert),
        ]
    )
    assert load.answered - set(arrived) == set(), "mails that were answered 250 and lost"
    assert set(arrived) <= load.begun
    for mail in [*endpoint.mails, *grudging.mails, *registers.mails]:
        (subject,) = subjects([mail])
        assert mail.content.partition(b"\r\n\r\n")[2] == f"{subject}\r\n".encode() * 100
    # A second copy is what a kill between an endpoint's 250 and our record of it leaves, of mail under way then.
    assert arrived.total() - len(arrived) <= ROUNDS * len(load.names) * SENDERS
