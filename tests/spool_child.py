"""A process that spools as fast as it can until it is killed; prints what it was promised. Run by the kill test.

`python spool_child.py FOLDER ROUND`: prints `+id` once a put is done, `-id` before it removes.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from lanpost.model.address import MailAddress
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.queued import QueuedMail, QueuedRecipient
from lanpost.store import spool_folder
from lanpost.store.spool import JournalSpool


def content_of(mail_id: str) -> bytes:
    """What that mail must hold: decided by its id alone."""
    return (f"Subject: {mail_id}\r\n\r\n{mail_id}\r\n").encode() * (1 + sum(mail_id.encode()) % 300)


def mail_of(mail_id: str) -> QueuedMail:
    who = Recipient(MailAddress.parse("fax1@office.lan"), frozenset({"FAILURE"}), "rfc822;fax1@office.lan")
    envelope = Envelope(MailAddress.parse("a@office.lan"), (who,), body_8bit=True, envid="x+2By", ret="HDRS")
    return QueuedMail(mail_id, envelope, 1000.0, len(content_of(mail_id)), (QueuedRecipient(who),))


def main() -> None:
    spool_folder.SEGMENT_OCTETS = 100_000
    spool_folder.TIDY_SECONDS = 0.0
    spool = JournalSpool(Path(sys.argv[1]))
    chance = random.Random(sys.argv[2])
    under_way: deque[tuple[str, Future[None]]] = deque()
    done = [mail.id for mail in spool.mails()]
    for number in range(1_000_000):
        mail_id = f"{sys.argv[2]}-{number}"
        text = content_of(mail_id)
        middle = len(text) // 2
        under_way.append((mail_id, spool.put(mail_of(mail_id), [text[:middle], text[middle:]])))
        while under_way and (under_way[0][1].done() or len(under_way) > 20):
            ready, future = under_way.popleft()
            future.result()
            done.append(ready)
            sys.stdout.write(f"+{ready}\n")
        sys.stdout.flush()
        while len(done) > 40:
            gone = done.pop(chance.randrange(len(done)))
            if known := spool.get(gone):
                spool.update(replace(known, frozen=True))
            sys.stdout.write(f"-{gone}\n")
            sys.stdout.flush()
            spool.remove(gone)


if __name__ == "__main__":
    main()
