"""What is done with a fax once it is taken: commands, printers, delivery reports, disposition notifications."""

from __future__ import annotations

import asyncio
import email
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest
from tests.fax_receiving import ANNA, Machine, mail_of, receiving, tiff_of
from tests.sessions.scripted_endpoint import ScriptedEndpoint

from lanpost.app import fax_output
from lanpost.app.settings import Fax

PAUSE = 0.01  # seconds between two tries
ASKING = {"Disposition_Notification_To": f"<{ANNA}>"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fax_output, "PAUSES", (PAUSE, PAUSE))


@asynccontextmanager
async def machine_with_mail_server(
    folder: Path, server: ScriptedEndpoint, **settings: object
) -> AsyncIterator[Machine]:
    async with server.listening():
        fax = replace(Fax(), via=str(server.at), **settings)  # type: ignore[arg-type]
        async with receiving(folder, fax) as machine:
            yield machine


def script(folder: Path, *lines: str) -> tuple[str, ...]:
    """A command: Python, with the fax's folder as sys.argv[1] and these lines."""
    file = folder / "command.py"
    file.write_text(
        "import json, os, sys, time\nfrom pathlib import Path\nfax = Path(sys.argv[1])\n" + "\n".join(lines)
    )
    return sys.executable, str(file)


async def all_done(machine: Machine) -> None:
    await machine.service.output.idle()
    assert list((machine.folder / ".work" / "todo").iterdir()) == []


def notices(server: ScriptedEndpoint) -> list[Message]:
    return [email.message_from_bytes(mail.content) for mail in server.mails]


async def test_the_command_is_given_the_folder_of_the_fax(tmp_path: Path) -> None:
    command = script(tmp_path, "(fax / 'seen').write_text(json.loads((fax / 'fax.json').read_text())['subject'])")
    async with receiving(tmp_path, replace(Fax(), command=command)) as machine:
        assert (await machine.take(mail_of(tiff_of(1), Subject="$(touch x); `y`")))[0] == 250
        await all_done(machine)
        (folder,) = machine.faxes()
        assert (folder / "seen").read_text() == "$(touch x); `y`"


@pytest.mark.parametrize(("status", "runs"), [(1, 1), (75, 3)])
async def test_a_command_that_fails_is_run_again_only_if_it_says_so(tmp_path: Path, status: int, runs: int) -> None:
    command = script(tmp_path, "open(fax / 'runs', 'a').write('x')", f"sys.exit({status})")
    async with receiving(tmp_path, replace(Fax(), command=command)) as machine:
        await machine.take(mail_of(tiff_of(1)))
        await all_done(machine)
        (folder,) = machine.faxes()
        assert (folder / "runs").read_text() == "x" * runs


