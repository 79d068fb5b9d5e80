"""What a mailbox holds after its process was killed in the middle of deliveries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import maildir_child

import lanpost
from lanpost.store.maildir import MaildirMailboxes

ROUNDS = 4
MAILS_BEFORE_THE_KILL = 60


def test_every_mail_reported_done_is_there_whole_and_none_is_torn(tmp_path: Path) -> None:
    folder = tmp_path / "mailboxes"
    source = Path(lanpost.__file__).parent.parent
    paths = os.pathsep.join([str(source), str(Path(maildir_child.__file__).parent.parent)])
    reported: set[int] = set()
    for turn in range(ROUNDS):
        command = [sys.executable, "-m", "tests.maildir_child", str(folder), str(turn * 1_000_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as child:
            assert child.stdout is not None
            for count, line in enumerate(child.stdout, 1):
                reported.add(int(line))
                if count == MAILS_BEFORE_THE_KILL + 13 * turn:
                    child.kill()
                    break
            reported.update(int(line) for line in child.stdout if line.endswith(b"\n"))
        assert child.returncode == -9

    found: list[int] = []
    mailboxes = MaildirMailboxes(folder, domain="office.lan", quota=10**9, warning=90)
    try:
        for address in maildir_child.ADDRESSES:
            session = mailboxes.open_session(address)
            for index, size in enumerate(session.sizes()):
                mail = b"".join(session.chunks(index))
                assert len(mail) == size
                found.append(maildir_child.number_of(mail))
            session.close()
    finally:
        mailboxes.close()
    assert reported <= set(found)
    assert len(found) == len(set(found))
