"""Whoever is at a terminal's address shows who it is before it is given mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.sessions.scripted_endpoint import ScriptedEndpoint, on_both_loops

from lanpost.app.own_proof import OwnProof
from lanpost.app.receiver import ReceivingService, start_receiver
from lanpost.app.setting_values import Listen
from lanpost.app.settings import Agent, Settings
from lanpost.errors import StoreError, WrongMachine
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Verdict
from lanpost.model.endpoint import Endpoint, ProvenEndpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.model.proof import Proof, ProofKind
from lanpost.net.greeting import own_greeting
from lanpost.net.smtp_out import SmtpSender
from lanpost.store.terminal_key import TerminalKey

FAX = MailAddress.parse("fax1@office.lan")
ENVELOPE = Envelope(MailAddress.parse("ann@office.lan"), (Recipient(FAX),))
CONTENT = b"Subject: x\r\n\r\nhello\r\n"
STRANGER = Proof(ProofKind.TLS, "ab" * 32)


class Whole:
    """Content that is all there."""

    def __init__(self) -> None:
        self.size_octets: int | None = len(CONTENT)
        self._left = CONTENT

    async def read(self) -> bytes:
        left, self._left = self._left, b""
        return left


class Meetings:
    """A sender, and the wrong machines that it has met."""

    def __init__(self) -> None:
        self.met: list[tuple[Endpoint, Sequence[MailAddress]]] = []
        self.sender = SmtpSender("mail.office.lan", wrong_machine=lambda *met: self.met.append(met))

    async def send(self, endpoint: Endpoint) -> Verdict:
        (outcome,) = await self.sender.send(endpoint, ENVELOPE, Whole())
        return outcome.verdict


@asynccontextmanager
async def terminal(folder: Path) -> AsyncIterator[tuple[ReceivingService, int]]:
    settings = Settings(data=folder, agent=Agent(receive="inbox", listen=(Listen("127.0.0.1", 0),)))
    service = await start_receiver(settings, FAX, folder)
    try:
        yield service, service.ports[0]
    finally:
        await service.stop()


@on_both_loops
async def test_a_terminal_that_shows_its_certificate_is_given_mail_and_by_tls(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (service, port):
        meetings = Meetings()
        for _ in range(2):  # the second on the connection that was kept
            assert await meetings.send(ProvenEndpoint("127.0.0.1", port, "", service.proof)) is Verdict.DELIVERED
        mails = sorted((tmp_path / "inbox" / "new").iterdir())
        assert len(mails) == 2
        assert all("with ESMTPS" in mail.read_text() for mail in mails)
        assert meetings.met == []
        await meetings.sender.close()


@on_both_loops
async def test_a_terminal_with_another_certificate_gets_nothing(tmp_path: Path) -> None:
    async with terminal(tmp_path) as (_, port):
        meetings = Meetings()
        endpoint = ProvenEndpoint("127.0.0.1", port, "", STRANGER)
        with pytest.raises(WrongMachine, match="another certificate"):
            await meetings.send(endpoint)
        assert meetings.met == [(endpoint, [FAX])]
        assert not list((tmp_path / "inbox" / "new").iterdir())
        await meetings.sender.close()


@on_both_loops
async def test_a_machine_without_tls_gets_nothing_where_a_certificate_is_due() -> None:
    async with ScriptedEndpoint().listening() as stranger:
        meetings = Meetings()
        with pytest.raises(WrongMachine, match="offers no TLS"):
            await meetings.send(ProvenEndpoint("127.0.0.1", stranger.at.port, "", STRANGER))
        assert stranger.mails == []
        assert not any(command.startswith(b"MAIL") for command in stranger.commands)
        await meetings.sender.close()


@on_both_loops
async def test_the_name_in_the_greeting_tells_machines_apart() -> None:
    async with ScriptedEndpoint(answers={"greeting": b"220 Fax1.office.lan ESMTP"}).listening() as fax:
        meetings = Meetings()
        right = ProvenEndpoint("127.0.0.1", fax.at.port, "", Proof.of_greeting("fax1.office.lan"))
        wrong = ProvenEndpoint("127.0.0.1", fax.at.port, "", Proof.of_greeting("fax2.office.lan"))
        assert await meetings.send(right) is Verdict.DELIVERED
        # Not even on the connection that is kept for the right one.
        with pytest.raises(WrongMachine, match="greets as 'fax1"):
            await meetings.send(wrong)
        assert len(fax.mails) == 1
        await meetings.sender.close()


async def test_all_who_wait_for_the_same_machine_are_told_that_it_is_another() -> None:
    async with ScriptedEndpoint(waits_at="greeting").listening() as stranger:
        meetings = Meetings()
        endpoint = ProvenEndpoint("127.0.0.1", stranger.at.port, "", STRANGER)
        sends = [asyncio.ensure_future(meetings.send(endpoint)) for _ in range(5)]
        await stranger.until(lambda: stranger.connections == 1)
        stranger.go_on.set()
        results = await asyncio.gather(*sends, return_exceptions=True)
        assert [type(result) for result in results] == [WrongMachine] * 5
        assert len(meetings.met) == 5
        await meetings.sender.close()


async def test_the_key_is_kept_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    first = TerminalKey.open(tmp_path)
    assert TerminalKey.open(tmp_path).proof == first.proof
    assert (tmp_path / "tls.pem").stat().st_mode & 0o777 == 0o600
    (tmp_path / "tls.pem").write_text("no key")
    with pytest.raises(StoreError, match="remove it to have a new one made"):
        TerminalKey.open(tmp_path)


async def test_an_agent_learns_how_the_software_beside_it_greets() -> None:
    async with ScriptedEndpoint(answers={"greeting": b"220 Fax1.office.lan ESMTP"}).listening() as fax:
        own = OwnProof()
        agent = Agent(port=fax.at.port)
        found = await own.find(agent, ["127.0.0.1"])
        assert found == Proof.of_greeting("fax1.office.lan")
    # It does not run just now: what is known of it stays.
    assert await own.find(agent, ["127.0.0.1"]) == found


async def test_software_that_greets_by_another_name_each_time_is_not_known_by_it() -> None:
    names = iter(b"220 x%d" % number for number in range(10))
    server = ScriptedEndpoint(decide=lambda verb, _: next(names) if verb == "greeting" else None)
    async with server.listening() as one:
        assert await own_greeting(["127.0.0.1"], one.at.port) == ""


@pytest.mark.parametrize("agent", [Agent(greeting=""), Agent(receive="inbox")])
async def test_nothing_is_asked_where_the_greeting_does_not_count(agent: Agent) -> None:
    assert await OwnProof().find(agent, ["127.0.0.1"]) is None


async def test_a_greeting_may_be_named_by_hand() -> None:
    assert await OwnProof().find(Agent(greeting="Fax1"), []) == Proof.of_greeting("fax1")
