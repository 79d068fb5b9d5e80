"""What the chart on a document server promises beyond the port, against wsgidav and Apache's mod_dav."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.webdav_servers import Apache, Wsgidav, free_port

from lanpost.app.certificates import open_authority
from lanpost.app.charts import open_chart
from lanpost.app.settings import ChartSettings, Settings
from lanpost.content.chart_xml_text import HEAD, TAIL
from lanpost.errors import ChartUnavailable, ConfigurationError, InvalidValue
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding, Entry
from lanpost.model.endpoint import Endpoint
from lanpost.net import chart_resource, chart_webdav
from lanpost.service.ports import Chart
from lanpost.store.authority import Names

NOW = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)
HERE = Endpoint("10.0.0.7")


def named(text: str) -> MailAddress:
    return MailAddress.parse(text, "office.lan")


def bound(text: str, endpoint: Endpoint = HERE) -> Binding:
    return Binding(named(text), endpoint, NOW)


def settings(url: str, **chart: object) -> Settings:
    return Settings(chart=replace(ChartSettings(url=url), **chart))  # type: ignore[arg-type]


@asynccontextmanager
async def opened(url: str, **chart: object) -> AsyncIterator[Chart]:
    handle = open_chart(settings(url, **chart))
    try:
        yield handle
    finally:
        await handle.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Wsgidav]:
    with Wsgidav(tmp_path) as running:
        yield running


@pytest.fixture
def apache() -> Iterator[Apache]:
    with a_running(Apache) as running:
        yield running


def a_running(make: Callable[[], Apache]) -> Apache:
    if not Apache.program():
        pytest.skip("apache2 is not installed")
    return make()


class ScriptedServer:
    """Answers every request with the next of its answers, the last one again and again; notes what was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = [*answers]
        self.asked: list[str] = []
        self.began = asyncio.Event()
        self.tasks: set[asyncio.Task[None] | None] = set()
        self.held = asyncio.Event()
        self.held.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(head.decode())
                self.began.set()
                length = next(
                    (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), b":0"
                )
                await reader.readexactly(int(length.partition(b":")[2]))
                await self.held.wait()
                writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        listening = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/chart.xml"
        finally:
            listening.close()
            tasks = [task for task in self.tasks if task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def answer(status: str, body: str = "", **headers: str) -> bytes:
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}".encode()


EMPTY = HEAD + TAIL
ONE = HEAD + '  <terminal address="fax1@office.lan"/>\n' + TAIL


# --- inquiries --------------------


async def test_an_unchanged_document_is_not_sent_again() -> None:
    server = ScriptedServer(answer("200 OK", ONE, ETag='"1"'), answer("304 Not Modified", ETag='"1"'))
    async with server.running() as url, opened(url) as chart:
        for _ in range(3):
            assert await chart.look_up(named("fax1")) == Entry(named("fax1"))
    assert ["if-none-match" in head.lower() for head in server.asked] == [False, True, True]


async def test_inquiries_that_come_together_share_a_question_begun_after_they_came() -> None:
    server = ScriptedServer(answer("200 OK", EMPTY, ETag='"1"'), answer("200 OK", ONE, ETag='"2"'))
    async with server.running() as url, opened(url) as chart:
        server.held.clear()
        first = asyncio.ensure_future(chart.look_up(named("fax1")))
        await server.began.wait()
        later = [asyncio.ensure_future(chart.look_up(named("fax1"))) for _ in range(100)]
        await asyncio.sleep(0)
        server.held.set()
        assert await first is None
        assert set(await asyncio.gather(*later)) == {Entry(named("fax1"))}
    assert len(server.asked) == 2


async def test_a_hand_edit_of_the_document_is_seen_by_inquiries_and_watchers(server: Wsgidav) -> None:
    async with opened(server.url) as chart:
        assert await chart.look_up(named("fax1")) is None
        watch = asyncio.ensure_future(anext(chart.watch()))
        await asyncio.sleep(0)
        server.document.write_text(
            '<chart xmlns="urn:lanpost:chart:1"><terminal address="fax1">'
            '<endpoint host="10.0.0.7"/></terminal></chart>'
        )
        assert await watch == named("fax1")
        entry = await chart.look_up(named("fax1"))
        assert entry
        assert entry.binding
        assert entry.binding.endpoint == HERE


