"""The answer to the end of data, for whatever the endpoints, the disk and the chart do."""

from __future__ import annotations

import asyncio
import mailbox
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import count
from pathlib import Path

import pytest

from lanpost.app.growing_content import ContentFolder, GrowingContent
from lanpost.app.reception import Reception, ReceptionRules, Transaction
from lanpost.errors import ChartUnavailable, ContentAborted, DeliveryError
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.delivery import Outcome, Verdict
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Client, Envelope, Recipient
from lanpost.model.queued import QueuedMail, Waiting
from lanpost.model.reply import OK, Reply
from lanpost.service.inquiry import Router, RoutingRules
from lanpost.service.ports import ContentReader
from lanpost.store.maildir import MaildirMailboxes
from lanpost.store.spool import JournalSpool

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
REFUSED = Reply(554, "5.6.1", "cannot read this fax")
BUSY = Reply(450, "4.3.2", "out of paper")


def address(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


class Endpoints:
    """A Sender whose endpoints do as the test says: a reply, an error, or nothing until told."""

    def __init__(self) -> None:
        self.behaviour: dict[str, Reply | Exception | asyncio.Future[Reply]] = {}
        self.received: dict[str, bytes] = {}
        self.started: dict[str, asyncio.Event] = {}
        self.aborted: list[str] = []
        self.silent: set[str] = set()  # never asks for content
        self.forgetful: set[str] = set()  # tells of nobody

    async def send(self, endpoint: Endpoint, envelope: Envelope, content: ContentReader) -> Sequence[Outcome]:
        name = endpoint.host
        if name in self.silent:
            await asyncio.get_running_loop().create_future()
        parts = []
        try:
            while chunk := await content.read():
                parts.append(chunk)
        except ContentAborted:
            self.aborted.append(name)
            raise
        self.received[name] = b"".join(parts)
        does = self.behaviour.get(name, OK)
        if isinstance(does, Exception):
            raise does
        said = does if isinstance(does, Reply) else await does
        if name in self.forgetful:
            return []
        return [Outcome.of(recipient, said, endpoint) for recipient in envelope.recipients]

    async def close(self) -> None: ...


class Queue:
    """Remembers what it is told, and whether the mail was durable by then."""

    def __init__(self, spool: JournalSpool) -> None:
        self.spool = spool
        self.accepted: dict[str, Collection[MailAddress]] = {}
        self.settled: asyncio.Queue[Sequence[Outcome]] = asyncio.Queue()

    def accept(self, mail: QueuedMail, under_way: Collection[MailAddress] = ()) -> None:
        assert self.spool.get(mail.id) == mail, "a mail must be durable before it is queued"
        self.accepted[mail.id] = under_way

    def settle(self, mail_id: str, outcomes: Sequence[Outcome]) -> None:
        assert mail_id in self.accepted
        self.settled.put_nowait(outcomes)


class Table:
    """The chart's one question, answered from a dict."""

    def __init__(self) -> None:
        self.down = False
        self.entries = {
            address(name): Entry(
                address(name), Binding(address(name), Endpoint.parse(host), NOW - timedelta(1)) if host else None
            )
            for name, host in {"fax1": "10.0.0.1", "fax2": "10.0.0.2", "fax3": "10.0.0.1", "away": ""}.items()
        }

    async def look_up(self, who: MailAddress, *, whole: bool = True) -> Entry | None:
        if self.down:
            raise ChartUnavailable("down")
        return self.entries.get(who)


class Office:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.endpoints = Endpoints()
        self.table = Table()
        self.mailboxes = MaildirMailboxes(folder / "mailboxes", domain="office.lan", quota=10**9, warning=90)
        self.mailboxes.create(address("anna"))
        self.spool = JournalSpool(folder / "spool")
        self.queue = Queue(self.spool)
        self.content = ContentFolder(folder / "incoming")
        self.rules = ReceptionRules("post", cut_through_timeout=30)

    def reception(self, **rules: object) -> Reception:
        return Reception(
            ReceptionRules("post", **{"cut_through_timeout": 30.0, **rules}),  # type: ignore[arg-type]
            Router(RoutingRules("office.lan"), self.table, self.mailboxes, lambda: NOW),  # type: ignore[arg-type]
            self.endpoints,
            self.mailboxes,
            self.spool,
            self.queue,
            self.content,
            (f"id{number}" for number in count()),
            lambda: NOW,
            self.login,
            lambda: True,
        )

    async def login(self, client: Client, login: str, password: str) -> Reply:
        raise AssertionError(client, login, password)

    def close(self) -> None:
        self.spool.close()
        self.mailboxes.close()
        self.content.close()

    def spooled(self) -> Iterator[QueuedMail]:
        return self.spool.mails()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path)
    yield made
    made.close()


