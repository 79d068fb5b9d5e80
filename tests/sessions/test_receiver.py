"""Mail taken on a terminal, handed in by smtplib."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lanpost.app.receiver import ReceivingService, start_receiver
from lanpost.app.setting_values import Listen
from lanpost.app.settings import Agent, Limits, Settings
from lanpost.errors import ConfigurationError
from lanpost.model.address import MailAddress

FAX = MailAddress.parse("Fax1@Office.lan")


def settings_in(folder: Path) -> Settings:
    agent = replace(Agent(), receive="mail", listen=(Listen("127.0.0.1", 0),))
    return Settings(data=folder, hostname="fax1.test", agent=agent, limits=replace(Limits(), free_disk=1))


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ReceivingService]:
    running = await start_receiver(settings_in(tmp_path), FAX, tmp_path)
    yield running
    await running.stop()


def hand_in(
    port: int, recipient: str, text: bytes, sender: str = "anna@office.lan"
) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="sender.test", timeout=10) as client:
        return client.sendmail(sender, [recipient], text)


@pytest.mark.parametrize("recipient", ["fax1@office.lan", "FAX1@OFFICE.LAN", "fax1"])
async def test_mail_for_this_terminal_is_in_its_maildir_when_it_is_answered(
    service: ReceivingService, tmp_path: Path, recipient: str
) -> None:
    text = b"Subject: page 1\r\n\r\n.a line with a dot\r\n"
    assert await asyncio.to_thread(hand_in, service.ports[0], recipient, text) == {}
    (file,) = (tmp_path / "mail" / "new").iterdir()
    found = file.read_bytes()
    assert found.startswith(
        b"Return-Path: <anna@office.lan>\nReceived: from sender.test ([127.0.0.1])\n\tby fax1.test"
    )
    assert found.endswith(b"Subject: page 1\n\n.a line with a dot\n")


@pytest.mark.parametrize(
    ("address", "reply"),
    [
        # It may have this machine's IP address in a chart, or this terminal its name and not know that yet.
        ("fax2@office.lan", (450, b"4.1.1")),
        ("fax1@example.net", (550, b"5.1.1")),
    ],
)
async def test_mail_for_anybody_else_is_not_taken(
    service: ReceivingService, tmp_path: Path, address: str, reply: tuple[int, bytes]
) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        await asyncio.to_thread(hand_in, service.ports[0], address, b"x\r\n")
    code, text = refused.value.recipients[address]
    assert (code, text[:5]) == reply
    assert list((tmp_path / "mail" / "new").iterdir()) == []


async def test_large_mail_arrives_whole(service: ReceivingService, tmp_path: Path) -> None:
    text = b"Subject: many pages\r\n\r\n" + b"0123456789abcdef" * 4 + b"\r\n"
    text += (b"x" * 70 + b"\r\n") * 40_000
    await asyncio.to_thread(hand_in, service.ports[0], "fax1", text)
    (file,) = (tmp_path / "mail" / "new").iterdir()
    assert file.read_bytes().endswith(text.replace(b"\r\n", b"\n"))


async def test_without_room_the_sender_is_asked_to_come_again(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    running = await start_receiver(
        replace(settings, limits=replace(settings.limits, free_disk=1 << 60)), FAX, tmp_path
    )
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        await asyncio.to_thread(hand_in, running.ports[0], "fax1", b"x\r\n")
    assert refused.value.smtp_code == 452
    await running.stop()


async def test_a_port_that_is_taken_is_told_with_the_remedy(service: ReceivingService, tmp_path: Path) -> None:
    taken = Listen("127.0.0.1", service.ports[0])
    settings = settings_in(tmp_path / "second")
    with pytest.raises(ConfigurationError, match=r"\[agent\] listen"):
        await start_receiver(replace(settings, agent=replace(settings.agent, listen=(taken,))), FAX, tmp_path)


async def test_it_listens_everywhere_when_nothing_is_said(tmp_path: Path) -> None:
    with_port = replace(settings_in(tmp_path).agent, listen=(), port=0)
    running = await start_receiver(replace(settings_in(tmp_path), agent=with_port), FAX, tmp_path)
    assert await asyncio.to_thread(hand_in, running.ports[0], "fax1", b"x\r\n") == {}
    await running.stop()
