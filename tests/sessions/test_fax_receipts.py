"""Waiting for receipts ends when all have come or time is up, wherever they arrive."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.pop3_running import PASSWORD, running_pop3

from lanpost.app.config import parse
from lanpost.app.fax_receipts import Maildir, mails_of, wait_for_receipts
from lanpost.content.fax.receipt import Receipt
from lanpost.errors import ConfigurationError
from lanpost.model.address import MailAddress
from lanpost.model.endpoint import Endpoint
from lanpost.net.pop3_client import MailboxUnreachable, Pop3Mailbox

FAX1, FAX2 = (MailAddress.parse(f"fax{number}@office.lan") for number in (1, 2))
IDS = ("fax-1", "<1@office.lan>")


def dsn(address: MailAddress, action: str = "delivered") -> bytes:
    return (
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n--b\n'
        "Content-Type: message/delivery-status\n\nOriginal-Envelope-Id: fax-1\n\n"
        f"Final-Recipient: rfc822;{address}\nAction: {action}\nStatus: 2.0.0\n\n--b--\n"
    ).encode()


class Mailbox:
    """Gives what it is told to, one list a look; then nothing more."""

    def __init__(self, *looks: list[bytes] | MailboxUnreachable) -> None:
        self.looks = list(looks)

    def new_mails(self) -> list[bytes]:
        look = self.looks.pop(0) if self.looks else []
        if isinstance(look, MailboxUnreachable):
            raise look
        return look


async def test_it_ends_when_there_is_one_for_each_recipient_and_a_delay_is_none_yet() -> None:
    told: list[Receipt] = []
    mailbox = Mailbox(
        [dsn(FAX1)], MailboxUnreachable("busy"), [dsn(FAX2, "delayed")], [b"Subject: x\n\n", dsn(FAX2)]
    )
    assert await wait_for_receipts(mailbox, [FAX1, FAX2], IDS, 30, told.append)
    assert [receipt.final for receipt in told] == [True, False, True]
    assert mailbox.looks == []


async def test_it_ends_when_time_is_up_and_says_so() -> None:
    async with asyncio.timeout(10):
        assert not await wait_for_receipts(Mailbox([dsn(FAX1)]), [FAX1, FAX2], IDS, 0.5, lambda _: None)


async def test_a_wrong_password_is_not_tried_again() -> None:
    mailbox = Mailbox(MailboxUnreachable("may not log in", for_good=True))
    with pytest.raises(MailboxUnreachable, match="may not log in"):
        await wait_for_receipts(mailbox, [FAX1], IDS, 30, lambda _: None)


def test_a_maildir_gives_each_mail_once_also_when_it_is_read_meanwhile(tmp_path: Path) -> None:
    for name in ("new", "cur"):
        (tmp_path / name).mkdir()
    maildir = Maildir(tmp_path, datetime.now(UTC))
    (tmp_path / "new" / "1").write_bytes(b"one")
    assert maildir.new_mails() == [b"one"]
    (tmp_path / "new" / "1").rename(tmp_path / "cur" / "1:2,S")
    (tmp_path / "new" / "2").write_bytes(b"two")
    assert maildir.new_mails() == [b"two"]


def test_mail_from_before_the_fax_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "1").write_bytes(b"old")
    assert Maildir(tmp_path, datetime(2099, 1, 1, tzinfo=UTC)).new_mails() == []


def test_where_receipts_arrive_is_the_mailbox_or_the_terminal_s_own_maildir(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    file = tmp_path / "lanpost.toml"
    terminal = parse('[agent]\nreceive = "mail"\n', file)
    person = parse('[fax]\npop3 = "10.0.0.2"\n', file)
    assert isinstance(mails_of(terminal, str(FAX1), "", "", now), Maildir)
    mailbox = mails_of(person, str(FAX1), "", "secret", now)
    assert isinstance(mailbox, Pop3Mailbox)
    assert mailbox.endpoint == Endpoint.parse("10.0.0.2:110")
    with pytest.raises(ConfigurationError, match="--pop3"):
        mails_of(parse("", file), str(FAX1), "", "", now)


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), ("no PEM", "no certificate in PEM")])
def test_a_file_of_authorities_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    settings = parse(f'data = "{tmp_path}"\n[fax]\nca_file = "ca.pem"\npop3 = "10.0.0.2"\n', tmp_path / "toml")
    with pytest.raises(ConfigurationError, match=told):
        mails_of(settings, "anna", "", "secret", datetime.now(UTC))


def test_our_own_mailboxes_are_looked_into_by_tls(tmp_path: Path) -> None:
    with running_pop3(tmp_path, plaintext=False) as server:
        server.put(b"Subject: one\r\n\r\nHello\r\n")
        trust = ssl.create_default_context(cafile=server.ca_file)
        mailbox = Pop3Mailbox(Endpoint.of("127.0.0.1", server.port), "anna", PASSWORD, trust)
        assert mailbox.new_mails() == [b"Subject: one\r\n\r\nHello"]