async def test_a_broken_document_makes_it_unavailable_with_the_place_and_is_not_overwritten(
    server: Wsgidav,
) -> None:
    async with opened(server.url) as chart:
        await chart.bind(bound("fax1"))
        broken = server.document.read_text().replace("</terminal>", "</terminl>")
        server.document.write_text(broken)
        for question in (chart.look_up(named("fax1")), chart.bind(bound("fax2"))):
            with pytest.raises(ChartUnavailable, match=r"chart\.xml, line 5, column \d+: no well-formed XML"):
                await question
        assert server.document.read_text() == broken


async def test_a_document_that_is_gone_is_not_read_as_an_empty_chart(server: Wsgidav) -> None:
    async with opened(server.url) as chart:
        await chart.bind(bound("fax1"))
        server.document.rename(server.root / "away.xml")
        for question in (chart.look_up(named("fax1")), chart.bind(bound("fax2"))):
            with pytest.raises(ChartUnavailable, match="is gone; put it back"):
                await question


# --- a server that does not do its work --------------------


@pytest.mark.parametrize("replica", [False, True])
async def test_a_server_that_stops_and_starts_again(tmp_path: Path, replica: bool) -> None:
    with Wsgidav(tmp_path) as server:
        async with opened(server.url, replica=replica) as chart:
            await chart.bind(bound("fax1"))
            server.stop()
            with capture_logs() as logs:
                for _ in range(2):
                    if replica:
                        assert await chart.look_up(named("fax1")) == Entry(named("fax1"), bound("fax1"))
                    else:
                        with pytest.raises(ChartUnavailable, match="connection refused by"):
                            await chart.look_up(named("fax1"))
                with pytest.raises(ChartUnavailable, match="connection refused by"):
                    await chart.bind(bound("fax2"))
            assert [entry["event"] for entry in logs] == ["chart answered from the last copy"] * replica
            server.start()
            await chart.bind(bound("fax2"))
            assert len([entry async for entry in chart.entries()]) == 2


@pytest.mark.parametrize("replica", [False, True])
async def test_a_server_that_hangs_costs_an_inquiry_its_time_limit(server: Wsgidav, replica: bool) -> None:
    async with opened(server.url, replica=replica, timeout=0.2) as chart:
        await chart.bind(bound("fax1"))
        server.signal(signal.SIGSTOP)
        inquiries = [asyncio.ensure_future(chart.look_up(named("fax1"))) for _ in range(20)]
        results = await asyncio.gather(*inquiries, return_exceptions=True)
        if replica:
            assert set(results) == {Entry(named("fax1"), bound("fax1"))}
        else:
            assert {type(result) for result in results} == {ChartUnavailable}
            assert "does not answer within 0.2 s" in str(results[0])
        with pytest.raises(ChartUnavailable, match="does not answer within"):
            await chart.bind(bound("fax2"))
        server.signal(signal.SIGCONT)
        assert await chart.look_up(named("fax1"))


NONSENSE = {
    "no HTTP": (b"SSH-2.0-x\r\n\r\n", "does not answer as an HTTP server"),
    "nothing": (b"", "does not answer|hung up"),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", "does not answer"),
    "another page": (answer("200 OK", "<html><body>Hello</body></html>"), r"chart\.xml, line 1, column 1: <html>"),
    "an empty page": (answer("200 OK"), "nothing is here"),
    "a bug": (answer("500 Internal Server Error"), r"answers GET with 500 \(Internal Server Error\)"),
    "not allowed": (answer("401 Unauthorized"), "chart.user"),
    "elsewhere": (answer("302 Found", Location="http://other.lan/"), "leads to http://other.lan/"),
    "unknown": (answer("799 Whatever"), "799"),
    "too much": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n",
        "more than",
    ),
    "headers without end": (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 200_000, "does not answer as an HTTP server"),
}


