"""Foreign software that sends faxes to the receiving fax machine: swaks, and Postfix as a mail server between."""

from __future__ import annotations

import asyncio
import email
import shutil
import smtplib
from pathlib import Path

import pytest
from bench.processes import free_port
from tests.fax_receiving import ANNA, FAX, Machine, mail_of, page_of, receiving, tiff_of
from tests.mail_servers import PostfixServer, wait_until

from lanpost.content.fax.reading import read_pages

pytestmark = pytest.mark.peer


async def swaks(machine: Machine, *options: str) -> str:
    """What it printed: the whole session."""
    if not shutil.which("swaks"):
        pytest.skip("swaks is not installed")
    where = ["--server", "127.0.0.1", "--port", str(machine.port), "--helo", "swaks.office.lan"]
    process = await asyncio.create_subprocess_exec(
        *("swaks", *where, "--from", ANNA, "--to", str(FAX), *options), stdout=asyncio.subprocess.PIPE
    )
    return (await process.communicate())[0].decode()


async def test_swaks_sends_a_text_with_a_tiff(tmp_path: Path) -> None:
    file = tmp_path / "drawing.tif"
    file.write_bytes(tiff_of(2))
    async with receiving(tmp_path) as machine:
        said = await swaks(
            machine, "--body", "See the drawing", "--attach-type", "image/tiff", "--attach", f"@{file}"
        )
        assert "250 2.0.0 Ok: fax of 3 pages stored as" in said
        folder, _ = machine.fax()
        assert list(read_pages((folder / "fax.tif").read_bytes()))[1:] == [page_of(0), page_of(1)]


async def test_swaks_hears_why_a_fax_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "letter.doc"
    file.write_bytes(b"\xd0\xcf\x11\xe0")
    async with receiving(tmp_path) as machine:
        said = await swaks(machine, "--attach-type", "application/msword", "--attach", f"@{file}")
        assert "554 5.6.1 This fax cannot be taken: part 3 (letter.doc) is application/msword" in said
        assert (machine.faxes(), machine.leftovers()) == ([], [])


async def test_postfix_hands_a_fax_on_and_tells_its_sender_of_a_refusal(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        relay = ("127.0.0.1", machine.port)
        with PostfixServer(tmp_path / "postfix", "127.0.0.1", free_port(), relay=relay) as postfix:

            def send(mail: bytes) -> None:
                with smtplib.SMTP(postfix.host, postfix.port, timeout=30) as client:
                    client.sendmail(ANNA, [str(FAX)], mail)

            def logged(words: str) -> None:
                wait_until(lambda: words in postfix.log(), words, postfix.log)

            await asyncio.to_thread(send, mail_of(tiff_of(2)))
            await asyncio.to_thread(logged, "250 2.0.0 Ok: fax of 2 pages stored as")
            await asyncio.to_thread(send, mail_of(tiff_of(1)[:100]))
            await asyncio.to_thread(logged, "said: 554 5.6.1 This fax cannot be taken: part 1: ")
            assert "dsn=5.6.1, status=bounced" in postfix.log()
        folder, facts = machine.fax()
        assert len(facts["pages"]) == 2
        assert email.message_from_bytes((folder / "mail.eml").read_bytes())["Subject"] == "Order 17"