async def begin(office: Office, *recipients: str, notify: str = "", **rules: object) -> Transaction:
    envelope = Envelope(address("sender"))
    transaction = office.reception(**rules).begin(Client("10.0.0.99", 1, hello="pc", extended=True), envelope)
    assert isinstance(transaction, Transaction)
    for name in recipients:
        recipient = Recipient(address(name), notify=frozenset(filter(None, [notify])))
        assert (await transaction.add_recipient(recipient)).code == 250
    assert transaction.start_content() is None
    return transaction


async def hand_in(office: Office, *recipients: str, notify: str = "", **rules: object) -> Reply:
    transaction = await begin(office, *recipients, notify=notify, **rules)
    assert transaction.write(b"Subject: x\r\n\r\n") is None
    assert transaction.write(b"..dot\r\nend\r\n") is None
    return await transaction.finish()


async def test_a_mail_accepted_by_its_endpoint_never_touches_the_disk(office: Office) -> None:
    answer = await hand_in(office, "fax1", "fax2")
    assert (answer.code, answer.text) == (250, "Ok: delivered as id0")
    assert list(office.spooled()) == []
    assert set(office.endpoints.received) == {"10.0.0.1", "10.0.0.2"}
    assert office.endpoints.received["10.0.0.1"].startswith(b"Received: from pc ([10.0.0.99])")
    assert office.endpoints.received["10.0.0.1"].endswith(b"\r\n\r\n..dot\r\nend\r\n")
    assert office.content.in_memory == 0


async def test_two_names_at_one_endpoint_are_one_transmission(office: Office) -> None:
    assert (await hand_in(office, "fax1", "fax3", "FAX1")).code == 250
    assert list(office.endpoints.received) == ["10.0.0.1"]


async def test_the_endpoint_s_refusal_is_the_answer_while_the_client_has_the_mail(office: Office) -> None:
    office.endpoints.behaviour["10.0.0.1"] = REFUSED
    answer = await hand_in(office, "fax1")
    assert (answer.code, answer.status) == (554, "5.6.1")
    assert "10.0.0.1:25 said: cannot read this fax" in answer.text
    assert list(office.spooled()) == []


@pytest.mark.parametrize("trouble", [BUSY, DeliveryError("connection refused", permanent=False, status="4.4.1")])
async def test_a_busy_or_dead_endpoint_s_mail_is_durable_before_the_answer(
    office: Office, trouble: Reply | Exception
) -> None:
    office.endpoints.behaviour["10.0.0.1"] = trouble
    answer = await hand_in(office, "fax1", "fax2")
    assert (answer.code, answer.text) == (250, "Ok: queued as id0")
    (mail,) = office.spooled()
    assert [each.recipient.address for each in mail.recipients] == [address("fax1")]
    (outcome,) = office.queue.settled.get_nowait()
    assert outcome.verdict is Verdict.DEFERRED
    assert office.queue.accepted == {"id0": {address("fax1")}}


