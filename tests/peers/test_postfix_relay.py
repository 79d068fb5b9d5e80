"""The whole program between foreign mail servers, which relay into it and take from it: by IP, without DNS."""

from __future__ import annotations

import os
import smtplib
from pathlib import Path

import pytest
from bench.processes import free_port
from tests.mail_servers import EximServer, MailServer, PostfixServer
from tests.program import DOMAIN, HOST, Program

pytestmark = pytest.mark.peer
SENDER = f"anna@{DOMAIN}"
SERVERS = pytest.mark.parametrize("kind", [PostfixServer, EximServer])


def mail(to: str, subject: str, body: str = "one\r\n.dot\r\n") -> str:
    return f"From: <{SENDER}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\n{body}"


@SERVERS
def test_a_foreign_server_is_an_endpoint(kind: type[MailServer], program: Program, tmp_path: Path) -> None:
    address = f"{program.new_name()}@{DOMAIN}"
    host, port = program.new_endpoint()
    with kind(tmp_path / "endpoint", host, port) as endpoint:
        program.bind(address, (host, port))
        with program.smtp() as client:
            client.sendmail(SENDER, [address], mail(address, "first"))
            client.sendmail(SENDER, [address], mail(address, "second"))
        arrived = endpoint.wait_for_mail(2)
    assert sorted(item["Subject"] for item in arrived) == ["first", "second"]
    assert {item.get_payload() for item in arrived} == {"one\n.dot\n"}
    assert {item["Return-Path"] for item in arrived} == {f"<{SENDER}>"}
    assert all(f"by post.{DOMAIN}" in " ".join(item.get_all("Received", [])) for item in arrived)


@SERVERS
def test_a_foreign_server_relays_into_it(kind: type[MailServer], program: Program, tmp_path: Path) -> None:
    address = f"{program.new_name()}@{DOMAIN}"
    host, port = program.new_endpoint()
    keeper: type[MailServer] = PostfixServer if kind is EximServer else EximServer
    relay = (HOST, program.ports["smtp"])
    with (
        keeper(tmp_path / "endpoint", host, port) as endpoint,
        kind(tmp_path / "relay", HOST, free_port(), relay=relay) as sender,
    ):
        program.bind(address, (host, port))
        with smtplib.SMTP(sender.host, sender.port) as client:
            for number in range(20):
                client.sendmail(SENDER, [address], mail(address, f"number {number}"))
        arrived = endpoint.wait_for_mail(20)
    assert sorted(str(item["Subject"]) for item in arrived) == sorted(f"number {number}" for number in range(20))


@SERVERS
def test_a_relay_is_told_at_once_that_nobody_has_the_address(
    kind: type[MailServer], program: Program, tmp_path: Path
) -> None:
    with kind(tmp_path / "relay", HOST, free_port(), relay=(HOST, program.ports["smtp"])) as sender:
        with smtplib.SMTP(sender.host, sender.port) as client:
            client.sendmail(SENDER, [f"nobody@{DOMAIN}"], mail(f"nobody@{DOMAIN}", "lost"))
        program.wait_until(lambda: "5.1.1" in sender.log(), "the relay to log 550 5.1.1")


@SERVERS
def test_mail_waits_for_a_server_that_is_down_and_goes_when_it_is_back(
    kind: type[MailServer], program: Program, tmp_path: Path
) -> None:
    address = f"{program.new_name()}@{DOMAIN}"
    host, port = program.new_endpoint()
    program.bind(address, (host, port))
    with program.smtp() as client:
        client.sendmail(SENDER, [address], mail(address, "patient"))
    with kind(tmp_path / "endpoint", host, port) as endpoint:
        (arrived,) = endpoint.wait_for_mail(1)
    assert arrived["Subject"] == "patient"


@SERVERS
def test_a_large_mail_arrives_octet_by_octet(kind: type[MailServer], program: Program, tmp_path: Path) -> None:
    address = f"{program.new_name()}@{DOMAIN}"
    host, port = program.new_endpoint()
    body = "".join(f".{line.hex()}\r\n" for line in (os.urandom(30) for _ in range(80_000)))
    with kind(tmp_path / "endpoint", host, port) as endpoint:
        program.bind(address, (host, port))
        with program.smtp() as client:
            client.sendmail(SENDER, [address], mail(address, "large", body))
        (arrived,) = endpoint.wait_for_mail(1)
    assert arrived.get_payload() == body.replace("\r\n", "\n")
