"""The foreign servers themselves: if one of these fails, no test that uses them says anything about us."""

from __future__ import annotations

import smtplib
from pathlib import Path

import pytest
from bench.processes import free_port
from tests.mail_servers import EximServer, MailServer, PostfixServer

pytestmark = pytest.mark.peer
MAIL = "From: <a@office.lan>\r\nTo: <fax1@office.lan>\r\nSubject: one\r\n\r\n.dot\r\n"


@pytest.mark.parametrize("kind", [PostfixServer, EximServer])
def test_it_takes_a_mail_and_keeps_it(kind: type[MailServer], tmp_path: Path) -> None:
    with kind(tmp_path / "server", "127.0.0.1", free_port()) as server:
        with smtplib.SMTP(server.host, server.port) as client:
            client.sendmail("a@office.lan", ["fax1@office.lan"], MAIL)
        (mail,) = server.wait_for_mail(1)
        assert mail["Subject"] == "one"
        assert mail.get_payload() == ".dot\n"
        assert mail["Return-Path"] == "<a@office.lan>"


@pytest.mark.parametrize("kind", [PostfixServer, EximServer])
def test_it_relays_to_an_address_without_dns(kind: type[MailServer], tmp_path: Path) -> None:
    keeper: type[MailServer] = PostfixServer if kind is EximServer else EximServer
    with (
        keeper(tmp_path / "keeper", "127.0.0.1", free_port()) as last,
        kind(tmp_path / "relay", "127.0.0.1", free_port(), relay=(last.host, last.port)) as first,
    ):
        with smtplib.SMTP(first.host, first.port) as client:
            client.sendmail("a@office.lan", ["fax1@office.lan"], MAIL)
        (mail,) = last.wait_for_mail(1)
        assert mail["Subject"] == "one"