async def test_of_a_mixed_mail_the_refused_part_is_the_queue_s_to_report(office: Office) -> None:
    office.endpoints.behaviour["10.0.0.1"] = REFUSED
    assert (await hand_in(office, "fax1", "fax2")).code == 250
    (outcome,) = office.queue.settled.get_nowait()
    assert (outcome.verdict, outcome.recipient.address) == (Verdict.FAILED, address("fax1"))


async def test_an_attempt_slower_than_the_sender_s_patience_goes_on_and_is_reckoned_with(office: Office) -> None:
    verdict: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    office.endpoints.behaviour["10.0.0.1"] = verdict
    answer = await hand_in(office, "fax1", cut_through_timeout=0.0)
    assert answer.text == "Ok: queued as id0"
    assert office.queue.accepted == {"id0": {address("fax1")}}, "it must not be sent a second time meanwhile"
    verdict.set_result(OK)
    (outcome,) = await office.queue.settled.get()
    assert outcome.verdict is Verdict.DELIVERED
    assert office.content.in_memory == 0


@pytest.mark.parametrize("end", ["no outcomes", "a bug", "cancelled", "content cannot be closed"])
async def test_however_an_attempt_ends_the_queue_is_told_of_each_recipient(
    office: Office, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    office.endpoints.behaviour["10.0.0.1"] = verdict
    assert (await hand_in(office, "fax1", "fax3", cut_through_timeout=0.0)).code == 250
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    if end == "content cannot be closed":

        def fail(self: GrowingContent) -> None:
            raise OSError("disk")

        monkeypatch.setattr(GrowingContent, "close", fail)
        verdict.set_result(OK)
    elif end == "a bug":
        verdict.set_exception(ZeroDivisionError())
    elif end == "cancelled":
        verdict.cancel()
    else:
        office.endpoints.forgetful.add("10.0.0.1")
        verdict.set_result(OK)
    async with asyncio.timeout(10):
        outcomes = await office.queue.settled.get()
    assert {outcome.recipient.address for outcome in outcomes} == {address("fax1"), address("fax3")}
    delivered = end == "content cannot be closed"
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DELIVERED if delivered else Verdict.DEFERRED}
    assert bool(told) == delivered


async def test_an_attempt_that_has_not_begun_in_time_is_broken_off(office: Office) -> None:
    office.endpoints.silent.add("10.0.0.1")
    assert (await hand_in(office, "fax1", cut_through_timeout=0.0)).code == 250
    (outcome,) = office.queue.settled.get_nowait()
    assert outcome.verdict is Verdict.DEFERRED
    assert "was not ready within 0 s" in outcome.reply.text


async def test_mail_for_a_terminal_that_is_away_is_held(office: Office) -> None:
    assert (await hand_in(office, "away")).text == "Ok: queued as id0"
    (mail,) = office.spooled()
    assert mail.recipients[0].waiting is Waiting.HELD
    assert office.queue.accepted == {"id0": set()}


async def test_mail_waits_in_the_spool_while_the_chart_is_down(office: Office) -> None:
    office.table.down = True
    assert (await hand_in(office, "nobody-knows")).text == "Ok: queued as id0"
    (mail,) = office.spooled()
    assert mail.recipients[0].waiting is Waiting.DUE


async def test_without_cut_through_every_mail_goes_by_way_of_the_spool(office: Office) -> None:
    assert (await hand_in(office, "fax1", cut_through=False)).text == "Ok: queued as id0"
    assert office.endpoints.received == {}
    assert len(list(office.spooled())) == 1


async def test_a_mail_that_wants_a_success_report_goes_by_way_of_the_spool(office: Office) -> None:
    assert (await hand_in(office, "fax1", notify="SUCCESS")).text == "Ok: queued as id0"
    assert office.endpoints.received == {}


async def test_a_mailbox_gets_the_final_text_with_its_return_path(office: Office) -> None:
    assert (await hand_in(office, "anna", "fax1")).text == "Ok: delivered as id0"
    (folder,) = [path for path in (office.folder / "mailboxes").iterdir() if path.name.startswith("anna")]
    (stored,) = mailbox.Maildir(folder, create=False).values()
    assert stored["Return-Path"] == "<sender@office.lan>"
    assert str(stored.get_payload()).splitlines() == [".dot", "end"]


