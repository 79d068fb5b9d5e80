"""The registration API as terminals, administrators and strangers meet it, over real TLS on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop
from tests.sessions.api_server import ADMINISTRATOR, ApiServer, serving

import lanpost.net.api
import lanpost.net.http_server
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.binding import Binding
from lanpost.model.device import Device
from lanpost.model.endpoint import Endpoint
from lanpost.model.token import REGISTRAR_NAME, EnrolmentToken
from lanpost.net.http_server import peer_of
from lanpost.net.listener import ConnectionLimits
from lanpost.service.registrar import WRONG_SECRETS
from lanpost.store.authority import Authority, Names

FAX = MailAddress.parse("fax1@office.lan")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with serving(tmp_path) as server:
        await server.enrol("fax1")
        await server.enrol("fax2")
        await server.enrol("dhcp", speaks_for_others=True)
        yield server


async def test_a_terminal_registers_is_seen_and_says_goodbye(api: ApiServer) -> None:
    secret = api.secrets["fax1"]
    before = datetime.now(UTC)
    put = await api.ask("PUT", "/v1/bindings/fax1", {"port": 2525, "lifetime": "1h"}, secret)
    assert put.status == 200
    assert put.headers["content-type"] == "application/json"
    assert put.headers["cache-control"] == "no-store"
    assert put.json["address"] == "fax1@office.lan"
    assert put.json["endpoint"] == "127.0.0.1:2525"
    assert put.json["source"] == "agent"
    assert put.json["live"]
    updated, expires = (datetime.fromisoformat(put.json[name]) for name in ("updated", "expires"))
    assert expires - updated == timedelta(hours=1)
    assert updated >= before
    entry = await api.chart.look_up(FAX)
    assert entry
    assert entry.binding
    assert str(entry.binding.endpoint) == "127.0.0.1:2525"
    assert (await api.ask("GET", "/v1/bindings/FAX1%40office.lan", secret=secret)).json == put.json
    assert (await api.ask("DELETE", "/v1/bindings/fax1", secret=secret)).status == 204
    assert (await api.ask("DELETE", "/v1/bindings/fax1", secret=secret)).status == 204
    assert (await api.ask("GET", "/v1/bindings/fax1", secret=secret)).status == 404


async def test_a_repeated_registration_is_a_sign_of_life_that_watchers_hear(api: ApiServer) -> None:
    assert (await api.ask("PUT", "/v1/bindings/fax1", secret=api.secrets["fax1"])).status == 200
    watch = api.chart.watch()
    heard = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert (await api.ask("PUT", "/v1/bindings/fax1", secret=api.secrets["fax1"])).status == 200
    async with asyncio.timeout(10):
        assert await heard == FAX


async def test_a_whole_token_is_taken_for_its_secret(api: ApiServer) -> None:
    token = EnrolmentToken((f"https://127.0.0.1:{api.port}",), api.authority.pin, FAX, api.secrets["fax1"]).encode()
    assert (await api.ask("PUT", "/v1/bindings/fax1", secret=token)).status == 200
    cut = await api.ask("PUT", "/v1/bindings/fax1", secret=token[:-3])
    assert (cut.status, "cut short" in cut.json["detail"]) == (422, True)


async def test_who_speaks_for_others_names_the_endpoint(api: ApiServer) -> None:
    body = {"endpoint": "10.0.0.7", "port": 2525}
    answer = await api.ask("PUT", "/v1/bindings/fax1", body, api.secrets["dhcp"])
    assert (answer.status, answer.json["endpoint"], answer.json["source"]) == (200, "10.0.0.7:2525", "dhcp")
    assert (await api.ask("PUT", "/v1/bindings/fax1", body, api.secrets["fax1"])).status == 403


async def test_an_administrator_binds_for_good_and_lists_the_chart(api: ApiServer) -> None:
    answer = await api.ask("PUT", "/v1/bindings/scanner", {"endpoint": "[fe80::7%eth0]:25"}, ADMINISTRATOR)
    assert (answer.status, answer.json["expires"]) == (200, None)
    await api.chart.bind_many(
        Binding(MailAddress.parse(f"t{n:04}@office.lan"), Endpoint("10.0.0.7"), datetime.now(UTC))
        for n in range(1200)
    )
    listed = (await api.ask("GET", "/v1/bindings", secret=ADMINISTRATOR)).json["bindings"]
    assert len(listed) == 1204
    assert {"address": "fax1@office.lan", "endpoint": None} in listed
    assert answer.json in listed
    assert (await api.ask("GET", "/v1/bindings", secret=api.secrets["fax1"])).status == 403


async def test_an_empty_chart_is_an_empty_list(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert (await api.ask("GET", "/v1/bindings", secret=ADMINISTRATOR)).json == {"bindings": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "secret", "status"),
    [
        ("PUT", "/v1/bindings/fax1", {}, "", 401),
        ("PUT", "/v1/bindings/fax1", {}, "wrong", 401),
        ("GET", "/v1/bindings/fax1", None, "", 401),
        ("GET", "/v1/bindings", None, "", 401),
        ("DELETE", "/v1/bindings/fax1", None, "wrong", 401),
        ("PUT", "/v1/bindings/fax1", {}, "fax2", 403),
        ("GET", "/v1/bindings/fax1", None, "fax2", 403),
        ("DELETE", "/v1/bindings/fax1", None, "fax2", 403),
        ("PUT", "/v1/bindings/stranger", {}, "wrong", 404),
        ("GET", "/v1/nothing", None, "", 404),
        ("GET", "/v1/bindings/", None, "", 422),
        ("POST", "/v1/bindings/fax1", {}, "fax1", 405),
        ("PUT", "/v1/bindings", {}, "fax1", 405),
        ("PUT", "/v1/bindings/bert", {}, "fax1", 409),
        ("PUT", "/v1/bindings/a%20b@c", {}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", b"not json", "fax1", 400),
        ("PUT", "/v1/bindings/fax1", b"[1]", "fax1", 400),
        ("PUT", "/v1/bindings/fax1", b"[" * 10000, "fax1", 400),
        ("PUT", "/v1/bindings/fax1", b"\xff", "fax1", 400),
        ("PUT", "/v1/bindings/fax1", b" " * 20000, "fax1", 413),
        ("PUT", "/v1/bindings/fax1", {"port": 80}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", {"port": "25"}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", {"port": True}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", {"port": 65536}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", {"lifetime": 3600}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", {"lifetime": "900ms"}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", {"endpoint": "fax1.office.lan"}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", {"endpoint": 7}, "fax1", 422),
        ("PUT", "/v1/bindings/fax1", {"endpoint": "10.0.0.7"}, "fax1", 403),
        ("PUT", "/v1/bindings/fax1", {"prot": 25}, "fax1", 422),
    ],
)
async def test_refusals_are_problem_details(
    api: ApiServer, method: str, path: str, body: Any, secret: str, status: int
) -> None:
    answer = await api.ask(method, path, body, api.secrets.get(secret, secret))
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["title"]
    assert len(answer.json["detail"]) > 20
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert ("allow" in answer.headers) == (status == 405)


async def test_the_longest_lifetime_that_can_be_written_is_shortened(api: ApiServer) -> None:
    body = {"lifetime": "999999999w"}
    answer = await api.ask("PUT", "/v1/bindings/fax1", body, api.secrets["fax1"])
    assert answer.status == 200
    for_good = {**body, "endpoint": "10.0.0.7"}
    assert (await api.ask("PUT", "/v1/bindings/fax1", for_good, ADMINISTRATOR)).status == 200


async def test_other_schemes_of_authorization_are_told_what_to_write(api: ApiServer) -> None:
    for header in ("Basic Zm9vOmJhcg==", "Bearer", "Bearer "):
        answer = await api.ask("GET", "/v1/bindings/fax1", headers={"Authorization": header})
        assert (answer.status, "Bearer SECRET" in answer.json["detail"]) == (401, True)


async def test_too_many_wrong_secrets_are_too_many_requests(api: ApiServer) -> None:
    for _ in range(WRONG_SECRETS):
        assert (await api.ask("GET", "/v1/bindings/fax1", secret="wrong")).status == 401
    answer = await api.ask("GET", "/v1/bindings/fax1", secret="wrong")
    assert (answer.status, "retry-after" in answer.headers) == (429, True)


async def test_a_stranger_claims_a_free_address_and_gets_its_key_once(tmp_path: Path) -> None:
    async with serving(tmp_path, claim=True) as api:
        claimed = await api.ask("PUT", "/v1/bindings/cam1")
        assert claimed.status == 201
        key = claimed.json["key"]
        again = await api.ask("PUT", "/v1/bindings/cam1", secret=key)
        assert (again.status, "key" in again.json) == (200, False)
        assert (await api.ask("PUT", "/v1/bindings/cam1")).status == 401
        assert (await api.ask("PUT", "/v1/bindings/bert")).status == 409


async def test_a_claimant_may_choose_its_key_before_it_asks(tmp_path: Path) -> None:
    async with serving(tmp_path, claim=True) as api:
        key = "k" * 32
        claimed = await api.ask("PUT", "/v1/bindings/cam1", {"key": key})
        assert (claimed.status, claimed.json["key"]) == (201, key)
        assert (await api.ask("PUT", "/v1/bindings/cam1", {"key": key})).status == 401  # not by the body, later
        assert (await api.ask("PUT", "/v1/bindings/cam1", secret=key)).status == 200


@pytest.mark.parametrize("key", ["k" * 31, "k" * 31 + ".", "k" * 257, "k" * 31 + "\n", 7, ["k" * 32]])
async def test_a_key_that_others_could_guess_or_that_is_none_is_refused(tmp_path: Path, key: object) -> None:
    async with serving(tmp_path, claim=True) as api:
        answer = await api.ask("PUT", "/v1/bindings/cam1", {"key": key})
        assert (answer.status, "key:" in answer.json["detail"]) == (422, True)


async def test_a_chart_that_is_closed_is_503_for_whoever_needs_it(api: ApiServer) -> None:
    await api.chart.close()
    for method, path, secret in [("PUT", "/v1/bindings/fax1", "fax1"), ("GET", "/v1/bindings", ADMINISTRATOR)]:
        answer = await api.ask(method, path, secret=api.secrets.get(secret, secret))
        assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
        assert "retry-after" in answer.headers


async def test_a_path_cannot_play_tricks_with_the_log(api: ApiServer) -> None:
    with structlog.testing.capture_logs() as logged:
        await api.ask("GET", "/v1/bindings/fax1?%1b[2J")
        await api.ask("GET", "/v1/bindings/a%0aforged%1b[2J@office.lan")
        await api.ask("PUT", "/v1/bindings/%1b[2J@office.lan", {})
        await api.ask("PUT", "/v1/bindings/%C2%9B2J%20", {}, "wrong")
    assert logged
    assert all(str(value).isprintable() for event in logged for value in event.values())


async def test_a_bug_is_a_problem_too_and_shows_nothing_of_itself(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret plan")

    monkeypatch.setattr(lanpost.net.api, "binding_json", fail)
    answer = await api.ask("PUT", "/v1/bindings/fax1", secret=api.secrets["fax1"])
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert b"secret plan" not in answer.content


LEASE: dict[str, Any] = {
    "event": "bound",
    "address": "10.0.0.9",
    "mac": "00-11-22-33-44-55",
    "lifetime": 3600,
    "age": 1.5,
}


async def test_a_lease_is_answered_with_the_binding_it_made(api: ApiServer) -> None:
    dhcp = api.secrets["dhcp"]
    device = Device.of(mac=LEASE["mac"])
    scanner = Terminal(MailAddress.parse("scanner@office.lan"), b"", datetime.now(UTC), device=device)
    api.accounts.put_terminal(scanner)
    answer = await api.ask("POST", "/v1/leases", LEASE, dhcp)
    shown = answer.json
    assert answer.status == 200
    assert (shown["address"], shown["endpoint"], shown["source"]) == ("scanner@office.lan", "10.0.0.9:25", "dhcp")
    updated, expires = (datetime.fromisoformat(shown[name]) for name in ("updated", "expires"))
    assert (expires - updated).total_seconds() == pytest.approx(3600)
    assert (datetime.now(UTC) - updated).total_seconds() >= 1.5
    again = await api.ask("POST", "/v1/leases", {**LEASE, "event": "renewed"}, dhcp)
    assert (again.status, again.content) == (204, b"")
    stranger = {"event": "bound", "address": "10.0.0.8", "hostname": "guest", "lifetime": 0xFFFFFFFF}
    assert (await api.ask("POST", "/v1/leases", stranger, ADMINISTRATOR)).status == 204
    ended = {**LEASE, "event": "expired", "age": 0}
    assert (await api.ask("POST", "/v1/leases", ended, ADMINISTRATOR)).status == 204
    entry = await api.chart.look_up(scanner.address)
    assert entry
    assert entry.binding is None


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("[]", 400, "JSON object"),
        ({**LEASE, "event": "stolen"}, 422, "bound, renewed, released"),
        ({**LEASE, "address": "scanner"}, 422, "IP address"),
        ({**LEASE, "address": "224.0.0.1"}, 422, "not leased"),
        ({**LEASE, "address": "fe80::7"}, 422, "not leased"),
        ({**LEASE, "address": "127.0.0.1"}, 204, ""),  # on this machine itself, where the test is
        ({**LEASE, "mac": "ff:ff:ff:ff:ff:ff"}, 422, "hardware address"),
        ({**LEASE, "hostname": "$(reboot)"}, 422, "host name"),
        ({**LEASE, "client_id": 7}, 422, "client_id: write it in quotes"),
        ({**LEASE, "lifetime": "1h"}, 422, "lifetime: a number"),
        ({**LEASE, "age": -1}, 422, "age: a number"),
        ({**LEASE, "age": True}, 422, "age: a number"),
        ({**LEASE, "port": 25}, 422, "no such field: port"),
    ],
)
async def test_a_word_about_a_lease_is_read_strictly(api: ApiServer, body: Any, status: int, said: str) -> None:
    answer = await api.ask("POST", "/v1/leases", body, ADMINISTRATOR)
    assert answer.status == status
    assert said in answer.content.decode()


async def test_only_who_speaks_for_others_is_heard_about_leases(api: ApiServer) -> None:
    for secret, status in (("", 401), ("wrong", 401), (api.secrets["fax1"], 403)):
        assert (await api.ask("POST", "/v1/leases", LEASE, secret)).status == status


async def test_what_anybody_may_read(api: ApiServer) -> None:
    assert (await api.ask("GET", "/healthz")).json == {"status": "ok"}
    assert (await api.ask("GET", "/v1/ca.pem")).content == api.authority.ca_pem
    metrics = await api.ask("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'lanpost_http_requests_total{status="200"} 2' in metrics.content


async def test_an_unwell_server_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path, unwell=lambda: "the disk is full") as api:
        answer = await api.ask("GET", "/healthz")
        assert (answer.status, answer.json["detail"]) == (503, "the disk is full")


async def test_the_description_describes_what_there_is(api: ApiServer) -> None:
    described = (await api.ask("GET", "/v1/openapi.json")).json
    assert described["openapi"].startswith("3.1")
    for path, operations in described["paths"].items():
        for method in operations:
            if method != "parameters":
                answer = await api.ask(method.upper(), path.replace("{address}", "fax1"))
                assert str(answer.status) in operations[method]["responses"]
    known = {"PUT", "GET", "DELETE"}
    allowed = (await api.ask("POST", "/v1/bindings/fax1")).headers["allow"]
    assert set(allowed.replace(" ", "").split(",")) & known <= known


async def test_plain_http_is_answered_on_loopback(api: ApiServer) -> None:
    answer = await api.ask("PUT", "/v1/bindings/fax1", {}, api.secrets["fax1"], tls=False)
    assert (answer.status, answer.json["endpoint"]) == (200, "127.0.0.1:25")


def own_address() -> str:
    """An address of this machine beside loopback; a connection from it to itself comes from elsewhere, to us."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address beside loopback")
        return str(probe.getsockname()[0])


