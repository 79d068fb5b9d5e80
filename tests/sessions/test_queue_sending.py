"""The queue with the real sender: from the spool, by SMTP, to endpoints on loopback."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.queue_bench import QueueBench, address, queue_bench
from tests.sessions.scripted_endpoint import CHUNKING, DROP, PIPELINING, PLAIN, ScriptedEndpoint

from lanpost.content.dots import stuffed, unstuffed
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Recipient
from lanpost.net.smtp_out import SmtpSender
from lanpost.service.schedule import Schedule

CONTENT = b"Subject: x\r\n\r\n..dot\r\nText\r\n"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[QueueBench]:
    # Pauses longer than the test: what goes, goes because a registration woke it.
    async with queue_bench(tmp_path, Schedule(first_retry=300)) as made:
        await made.stop()
        sender = SmtpSender("mail.office.lan")
        made.sending = sender
        made.start()
        yield made
        await sender.close()


async def free_endpoint() -> Endpoint:
    """Where nobody listens."""
    async with ScriptedEndpoint().listening() as gone:
        return gone.at


async def test_mail_for_a_terminal_that_is_off_goes_when_it_registers_elsewhere(bench: QueueBench) -> None:
    await bench.bind("fax1", str(await free_endpoint()))
    mail = await bench.put("fax1", content=CONTENT)
    bench.queue.accept(mail)
    await bench.until(lambda: bench.queue.counters.deferred == 1)
    (waiting,) = bench.queue.list()
    assert "connection refused" in waiting.recipients[0].last_reply.lower()
    async with ScriptedEndpoint().listening() as endpoint:
        await bench.bind("fax1", str(endpoint.at))
        await bench.empty()
    assert [received.content.removesuffix(b"\r\n") for received in endpoint.mails] == [
        CONTENT.removesuffix(b"\r\n")
    ]


@pytest.mark.parametrize("offers", [(b"terminal",), CHUNKING])
async def test_a_big_mail_read_as_it_is_sent_arrives_whole(bench: QueueBench, offers: tuple[bytes, ...]) -> None:
    lines = random.Random(3)
    text = b"Subject: big\r\n\r\n" + b"".join(
        lines.choice([b".", b"..", b"a" * 70, b""]) + b"\r\n" for _ in range(200_000)
    )
    async with ScriptedEndpoint(offers=offers).listening() as endpoint:
        await bench.bind("fax1", str(endpoint.at))
        bench.queue.accept(await bench.put("fax1", content=b"".join(stuffed([text]))))
        await bench.empty()
        (received,) = endpoint.mails
        assert b"".join(unstuffed([received.content])).removesuffix(b"\r\n") == text.removesuffix(b"\r\n")


async def test_a_mail_cut_off_half_way_is_tried_again(bench: QueueBench) -> None:
    async with ScriptedEndpoint(answers={"content": DROP}).listening() as endpoint:
        await bench.bind("fax1", str(endpoint.at))
        mail = await bench.put("fax1", content=CONTENT)
        bench.queue.accept(mail)
        await bench.until(lambda: bench.queue.counters.deferred == 1)
        endpoint.answers.clear()
        await bench.bind("fax1", str(endpoint.at))
        await bench.empty()
        assert bench.queue.counters.delivered == 1


async def test_content_damaged_on_disk_never_arrives_as_if_it_were_whole(bench: QueueBench) -> None:
    content = b"x" * 78 + b"\r\n"
    mail = await bench.put("fax1", content=content * 30_000)
    (segment,) = bench.spool_folder.glob("*.seg")
    with segment.open("r+b") as file:
        file.seek(-1_000_000, os.SEEK_END)
        file.write(b"?")
    async with ScriptedEndpoint().listening() as endpoint:
        await bench.bind("fax1", str(endpoint.at))
        bench.queue.accept(mail)
        await bench.until(lambda: bench.queue.counters.deferred == 1)
        assert not endpoint.mails
    assert "damaged" in bench.queue.list()[0].recipients[0].last_reply


async def test_a_failure_report_reaches_the_senders_terminal(bench: QueueBench) -> None:
    async with (
        ScriptedEndpoint(answers={"RCPT": b"550 5.2.1 paper is out for good"}).listening() as printer,
        ScriptedEndpoint().listening() as scanner,
    ):
        await bench.bind("printer", str(printer.at))
        await bench.bind("scanner", str(scanner.at))
        bench.queue.accept(await bench.put("printer", sender="scanner@office.lan", content=CONTENT))
        await bench.empty()
        (report,) = scanner.mails
        assert report.sender.startswith(b"<>")
        assert f"{printer.at} said: 550 5.2.1 paper is out for good".encode() in report.content
        assert address("scanner").local.encode() in report.recipients[0]


async def test_who_asked_to_hear_of_success_is_told_when_the_endpoint_will_not_tell(bench: QueueBench) -> None:
    async with (
        ScriptedEndpoint(offers=PLAIN).listening() as fax,
        ScriptedEndpoint().listening() as scanner,
    ):
        await bench.bind("fax1", str(fax.at))
        await bench.bind("scanner", str(scanner.at))
        asked = Recipient(address("fax1"), frozenset({"SUCCESS"}))
        bench.queue.accept(await bench.put(asked, sender="scanner@office.lan", content=CONTENT))
        await bench.empty()
        assert len(fax.mails) == 1
        (report,) = scanner.mails
        assert b"\r\nAction: relayed\r\nStatus: 2.0.0\r\n" in report.content
        assert b"NOTIFY" not in b"".join(fax.commands)


async def test_an_endpoint_that_reports_is_told_what_to_report_and_we_are_silent(bench: QueueBench) -> None:
    async with (
        ScriptedEndpoint(offers=PIPELINING).listening() as other,
        ScriptedEndpoint().listening() as scanner,
    ):
        await bench.bind("fax1", str(other.at))
        await bench.bind("scanner", str(scanner.at))
        asked = Recipient(address("fax1"), frozenset({"SUCCESS", "FAILURE"}), "rfc822;Fax1@office.lan")
        bench.queue.accept(await bench.put(asked, sender="scanner@office.lan", content=CONTENT))
        await bench.empty()
        assert b"RCPT TO:<fax1@office.lan> NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;Fax1@office.lan" in other.commands
        assert scanner.mails == []