@pytest.mark.parametrize("kind", NONSENSE)
async def test_nonsense_is_no_answer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "too much":
        monkeypatch.setattr(chart_resource, "MAX_DOCUMENT", 10_000)
    data, said = NONSENSE[kind]
    async with ScriptedServer(data).running() as url, opened(url, timeout=0.3) as chart:
        with pytest.raises(ChartUnavailable, match=said) as raised:
            await chart.look_up(named("fax1"))
        assert "127.0.0.1" in str(raised.value)


# --- writing --------------------


async def test_writes_that_wait_share_a_put(server: Wsgidav) -> None:
    async with opened(server.url) as chart:
        await chart.add(named("known"))
        asked = []
        resource = chart._resource  # type: ignore[attr-defined]
        put = resource.put

        async def noted(*values: object) -> object:
            asked.append(values)
            return await put(*values)

        resource.put = noted
        await asyncio.gather(*(chart.bind(bound(f"fax{number}")) for number in range(200)))
        assert len(asked) == 1


async def test_one_callers_mistake_is_his_alone(server: Wsgidav) -> None:
    async with opened(server.url) as chart:
        wrong = asyncio.ensure_future(chart.bind(Binding(named("fax1"), HERE, NOW, owner="\x00")))
        right = asyncio.ensure_future(chart.bind(bound("fax2")))
        await right
        with pytest.raises(InvalidValue, match="cannot hold the owner"):
            await wrong
        assert await chart.look_up(named("fax2"))


@pytest.mark.parametrize(("etag", "said"), [({}, "has no ETag"), ({"ETag": 'W/"1"'}, "only a weak ETag")])
async def test_a_server_without_strong_etags_is_read_and_never_written(
    etag: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart_resource, "STRONG_SECONDS", 0)
    page = answer("200 OK", ONE, **etag)  # to an inquiry; before LOCK; after it
    server = ScriptedServer(page, page, answer("405 Method Not Allowed"), page)
    async with server.running() as url, opened(url) as chart:
        assert await chart.look_up(named("fax1"))
        with pytest.raises(ChartUnavailable, match=f"{said} .*DAVLockDB"):
            await chart.bind(bound("fax2"))
    assert not [head for head in server.asked if head.startswith("PUT")]


async def test_a_server_without_locks_is_written_with_preconditions_and_again_when_others_came_first() -> None:
    server = ScriptedServer(
        answer("200 OK", EMPTY, ETag='"1"'),
        answer("405 Method Not Allowed"),  # LOCK
        answer("304 Not Modified"),
        answer("412 Precondition Failed"),
        answer("200 OK", ONE, ETag='"2"'),
        answer("304 Not Modified"),
        answer("204 No Content", ETag='"3"'),
        answer("304 Not Modified"),
    )
    async with server.running() as url, opened(url) as chart:
        await chart.bind(bound("fax2"))
        assert [entry.address.local async for entry in chart.entries()] == ["fax1", "fax2"]
    puts = [head for head in server.asked if head.startswith("PUT")]
    assert ['If-Match: "1"' in puts[0], 'If-Match: "2"' in puts[1], len(puts)] == [True, True, 2]


@pytest.mark.peer
@pytest.mark.parametrize("locks", ["", "<LimitExcept GET PUT>\nRequire all denied\n</LimitExcept>"])
@pytest.mark.parametrize("etag", ["MTime Size", "Digest"])
async def test_apache_is_written_with_every_kind_of_etag_and_without_locks(etag: str, locks: str) -> None:
    """That of its default is weak in a document's first second."""
    with a_running(lambda: Apache(etag=etag, access=f"Require all granted\n{locks}")) as apache:
        async with opened(apache.url) as chart:
            for number in range(3):
                await chart.bind(bound(f"fax{number}"))
            assert len([entry async for entry in chart.entries()]) == 3


@pytest.mark.peer
async def test_three_that_write_at_once_lose_nothing_on_mod_dav(apache: Apache) -> None:
    charts = [open_chart(settings(apache.url)) for _ in range(3)]

    async def hammer(chart: Chart, name: str) -> None:
        for number in range(40):
            await chart.bind(bound(f"{name}{number}"))

    await asyncio.gather(*(hammer(chart, name) for chart, name in zip(charts, "abc", strict=True)))
    assert len([entry async for entry in charts[0].entries()]) == 120
    for chart in charts:
        await chart.close()


