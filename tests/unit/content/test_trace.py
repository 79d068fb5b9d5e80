from __future__ import annotations

import email
from datetime import UTC, datetime
from itertools import islice

from lanpost.content import trace
from lanpost.model.address import MailAddress
from lanpost.model.envelope import Client

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


def test_received_says_who_by_whom_how_and_when() -> None:
    client = Client("10.0.0.9", 4000, hello="printer", extended=True, tls="TLSv1.3", login="anna@office.lan")
    field = trace.received(client, "post", "id1", NOW, recipient="fax1@office.lan")
    parsed = email.message_from_bytes(field + b"\r\n")["Received"]
    assert " ".join(parsed.split()) == (
        "from printer ([10.0.0.9]) by post with ESMTPSA id id1 "
        "for <fax1@office.lan>; Mon, 23 Nov 2026 20:00:00 +0000"
    )


def test_received_names_plain_smtp_and_ipv6() -> None:
    field = trace.received(Client("2001:db8::9", 1, hello="x"), "post", "id1", NOW)
    assert b"from x ([IPv6:2001:db8::9])" in field
    assert b" with SMTP id " in field
    assert b" for " not in field


def test_a_hostile_hello_cannot_add_a_header_field() -> None:
    field = trace.received(Client("10.0.0.9", 1, hello="x\r\nBcc: y (z)"), "post", "id1", NOW)
    assert list(email.message_from_bytes(field + b"\r\n").keys()) == ["Received"]


def test_ids_differ_between_workers_starts_and_mails() -> None:
    ids = [
        *islice(trace.mail_ids(0, NOW), 50),
        *islice(trace.mail_ids(1, NOW), 50),
        *islice(trace.mail_ids(0, NOW.replace(microsecond=1)), 50),
    ]
    assert len(set(ids)) == 150


def test_an_id_tells_its_worker() -> None:
    for worker in (0, 1, 33, 34, 255):
        assert trace.worker_of(next(trace.mail_ids(worker, NOW))) == worker
    assert trace.worker_of("not an id") == 0


def test_return_path_of_a_null_sender_is_empty() -> None:
    assert trace.return_path(None) == b"Return-Path: <>\r\n"
    assert trace.return_path(MailAddress.parse("a@b")) == b"Return-Path: <a@b>\r\n"


def test_hops_are_counted_in_the_header_section_only() -> None:
    head = b"Received: a\r\nreceived: b\r\nX-Received: c\r\nSubject: d\r\n\r\nReceived: e\r\nReceived: f\r\n"
    assert trace.hops(head) == 2
