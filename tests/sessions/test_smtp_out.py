"""The sender against endpoints that behave well, badly, or not at all; on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.sessions.scripted_endpoint import (
    CHUNKING,
    CLOSE,
    DROP,
    PIPELINING,
    PLAIN,
    STALL,
    ScriptedEndpoint,
    on_both_loops,
)

from lanpost.errors import ContentAborted, DeliveryError, InvalidEndpoint
from lanpost.model.address import MailAddress
from lanpost.model.delivery import Outcome, Verdict
from lanpost.model.endpoint import Endpoint
from lanpost.model.envelope import Envelope, Recipient
from lanpost.net.endpoint_pool import PoolLimits
from lanpost.net.smtp_connection import Patience
from lanpost.net.smtp_out import SenderLimits, SmtpSender

CONTENT = b"Subject: hello\r\n\r\nhello\r\n"
OFFERS = [PLAIN, PIPELINING, CHUNKING]


class Content:
    """Content from a list of chunks; `grows`: its size is not known yet."""

    def __init__(self, chunks: Iterable[bytes] = (CONTENT,), *, grows: bool = False) -> None:
        self.chunks = list(chunks)
        self.size = None if grows else sum(map(len, self.chunks))
        self.reads = 0

    @property
    def size_octets(self) -> int | None:
        return self.size

    async def read(self) -> bytes:
        self.reads += 1
        return self.chunks.pop(0) if self.chunks else b""


class LiveContent(Content):
    """Content that a test feeds; None aborts it."""

    def __init__(self) -> None:
        super().__init__((), grows=True)
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.asked = asyncio.Event()

    async def read(self) -> bytes:
        self.asked.set()
        chunk = await self.queue.get()
        if chunk is None:
            raise ContentAborted("the sender left")
        return chunk


def to(*names: str) -> Envelope:
    recipients = tuple(Recipient(MailAddress.parse(f"{name}@office.lan")) for name in names or ("fax1",))
    return Envelope(MailAddress.parse("ann@office.lan"), recipients)


@asynccontextmanager
async def sender(patience: Patience | None = None, **limits: float) -> AsyncIterator[SmtpSender]:
    made = SmtpSender("mail.office.lan", SenderLimits(PoolLimits(**limits), patience or Patience()))  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


def codes(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.reply.code for outcome in outcomes]


@pytest.mark.parametrize("offers", OFFERS)
@on_both_loops
async def test_a_mail_arrives_unchanged(offers: tuple[bytes, ...]) -> None:
    async with ScriptedEndpoint(offers).listening() as endpoint, sender() as out:
        outcomes = await out.send(endpoint.at, to("fax1", "fax2"), Content())
        assert [outcome.verdict for outcome in outcomes] == [Verdict.DELIVERED] * 2
        assert outcomes[0].endpoint == endpoint.at
        assert str(outcomes[0].recipient.address) == "fax1@office.lan"
        (mail,) = endpoint.mails
        assert mail.content == CONTENT
        assert mail.recipients == [b"<fax1@office.lan>", b"<fax2@office.lan>"]
        assert endpoint.commands[0] == b"EHLO mail.office.lan"


@pytest.mark.parametrize("offers", OFFERS)
@pytest.mark.parametrize("grows", [False, True])
@on_both_loops
async def test_content_of_any_size_and_form(offers: tuple[bytes, ...], grows: bool) -> None:
    bodies = [[b""], [b"..\r\n"], [b"x" * 998 + b"\r\n"] * 1500, [b"a\r", b"\n.", b".b\r", b"\n"]]
    async with ScriptedEndpoint(offers).listening() as endpoint, sender() as out:
        for body in bodies:
            assert codes(await out.send(endpoint.at, to(), Content(body, grows=grows))) == [250]
        assert [mail.content for mail in endpoint.mails] == [b"".join(body) for body in bodies]
        assert endpoint.connections == 1


@on_both_loops
async def test_content_is_passed_on_while_it_grows() -> None:
    async with ScriptedEndpoint().listening() as endpoint, sender() as out:
        content = LiveContent()
        sending = asyncio.ensure_future(out.send(endpoint.at, to(), content))
        await content.asked.wait()
        assert endpoint.commands[-1] == b"DATA"
        for chunk in (b"Subject: x\r\n", b"\r\nbody\r\n", b""):
            content.queue.put_nowait(chunk)
        assert codes(await sending) == [250]


@pytest.mark.parametrize("how", ["aborted", "cancelled"])
@on_both_loops
async def test_content_that_ends_early_never_gets_its_end(how: str) -> None:
    async with ScriptedEndpoint().listening() as endpoint, sender() as out:
        content = LiveContent()
        sending = asyncio.ensure_future(out.send(endpoint.at, to(), content))
        content.queue.put_nowait(b"Subject: half\r\n")
        await content.asked.wait()
        if how == "aborted":
            content.queue.put_nowait(None)
        else:
            sending.cancel()
        with pytest.raises((ContentAborted, asyncio.CancelledError)):
            await sending
        await endpoint.until(lambda: endpoint.open == 0)
        assert endpoint.mails == []
        assert out.pool.open_connections == 0
        assert codes(await out.send(endpoint.at, to(), Content())) == [250]


@pytest.mark.parametrize("offers", OFFERS)
@pytest.mark.parametrize("answer", [b"450 4.2.0 not now", b"550 5.2.0 never"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "content", "BDAT"])
@on_both_loops
async def test_a_refusal_of_any_command_is_the_outcome(offers: tuple[bytes, ...], verb: str, answer: bytes) -> None:
    script = ScriptedEndpoint(offers, {verb: answer})
    async with script.listening() as endpoint, sender(connections_per_endpoint=1) as out:
        refused = verb in ("MAIL", "RCPT") or (verb == "BDAT") == (offers is CHUNKING)
        for _ in range(2):  # and the connection is in order afterwards
            (outcome,) = await out.send(endpoint.at, to(), Content())
            assert str(outcome.reply) == (answer.decode() if refused else "250 2.0.0 taken")
        assert endpoint.connections == 1


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA", "content", "BDAT", "greeting"])
@pytest.mark.parametrize("end", [DROP, CLOSE])
@pytest.mark.parametrize("offers", OFFERS)
@on_both_loops
async def test_a_connection_lost_at_any_point_is_temporary(
    offers: tuple[bytes, ...], verb: str, end: bytes
) -> None:
    async with ScriptedEndpoint(offers, {verb: end}).listening() as endpoint, sender() as out:
        if (verb == "BDAT" and offers is not CHUNKING) or (verb in ("DATA", "content") and offers is CHUNKING):
            return
        with pytest.raises(DeliveryError, match="closed the connection") as failure:
            await out.send(endpoint.at, to(), Content())
        assert not failure.value.permanent
        assert failure.value.status == "4.4.2"
        assert str(endpoint.at) in str(failure.value)
        assert out.pool.open_connections == 0


@pytest.mark.parametrize("verb", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content"])
@on_both_loops
async def test_an_endpoint_that_stalls_is_left(verb: str) -> None:
    patience = Patience(reply=0.05, verdict=0.05)
    async with ScriptedEndpoint(answers={verb: STALL}).listening() as endpoint, sender(patience) as out:
        with pytest.raises(DeliveryError, match=r"did not answer .* within 0.05 s") as failure:
            await out.send(endpoint.at, to(), Content())
        assert failure.value.status == "4.4.2"
        await endpoint.until(lambda: endpoint.open == 0)


@on_both_loops
async def test_an_endpoint_that_takes_no_content_is_left() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n250 x\r\n"[:7])
        await reader.readline()
        writer.write(b"250 x\r\n")
        for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readline()
            writer.write(answer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stop.wait()
        writer.close()

    stop = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    at = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    content = Content([b"x" * 65534 + b"\r\n"] * 400, grows=True)
    async with sender(Patience(progress=0.1)) as out:
        with pytest.raises(DeliveryError, match="took none of"):
            await out.send(at, to(), content)
    assert content.chunks  # it was not all read into memory
    stop.set()
    server.close()


@on_both_loops
async def test_an_endpoint_that_takes_a_little_at_a_time_is_left_in_the_end() -> None:
    def drip(listening: socket.socket) -> None:
        with listening, listening.accept()[0] as client:
            for answer in (b"220 x\r\n", b"250 x\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                client.sendall(answer)
                if answer[:3] != b"354":
                    client.recv(4096)
            with contextlib.suppress(ConnectionError):
                while not left.wait(0.01) and client.recv(16384):
                    pass

    left = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))
    at = Endpoint("127.0.0.1", listening.getsockname()[1])
    endpoint = asyncio.get_running_loop().run_in_executor(None, drip, listening)
    content = Content([b"x" * 65534 + b"\r\n"] * 400, grows=True)
    async with sender(Patience(progress=0.5, content=0.3)) as out:
        with pytest.raises(DeliveryError, match=r"took more than 0\.3 s for one mail"):
            await out.send(at, to(), content)
    left.set()
    await endpoint


@pytest.mark.parametrize("greeting", [b"421 4.3.2 not now", b"554 no SMTP service here", b"HTTP/1.1 400 Bad"])
@on_both_loops
async def test_a_refused_session_is_temporary(greeting: bytes) -> None:
    async with ScriptedEndpoint(answers={"greeting": greeting}).listening() as endpoint, sender() as out:
        with pytest.raises(DeliveryError) as failure:
            await out.send(endpoint.at, to(), Content())
        assert not failure.value.permanent


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@on_both_loops
async def test_a_refused_connection_says_by_whom() -> None:
    nobody = Endpoint("127.0.0.1", free_port())
    async with sender() as out:
        with pytest.raises(DeliveryError, match=f"connection refused by 127.0.0.1:{nobody.port}") as failure:
            await out.send(nobody, to(), Content())
        assert (failure.value.permanent, failure.value.status) == (False, "4.4.1")
        assert out.pool.known_endpoints == 0


@on_both_loops
async def test_an_endpoint_that_does_not_answer_ties_up_one_connection_and_all_who_wait_learn_of_it() -> None:
    with contextlib.closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fill = [socket.socket() for _ in range(2)]
        for one in fill:  # a full backlog: SYNs go unanswered
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        at = Endpoint("127.0.0.1", deaf.getsockname()[1])
        async with sender(Patience(connect=0.2)) as out:
            sends = [asyncio.ensure_future(out.send(at, to(), Content())) for _ in range(10)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert out.pool.open_connections == 1
            results = await asyncio.gather(*sends, return_exceptions=True)
        assert {str(result) for result in results} == {f"{at} does not answer: no connection within 0.2 s"}
        for one in fill:
            one.close()


@on_both_loops
async def test_an_unknown_interface_is_said() -> None:
    async with sender() as out:
        with pytest.raises(DeliveryError, match="no interface nowhere0"):
            await out.send(Endpoint("fe80::7", 25, "nowhere0"), to(), Content())


@on_both_loops
async def test_a_host_name_is_never_dialled() -> None:
    async with sender() as out:
        with pytest.raises(InvalidEndpoint, match="not looked up"):
            await out.send(Endpoint("localhost", 25), to(), Content())
        assert out.pool.open_connections == 0


@on_both_loops
async def test_ipv6() -> None:
    async with ScriptedEndpoint().listening("::1") as endpoint, sender() as out:
        assert codes(await out.send(endpoint.at, to(), Content())) == [250]


# ---- keeping connections


@on_both_loops
async def test_connections_are_kept_and_ended_politely() -> None:
    async with ScriptedEndpoint().listening() as endpoint, sender(mails_per_connection=3) as out:
        for _ in range(7):
            await out.send(endpoint.at, to(), Content())
        assert endpoint.connections == 3
        await endpoint.until(lambda: endpoint.commands.count(b"QUIT") == 2)
        await out.close()
        await endpoint.until(lambda: endpoint.commands.count(b"QUIT") == 3)


@on_both_loops
async def test_idle_connections_end_in_time() -> None:
    async with ScriptedEndpoint().listening() as endpoint, sender(idle_seconds=0.05) as out:
        await out.send(endpoint.at, to(), Content())
        assert out.pool.idle_connections == 1
        await endpoint.until(lambda: endpoint.commands[-1:] == [b"QUIT"])
        assert out.pool.open_connections == 0
        assert out.pool.known_endpoints == 0


@on_both_loops
async def test_an_idle_connection_that_the_endpoint_closes_is_forgotten() -> None:
    async with ScriptedEndpoint().listening() as endpoint, sender() as out:
        await out.send(endpoint.at, to(), Content())
        endpoint.writers[0].write(b"421 4.4.2 idle too long\r\n")
        endpoint.writers[0].close()
        await endpoint.until(lambda: endpoint.open == 0)
        assert out.pool.idle_connections == 0
        assert codes(await out.send(endpoint.at, to(), Content())) == [250]


@pytest.mark.parametrize("end", [DROP, CLOSE, b"421 4.4.2 idle too long"])
@pytest.mark.parametrize("offers", OFFERS)
@on_both_loops
async def test_a_kept_connection_found_dead_costs_nothing(offers: tuple[bytes, ...], end: bytes) -> None:
    script = ScriptedEndpoint(offers)
    async with script.listening() as endpoint, sender() as out:
        await out.send(endpoint.at, to(), Content())
        script.decide = lambda verb, connection: end if verb == "MAIL" and connection == 1 else None
        assert codes(await out.send(endpoint.at, to(), Content([CONTENT]))) == [250]
        assert endpoint.connections == 2
        assert [mail.content for mail in endpoint.mails] == [CONTENT] * 2


@on_both_loops
async def test_a_new_connection_found_dead_is_not_tried_again() -> None:
    async with ScriptedEndpoint(answers={"MAIL": CLOSE}).listening() as endpoint, sender() as out:
        with pytest.raises(DeliveryError):
            await out.send(endpoint.at, to(), Content())
        assert endpoint.connections == 1


# ---- limits


@on_both_loops
async def test_limits_hold_and_everybody_has_a_turn() -> None:
    async with (
        ScriptedEndpoint().listening() as first,
        ScriptedEndpoint().listening() as second,
        sender(connections=3, connections_per_endpoint=2) as out,
    ):
        sends = [out.send(at, to(), Content()) for at in (first.at,) * 100 + (second.at,) * 10]
        outcomes = await asyncio.gather(*sends)
        assert all(codes(outcome) == [250] for outcome in outcomes)
        assert (len(first.mails), len(second.mails)) == (100, 10)
        assert first.most_open <= 2
        assert second.most_open <= 2
        assert out.pool.open_connections <= 3


@on_both_loops
async def test_a_flood_for_one_endpoint_does_not_starve_another() -> None:
    async with (
        ScriptedEndpoint().listening() as busy,
        ScriptedEndpoint().listening() as other,
        sender(connections=1, connections_per_endpoint=1) as out,
    ):
        flood = [asyncio.ensure_future(out.send(busy.at, to(), Content())) for _ in range(100)]
        await busy.until(lambda: bool(busy.mails))
        await out.send(other.at, to(), Content())
        assert len(busy.mails) < 100
        await asyncio.gather(*flood)


@on_both_loops
async def test_those_who_wait_can_be_cancelled() -> None:
    script = ScriptedEndpoint(answers={"content": STALL})
    async with script.listening() as endpoint, sender(connections_per_endpoint=1) as out:
        sends = [asyncio.ensure_future(out.send(endpoint.at, to(), Content())) for _ in range(4)]
        await endpoint.until(lambda: b"DATA" in endpoint.commands)
        sends[1].cancel()
        sends[3].cancel()
        script.answers.clear()
        sends[0].cancel()
        assert codes(await sends[2]) == [250]
        assert len(endpoint.mails) == 1


@on_both_loops
async def test_an_endpoint_that_takes_one_connection_gets_everything_on_it() -> None:
    async with ScriptedEndpoint(max_connections=1).listening() as endpoint, sender() as out:
        outcomes = await asyncio.gather(*[out.send(endpoint.at, to(), Content()) for _ in range(30)])
        assert all(codes(outcome) == [250] for outcome in outcomes)
        turned_away = endpoint.connections - 1
        assert turned_away <= 29
        for _ in range(5):  # and it is remembered
            await asyncio.gather(*[out.send(endpoint.at, to(), Content()) for _ in range(2)])
        assert endpoint.connections - 1 - turned_away <= 5


@on_both_loops
async def test_an_endpoint_that_does_not_pipeline_though_it_says_so_gets_its_mail_at_the_second_try() -> None:
    script = ScriptedEndpoint(PIPELINING, reads_one_command_at_a_time=True)
    async with script.listening() as endpoint, sender(Patience(reply=0.1)) as out:
        with pytest.raises(DeliveryError, match="RCPT"):
            await out.send(endpoint.at, to(), Content())
        assert codes(await out.send(endpoint.at, to(), Content())) == [250]


@on_both_loops
async def test_closing_lets_nobody_wait() -> None:
    script = ScriptedEndpoint(answers={"content": STALL})
    async with script.listening() as endpoint, sender(connections_per_endpoint=1) as out:
        sends = [asyncio.ensure_future(out.send(endpoint.at, to(), Content())) for _ in range(3)]
        await endpoint.until(lambda: b"DATA" in endpoint.commands)
        await out.close()
        results = await asyncio.gather(*sends, return_exceptions=True)
        assert all(isinstance(result, DeliveryError) and not result.permanent for result in results)
        with pytest.raises(DeliveryError, match="closing down"):
            await out.send(endpoint.at, to(), Content())


@on_both_loops
async def test_a_refusal_amid_the_content_is_the_outcome() -> None:
    script = ScriptedEndpoint(answers={"amid": b"552 5.3.4 enough"})
    async with script.listening() as endpoint, sender() as out:
        content = LiveContent()
        sending = asyncio.ensure_future(out.send(endpoint.at, to(), content))
        content.queue.put_nowait(b"Subject: x\r\n")
        await endpoint.until(lambda: endpoint.open == 0 or b"DATA" in endpoint.commands)
        for _ in range(1000):
            content.queue.put_nowait(b"x" * 998 + b"\r\n")
        content.queue.put_nowait(b"")
        assert codes(await sending) == [552]


@pytest.mark.parametrize("seed", range(6))
@on_both_loops
async def test_whatever_happens_no_connection_is_lost_count_of(seed: int) -> None:
    chance = random.Random(seed)

    def decide(verb: str, connection: int) -> bytes | None:
        if verb in ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content") and chance.random() < 0.08:
            return chance.choice(
                [DROP, CLOSE, b"421 4.3.2 off", b"450 4.2.0 later", b"550 5.1.1 no", b"250 x\r\n250 y"]
            )
        return None

    scripts = [ScriptedEndpoint(offers, decide=decide, max_connections=3) for offers in OFFERS]
    async with contextlib.AsyncExitStack() as stack:
        endpoints = [await stack.enter_async_context(script.listening()) for script in scripts]
        out = await stack.enter_async_context(
            sender(Patience(reply=1), connections=5, connections_per_endpoint=4, mails_per_connection=7)
        )
        places = [endpoint.at for endpoint in endpoints] + [Endpoint("127.0.0.1", free_port())]
        sends = []
        for _ in range(300):
            content = Content(grows=chance.random() < 0.5)
            sends.append(asyncio.ensure_future(out.send(chance.choice(places), to("fax1", "fax2"), content)))
            if chance.random() < 0.2:
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                chance.choice(sends).cancel()
        results = await asyncio.gather(*sends, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                assert isinstance(result, DeliveryError | asyncio.CancelledError), result
                assert not isinstance(result, DeliveryError) or not result.permanent
        assert out.pool.open_connections <= 5
        assert out.pool._waiting == 0
        assert not out.pool._starved
        await out.close()
        for endpoint in endpoints:
            await endpoint.until(lambda endpoint=endpoint: endpoint.open == 0)  # type: ignore[misc]
        assert out.pool.open_connections == 0
        assert not out.pool._peers