async def test_plain_http_from_elsewhere_is_told_to_use_https(tmp_path: Path) -> None:
    async with serving(tmp_path, host=own_address()) as api:
        secret = await api.enrol("fax1")
        for path in ("/healthz", "/v1/ca.pem", "/v1/nothing"):
            answer = await api.ask("GET", path, tls=False)
            assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json")
            assert "use https" in answer.json["detail"]
        shown = await api.ask("PUT", "/v1/bindings/fax1", {}, secret, tls=False)
        assert (shown.status, "rotate" in shown.json["detail"]) == (403, True)
        assert (await api.ask("PUT", "/v1/bindings/fax1", {}, secret)).json["endpoint"] == f"{api.host}:25"


async def test_nobody_says_by_a_header_that_he_is_somebody_else(api: ApiServer) -> None:
    headers = {"X-Forwarded-For": "10.0.0.7", "X-Forwarded-Proto": "https", "Forwarded": "for=10.0.0.7"}
    answer = await api.ask("PUT", "/v1/bindings/fax1", {}, api.secrets["fax1"], headers=headers)
    assert answer.json["endpoint"] == "127.0.0.1:25"


async def test_the_server_is_known_by_the_registrars_name_under_the_pinned_ca(
    api: ApiServer, tmp_path: Path
) -> None:
    async with asyncio.timeout(10), connected(api, ssl=api.client_context(), server_hostname=REGISTRAR_NAME):
        pass  # and its goodbye is answered at once
    other = Authority.open(tmp_path / "other", datetime.now(UTC))
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(
            api.host, api.port, ssl=ssl.create_default_context(cadata=other.ca_pem.decode())
        )
    assert (await api.ask("GET", "/healthz")).status == 200


