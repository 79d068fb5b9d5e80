"""Mail ids, `Received:` and `Return-Path:` lines, and how many hops a mail has behind it (RFC 5321 §4.4, §6.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from lanpost.model.address import MailAddress
from lanpost.model.envelope import Client

MAX_HOPS = 100  # "at least 100" (RFC 5321 §6.3)
MAX_HEADER_SCANNED = 256 * 1024  # octets; a loop shows itself well before

_ALPHABET = "0123456789abcdefghijkmnpqrstuvwxyz"  # no l and o: ids are read aloud
_UNSAFE = re.compile(r"[^\x21-\x27\x2a-\x5b\x5d-\x7e]")


def mail_ids(worker: int, started: datetime) -> Iterator[str]:
    """Ids that never repeat on one machine: seconds of the start, the worker, a count.

    Two starts within one second by one worker cannot be: the spool is locked by one process at a time, and
    microseconds are counted.
    """
    prefix = _base34(int(started.timestamp() * 1_000_000))
    number = 0
    while True:
        number += 1
        yield f"{prefix}-{_base34(worker)}-{_base34(number)}"


def worker_of(mail_id: str) -> int:
    """Which worker gave this id; 0 for whatever is no id of ours."""
    _, _, rest = mail_id.partition("-")
    number = 0
    for digit in rest.partition("-")[0]:
        number = number * len(_ALPHABET) + max(0, _ALPHABET.find(digit))
    return number


def _base34(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
        if not number:
            return digits


def received(
    client: Client, hostname: str, mail_id: str, now: datetime, *, smtputf8: bool = False, recipient: str = ""
) -> bytes:
    """The `Received:` field that every mail gets here (RFC 5321 §4.4, RFC 3848, RFC 6531 §3.7.3).

    `recipient` is named only when there is one: more would show blind copies.
    """
    literal = f"IPv6:{client.host}" if ":" in client.host else client.host
    hello = _UNSAFE.sub("?", client.hello)[:255] or "unknown"
    if not client.extended:
        protocol = "SMTP"
    else:
        protocol = (
            ("UTF8SMTP" if smtputf8 else "ESMTP") + ("S" if client.tls else "") + ("A" if client.login else "")
        )
    for_whom = f"\r\n\tfor <{recipient}>" if recipient else ""
    return (
        f"Received: from {hello} ([{literal}])\r\n\tby {hostname} with {protocol} id {mail_id}{for_whom};"
        f"\r\n\t{_date(now.replace(microsecond=0))}\r\n"
    ).encode()


@lru_cache(maxsize=2)  # many mails come in one second
def _date(second: datetime) -> str:
    return format_datetime(second)


def return_path(sender: MailAddress | None) -> bytes:
    """The `Return-Path:` line that final delivery puts on top (RFC 5321 §4.4)."""
    return f"Return-Path: <{sender or ''}>\r\n".encode()


def hops(head: bytes) -> int:
    """How many `Received:` fields the header section at the start of `head` holds."""
    end = head.find(b"\r\n\r\n", 0, MAX_HEADER_SCANNED)
    header = head[: end if end >= 0 else MAX_HEADER_SCANNED].lower()
    return header.count(b"\r\nreceived:") + header.startswith(b"received:")