async def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    command = script(
        tmp_path,
        "if os.fork() == 0:",
        "    (fax / 'child').write_text(str(os.getpid()))",
        "time.sleep(60)",
    )
    settings = replace(Fax(), command=command, command_timeout=1.0)
    async with receiving(tmp_path, settings) as machine:
        await machine.take(mail_of(tiff_of(1)))
        await all_done(machine)
        (folder,) = machine.faxes()
        child = Path("/proc") / (folder / "child").read_text() / "stat"
        assert not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_command_that_was_broken_off_runs_again_at_the_next_start(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    waits = script(tmp_path, f"Path({str(begun)!r}).write_text('x')", "time.sleep(60)")
    async with receiving(tmp_path, replace(Fax(), command=waits)) as machine:
        await machine.take(mail_of(tiff_of(1)))
        (folder,) = machine.faxes()
        assert await asyncio.to_thread(begun.read_text) == "x"
    script(tmp_path, "(fax / 'done').write_text('')")
    async with receiving(tmp_path, replace(Fax(), command=waits)) as machine:
        await all_done(machine)
        assert (folder / "done").exists()


async def test_a_sender_who_asks_is_notified_by_way_of_the_mail_server(tmp_path: Path) -> None:
    server = ScriptedEndpoint()
    async with machine_with_mail_server(tmp_path, server, mdn="when-asked") as machine:
        await machine.take(mail_of(tiff_of(1), **ASKING))
        await all_done(machine)
    (sent,) = server.mails
    assert (sent.sender[:3], sent.recipients) == (b"<> ", [b"<anna@office.lan> NOTIFY=NEVER"])
    (notice,) = notices(server)
    assert notice.get_param("report-type") == "disposition-notification"
    assert notice["In-Reply-To"] == "<17@office.lan>"
    assert b"Disposition: automatic-action/MDN-sent-automatically; dispatched" in sent.content


@pytest.mark.parametrize(
    ("mdn", "headers"),
    [
        ("never", ASKING),
        ("when-asked", {}),
        ("when-asked", {"Disposition_Notification_To": "bert@office.lan"}),
        ("when-asked", {**ASKING, "Auto_Submitted": "auto-generated"}),
    ],
)
async def test_nobody_else_is_notified(tmp_path: Path, mdn: str, headers: dict[str, str]) -> None:
    server = ScriptedEndpoint()
    async with machine_with_mail_server(tmp_path, server, mdn=mdn) as machine:
        assert (await machine.take(mail_of(tiff_of(1), **headers)))[0] == 250
        await all_done(machine)
    assert server.mails == []


async def test_a_fax_that_could_not_be_put_out_is_told_so(tmp_path: Path) -> None:
    server = ScriptedEndpoint()
    command = script(tmp_path, "sys.exit('no more toner')")
    async with machine_with_mail_server(tmp_path, server, mdn="when-asked", command=command) as machine:
        await machine.take(mail_of(tiff_of(1), **ASKING))
        await all_done(machine)
    (sent,) = server.mails
    assert b"Disposition: automatic-action/MDN-sent-automatically; processed/error" in sent.content
    assert b"no more toner" in sent.content


async def test_a_command_may_take_the_fax_away(tmp_path: Path) -> None:
    server = ScriptedEndpoint()
    command = script(tmp_path, f"fax.rename({str(tmp_path / 'archived')!r})")
    async with machine_with_mail_server(tmp_path, server, mdn="when-asked", command=command) as machine:
        await machine.take(mail_of(tiff_of(1), **ASKING))
        await all_done(machine)
        assert machine.faxes() == []
    assert (tmp_path / "archived" / "fax.pdf").exists()
    (sent,) = server.mails
    assert b"MDN-sent-automatically; dispatched" in sent.content


async def test_what_is_to_be_done_and_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    async with receiving(tmp_path) as machine:
        await machine.take(mail_of(tiff_of(1)))
        (folder,) = machine.faxes()
    (machine.folder / ".work" / "todo" / f"{folder.name}.json").write_text("{")
    async with receiving(tmp_path) as machine:
        assert (await machine.take(mail_of(tiff_of(1))))[0] == 250


async def test_a_delivery_report_is_sent_to_whoever_asks_by_notify(tmp_path: Path) -> None:
    server = ScriptedEndpoint()
    async with machine_with_mail_server(tmp_path, server) as machine:
        notify = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Fax1@office.lan"]
        await machine.take(mail_of(tiff_of(1)), options=["RET=HDRS", "ENVID=job+2B7"], notify=notify)
        await all_done(machine)
    (sent,) = server.mails
    assert (sent.sender[:3], sent.recipients) == (b"<> ", [b"<anna@office.lan> NOTIFY=NEVER"])
    for line in (
        *(b"Action: delivered", b"Original-Envelope-Id: job+7", b"Original-Recipient: rfc822; Fax1@office.lan"),
        *(b"Final-Recipient: rfc822; fax1@office.lan", b"Subject: Order 17"),
    ):
        assert b"\r\n" + line + b"\r\n" in sent.content
    assert b"SUkq" not in sent.content  # the fax itself is not sent back


async def test_without_notify_no_report_is_sent(tmp_path: Path) -> None:
    server = ScriptedEndpoint()
    async with machine_with_mail_server(tmp_path, server) as machine:
        await machine.take(mail_of(tiff_of(1)), notify=["NOTIFY=FAILURE"])
        await all_done(machine)
    assert server.mails == []


async def test_a_mail_server_that_is_not_there_is_tried_again_and_given_up(tmp_path: Path) -> None:
    async with ScriptedEndpoint().listening() as gone:
        via = str(gone.at)
    async with receiving(tmp_path, replace(Fax(), via=via, mdn="when-asked")) as machine:
        assert (await machine.take(mail_of(tiff_of(1), **ASKING)))[0] == 250
        await all_done(machine)


async def test_a_mail_server_that_is_busy_gets_the_notice_later(tmp_path: Path) -> None:
    refusals = iter([b"451 4.3.2 busy"])
    server = ScriptedEndpoint(decide=lambda verb, _: next(refusals, None) if verb == "MAIL" else None)
    async with machine_with_mail_server(tmp_path, server, mdn="when-asked") as machine:
        await machine.take(mail_of(tiff_of(1), **ASKING))
        await all_done(machine)
    assert [bool(mail.content) for mail in server.mails] == [False, True]


async def test_what_is_left_to_do_is_not_forgotten_with_the_process(tmp_path: Path) -> None:
    async with ScriptedEndpoint().listening() as gone:
        via = str(gone.at)
    hanging = replace(Fax(), via=via, mdn="when-asked", command=script(tmp_path, "time.sleep(60)"))
    async with receiving(tmp_path, hanging) as machine:
        await machine.take(mail_of(tiff_of(1), **ASKING))
        (todo,) = (machine.folder / ".work" / "todo").iterdir()
        left = json.loads(todo.read_bytes())
        assert (left["steps"], left["mdn_to"]) == (["command", "disposition notification"], ANNA)
        (folder,) = machine.faxes()
        assert left["fax"] == folder.name == todo.stem