async def test_a_renewed_certificate_serves_the_next_connection(api: ApiServer) -> None:
    def shown() -> str:
        return ssl.get_server_certificate((api.host, api.port))

    first = await asyncio.to_thread(shown)
    assert api.authority.renew(Names("localhost", ("127.0.0.1", "10.9.9.9")), datetime.now(UTC))
    api.authority.load()
    assert await asyncio.to_thread(shown) != first
    assert (await api.ask("GET", "/healthz")).status == 200


async def test_old_tls_is_refused(api: ApiServer) -> None:
    context = api.client_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(api.host, api.port, ssl=context)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def connected(api: ApiServer, **tls: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(api.host, api.port, **tls)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the server closes, politely or not."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("cut", [1, 7, 300])
async def test_a_request_in_pieces_and_two_on_one_connection(api: ApiServer, cut: int) -> None:
    body = b'{"port": 2525}'
    request = (
        b"PUT /v1/bindings/fax1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
        % (api.secrets["fax1"].encode(), len(body), body)
    )
    tls = {"ssl": api.client_context(), "server_hostname": REGISTRAR_NAME}
    async with asyncio.timeout(10), connected(api, **tls) as (reader, writer):
        for _ in range(2):
            for at in range(0, len(request), cut):
                writer.write(request[at : at + cut])
                await writer.drain()
                await asyncio.sleep(0)
            head = await read_head(reader)
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert b"2525" in await reader.readexactly(length)


NONSENSE = [b"\x16\x03\x01\x00\x05hello", b"\x16" + b"\xff" * 40000, b"\x00\r\n\r\n", b"EHLO x\r\n\r\n"]


@pytest.mark.parametrize("beginning", NONSENSE)
async def test_nonsense_ends_the_connection_and_nothing_else(api: ApiServer, beginning: bytes) -> None:
    async with connected(api) as (reader, writer):
        writer.write(beginning)
        assert b"200" not in await end_of(reader)
    assert (await api.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("beginning", [b"", b"\x16", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_whoever_sends_no_request_is_cut_off(
    api: ApiServer, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanpost.net.http_server, "HEAD_SECONDS", 0.05)
    async with connected(api) as (reader, writer):
        writer.write(beginning)
        assert await end_of(reader) == b""


async def test_a_body_that_never_comes_is_a_timeout(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanpost.net.api, "BODY_SECONDS", 0.05)
    async with connected(api) as (reader, writer):
        writer.write(b"PUT /v1/bindings/fax1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert (await end_of(reader)).startswith(b"HTTP/1.1 408")


async def test_one_client_has_only_so_many_connections(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, limits=ConnectionLimits(total=10, per_client=2)) as api,
        connected(api),
        connected(api),
        connected(api) as (reader, _),
    ):
        assert await end_of(reader) == b""


async def test_a_stop_lets_the_answer_out_and_the_idle_go(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, connected(api) as (idle, _), connected(api) as (kept, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_head(kept)).startswith(b"HTTP/1.1 200")
        await asyncio.gather(api.server.stop(10), end_of(idle), end_of(kept))
        assert api.server.count == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(api.host, api.port)


def test_it_serves_the_same_on_uvloop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as api:
            secret = await api.enrol("fax1")
            assert (await api.ask("PUT", "/v1/bindings/fax1", {"port": 2525}, secret)).status == 200
            assert (await api.ask("GET", "/v1/bindings/fax1", secret=secret, tls=False)).status == 200
            assert len((await api.ask("GET", "/v1/bindings", secret=ADMINISTRATOR)).json["bindings"]) == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


class Connected(asyncio.BaseTransport):
    def __init__(self, name: Any) -> None:
        super().__init__({"peername": name})


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        (("10.0.0.7", 4000), "10.0.0.7:4000"),
        (("::ffff:10.0.0.7", 4000, 0, 0), "10.0.0.7:4000"),
        (("fe80::7", 4000, 0, 1), "[fe80::7%lo]:4000"),
        (("fe80::7%lo", 4000, 0, 1), "[fe80::7%lo]:4000"),
        (("2001:db8::7", 4000, 0, 1), "[2001:db8::7]:4000"),
        (("fe80::7", 4000, 0, 99999), "None"),
        (None, "None"),
    ],
)
def test_where_a_connection_comes_from(name: Any, endpoint: str) -> None:
    assert str(peer_of(Connected(name))) == endpoint
