"""Delivers mails as fast as it can and prints each one's number once it is durable; killed by its parent.

python maildir_child.py FOLDER FIRST_NUMBER
"""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from concurrent.futures import Future
from pathlib import Path

from lanpost.model.address import MailAddress
from lanpost.store.maildir import MaildirMailboxes

ADDRESSES = [MailAddress.parse(f"{name}@office.lan") for name in ("anna", "otto")]
IN_FLIGHT = 8


def content(number: int) -> list[bytes]:
    """A mail of a length that depends on its number, in several chunks, which proves itself to be whole."""
    text = b"".join(b"line %d of mail %d\r\n" % (line, number) for line in range(number % 97 * 20))
    head = b"Number: %d\r\nSHA-256: %s\r\n\r\n" % (number, hashlib.sha256(text).hexdigest().encode())
    return [head, *(text[start : start + 1000] for start in range(0, len(text), 1000))]


def number_of(mail: bytes) -> int:
    """The number of a whole mail. Raises AssertionError for one that is torn."""
    head, blank, text = mail.partition(b"\r\n\r\n")
    assert blank, f"torn in its header: {mail!r}"
    number, digest = (line.partition(b": ")[2] for line in head.split(b"\r\n"))
    assert hashlib.sha256(text).hexdigest().encode() == digest, f"mail {number!r} is torn"
    return int(number)


def main(folder: Path, first: int) -> None:
    mailboxes = MaildirMailboxes(folder, domain="office.lan", quota=10**9, warning=90)
    waiting: list[tuple[int, Future[None]]] = []
    for number in itertools.count(first):
        address = ADDRESSES[number % len(ADDRESSES)]
        mailboxes.create(address)
        waiting.append((number, mailboxes.deliver(address, content(number))))
        if len(waiting) >= IN_FLIGHT:
            done, future = waiting.pop(0)
            future.result(60)
            os.write(1, b"%d\n" % done)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