async def test_when_nothing_can_be_kept_the_client_is_told_to_come_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.endpoints.behaviour["10.0.0.1"] = BUSY
    office.spool.close()
    assert (await hand_in(office, "fax1")).is_temporary
    assert office.queue.accepted == {}


async def test_a_bug_at_the_end_of_a_mail_leaves_nothing_behind(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_address: MailAddress, _content: Iterable[bytes]) -> Future[None]:
        raise ZeroDivisionError

    monkeypatch.setattr(office.mailboxes, "deliver", fail)
    transaction = await begin(office, "fax1", "anna")
    transaction.write(b"Subject: x\r\n\r\n")
    tasks = [task for task in asyncio.all_tasks() if "send" in repr(task)]
    with pytest.raises(ZeroDivisionError):
        await transaction.finish()
    assert office.content.in_memory == 0
    await asyncio.gather(*tasks, return_exceptions=True)
    assert office.endpoints.received == {}


async def test_no_endpoint_sees_the_end_of_a_mail_whose_client_left(office: Office) -> None:
    transaction = await begin(office, "fax1")
    transaction.write(b"Subject: half\r\n")
    await asyncio.sleep(0)  # the attempt has begun to read
    tasks = [task for task in asyncio.all_tasks() if "send" in repr(task)]
    transaction.abort()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert office.endpoints.received == {}
    assert office.content.in_memory == 0


async def test_a_mail_in_a_loop_is_refused_and_nobody_gets_it(office: Office) -> None:
    transaction = await begin(office, "fax1")
    transaction.write(b"Received: by x\r\n" * 101 + b"\r\nbody\r\n")
    tasks = [task for task in asyncio.all_tasks() if "send" in repr(task)]
    assert (await transaction.finish()).status == "5.4.6"
    await asyncio.gather(*tasks, return_exceptions=True)
    assert office.endpoints.received == {}


async def test_a_stranger_s_address_is_refused_at_rcpt(office: Office) -> None:
    transaction = office.reception().begin(Client("10.0.0.99", 1), Envelope(None))
    assert isinstance(transaction, Transaction)
    assert (await transaction.add_recipient(Recipient(address("nobody")))).status == "5.1.1"
    assert (await transaction.add_recipient(Recipient(address("a@example.com")))).status == "5.7.1"


async def test_who_may_relay_no_more_is_refused_from_the_next_mail_on(office: Office) -> None:
    reception = office.reception(relay_networks=(ip_network("10.0.0.0/24"),))
    reception.router.rules = replace(reception.router.rules, smarthost=Endpoint.parse("192.0.2.1"))
    answers = []
    for rules in (reception.rules, ReceptionRules("post")):
        reception.rules = rules
        transaction = reception.begin(Client("10.0.0.99", 1), Envelope(None))
        assert isinstance(transaction, Transaction)
        answers.append((await transaction.add_recipient(Recipient(address("a@example.com")))).status)
    assert answers == ["2.1.5", "5.7.1"]


@pytest.mark.parametrize("octets", [200_000, 2_000_000])
async def test_a_big_mail_is_forwarded_and_kept_whole(office: Office, octets: int) -> None:
    office.endpoints.behaviour["10.0.0.1"] = BUSY
    transaction = await begin(office, "fax1")
    data = b"0123456789abcde\r" * (octets // 16)
    for start in range(0, octets, 50_000):
        if (room := transaction.write(data[start : start + 50_000])) is not None:
            await asyncio.wrap_future(room)
    assert (await transaction.finish()).code == 250
    assert office.endpoints.received["10.0.0.1"].endswith(data)
    (mail,) = office.spooled()
    kept = await asyncio.wrap_future(office.spool.content(mail.id))
    assert b"".join(kept) == office.endpoints.received["10.0.0.1"]