async def test_a_lock_that_nobody_lets_go_of_ends_in_an_error(
    server: Wsgidav, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chart_webdav, "WRITE_SECONDS", 0.3)
    async with opened(server.url) as chart, opened(server.url) as other:
        await chart.add(named("fax1"))
        token = await other._resource.lock()  # type: ignore[attr-defined]
        with pytest.raises(ChartUnavailable, match=r"could not be written within 0\.3 s"):
            await chart.bind(bound("fax1"))
        assert await chart.look_up(named("fax1"))
        await other._resource.unlock(token)  # type: ignore[attr-defined]
        await chart.bind(bound("fax1"))


# --- who may, and whom we trust --------------------


async def test_a_password_is_sent_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    for name, password in (("right", "secret\n"), ("wrong", "guess\n")):
        (tmp_path / name).write_text(password)
    with Wsgidav(tmp_path / "dav", user=("lanpost", "secret")) as server:
        async with opened(server.url, user="lanpost", password_file=str(tmp_path / "right")) as chart:
            await chart.bind(bound("fax1"))
            assert await chart.look_up(named("fax1"))
        for credentials in ({}, {"user": "lanpost", "password_file": str(tmp_path / "wrong")}):
            async with opened(server.url, **credentials) as chart:
                with pytest.raises(ChartUnavailable, match=r"401 \(Unauthorized\); look at chart.user"):
                    await chart.look_up(named("fax1"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://files.office.lan/chart.xml", "host names are not looked up"),
        ("https://localhost/chart.xml", "host names are not looked up"),
        ("http://10.0.0.5", "the document's path"),
        ("http://10.0.0.5/", "the document's path"),
        ("http://10.0.0.5/a b.xml", "the document's path"),
        ("http://10.0.0.5/chart.xml?x=1", "the document's path"),
        ("http://a:b@10.0.0.5/chart.xml", "chart.user and chart.password_file"),
        ("http://10.0.0.5:0/chart.xml", "an IP address"),
        ("http:chart.xml", "an IP address"),
    ],
)
def test_a_url_that_cannot_be_is_refused_with_the_remedy(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_chart(settings(url))


@pytest.mark.parametrize("url", ["http://[fe80::5%25eth0]:8080/chart.xml", "HTTP://[fe80::5%eth0]/a/%C3%BC.xml"])
async def test_a_url_may_name_a_link_local_address(url: str) -> None:
    async with opened(url, timeout=0.1) as chart:
        with pytest.raises(ChartUnavailable, match="fe80::5"):
            await chart.look_up(named("fax1"))


@pytest.mark.parametrize(
    ("chart", "said"),
    [
        ({"user": "a", "password_file": "p"}, "under https only"),
        ({"user": "a"}, "belong together"),
        ({"password_file": "p"}, "belong together"),
    ],
)
def test_a_password_never_crosses_the_network_readably(chart: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_chart(settings("http://10.0.0.5/chart.xml", **chart))


@pytest.mark.peer
async def test_https_trusts_our_own_authority_and_that_of_ca_file_and_nobody_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    authority = open_authority(Settings(data=data))
    authority.ssl_context(Names("dav", {"127.0.0.1"}), datetime.now(UTC))
    port = free_port()
    tls = f"SSLEngine on\nSSLCertificateFile {data}/tls/server.pem\nSSLCertificateKeyFile {data}/tls/server.pem\n"
    with a_running(lambda: Apache(port, more=tls, modules=("ssl",), https=True)) as apache:
        url = apache.url.replace("http:", "https:")
        elsewhere = Settings(data=tmp_path, chart=ChartSettings(url=url))
        ours = Settings(data=data, chart=ChartSettings(url=url))
        named_ca = replace(elsewhere, chart=replace(elsewhere.chart, ca_file=str(data / "tls" / "ca.pem")))
        for trusting in (ours, named_ca):
            chart = open_chart(trusting)
            await chart.bind(bound("fax1"))
            await chart.close()
        chart = open_chart(elsewhere)
        with pytest.raises(ChartUnavailable, match=r"nobody here vouches for .* chart\.ca_file"):
            await chart.look_up(named("fax1"))
        await chart.close()
