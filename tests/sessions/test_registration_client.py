"""The terminal's side of the registration API, against a server over real TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.sessions.scripted_registrar import SECRET, Authority, ScriptedRegistrar, make_authority

from lanpost.errors import RegistrarUnreachable, RegistrarUntrusted, RegistrationRefused
from lanpost.net import registrar_http
from lanpost.net.registration_client import RegistrationClient


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


async def test_registers_with_its_secret_and_port_and_learns_what_the_server_confirmed(
    authority: Authority,
) -> None:
    async with ScriptedRegistrar(authority) as server:
        client = RegistrationClient(server.token())
        found = await client.register(2525)
    (request,) = server.requests
    assert (request.method, request.path) == ("PUT", "/v1/bindings/fax1@office.lan")
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.body == {"port": 2525}
    assert (found.address, found.endpoint, found.lifetime) == ("fax1@office.lan", "127.0.0.1:2525", 86400)
    assert client.authority == authority.pem.decode()


async def test_registers_from_the_address_it_is_told_to_use(authority: Authority) -> None:
    async with ScriptedRegistrar(authority) as server:
        found = await RegistrationClient(server.token(), source="127.0.0.77").register(25)
    assert found.endpoint == "127.0.0.77:25"


async def test_an_authority_other_than_the_pinned_one_is_never_trusted(
    authority: Authority, tmp_path: Path
) -> None:
    async with ScriptedRegistrar(make_authority(tmp_path)) as impostor:
        token = ScriptedRegistrar(authority).token("fax1@office.lan", impostor.url)
        with pytest.raises(RegistrarUntrusted, match="pin"):
            await RegistrationClient(token).register(25)
        # Also when it shows the right authority's certificate, whose key it has not.
        impostor.shown = authority.pem
        with pytest.raises(RegistrarUntrusted, match="does not vouch"):
            await RegistrationClient(token).register(25)
        with pytest.raises(RegistrarUntrusted):
            await RegistrationClient(token, authority.pem.decode()).register(25)
    assert impostor.requests == []


async def test_a_certificate_of_the_right_authority_for_another_name_is_refused(tmp_path: Path) -> None:
    async with ScriptedRegistrar(make_authority(tmp_path, "else.lanpost.internal")) as server:
        with pytest.raises(RegistrarUntrusted):
            await RegistrationClient(server.token()).register(25)


@pytest.mark.parametrize("days", [7, -400], ids=["not valid yet", "expired"])
async def test_a_terminal_whose_clock_is_wrong_does_not_judge_dates(tmp_path: Path, days: int) -> None:
    async with ScriptedRegistrar(make_authority(tmp_path, valid_from=days)) as server:
        assert (await RegistrationClient(server.token()).register(25)).endpoint == "127.0.0.1:25"


async def test_the_next_server_is_asked_when_one_is_silent_and_then_first(authority: Authority) -> None:
    async with ScriptedRegistrar(authority) as gone:
        pass
    async with ScriptedRegistrar(authority) as server:
        token = server.token("fax1@office.lan", gone.url, server.url)
        client = RegistrationClient(token)
        assert (await client.register(25)).url == server.url
        assert (await client.register(25)).url == server.url


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
async def test_a_refusal_is_told_in_the_servers_words(authority: Authority, status: int) -> None:
    async with ScriptedRegistrar(authority, lambda _: (status, {"title": "No", "detail": "ask\nAnna"})) as server:
        with pytest.raises(RegistrationRefused, match="ask Anna") as refused:
            await RegistrationClient(server.token()).register(25)
    assert refused.value.http_status == status


@pytest.mark.parametrize("status", [301, 408, 500, 503])
async def test_a_server_in_trouble_is_to_be_asked_again(authority: Authority, status: int) -> None:
    async with ScriptedRegistrar(authority, lambda _: (status, {})) as server:
        with pytest.raises(RegistrarUnreachable) as failed:
            await RegistrationClient(server.token()).register(25)
    assert not failed.value.no_way


@pytest.mark.parametrize(
    ("said", "seconds"), [("17", 17), ("0", 0), ("-3", 0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("", 0)]
)
async def test_a_server_that_says_when_to_come_again_is_heard(
    authority: Authority, said: str, seconds: float
) -> None:
    async with ScriptedRegistrar(authority, lambda _: (503, {}), fields=f"Retry-After: {said}\r\n") as server:
        with pytest.raises(RegistrarUnreachable) as failed:
            await RegistrationClient(server.token()).register(25)
    assert failed.value.retry_after == seconds


async def test_of_two_servers_the_one_that_is_to_be_asked_sooner_decides(authority: Authority) -> None:
    async with (
        ScriptedRegistrar(authority, lambda _: (503, {}), fields="Retry-After: 30\r\n") as busier,
        ScriptedRegistrar(authority, lambda _: (503, {}), fields="Retry-After: 5\r\n") as busy,
    ):
        token = busy.token("fax1@office.lan", busier.url, busy.url, "https://127.0.0.1:9")
        with pytest.raises(RegistrarUnreachable) as failed:
            await RegistrationClient(token).register(25)
    assert failed.value.retry_after == 5


@pytest.mark.parametrize("answer", [None, [], "x", {}, {"address": 1, "endpoint": 2, "updated": 3, "expires": 4}])
async def test_an_answer_that_makes_no_sense_is_no_success(authority: Authority, answer: Any) -> None:
    async with ScriptedRegistrar(authority, lambda _: (200, answer)) as server:
        with pytest.raises(RegistrarUnreachable, match="cannot be read"):
            await RegistrationClient(server.token()).register(25)


async def test_something_that_is_no_lanpost_server_is_named_as_such(authority: Authority) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 hello\r\n" * 10)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(RegistrarUnreachable, match="HTTP"):
        await RegistrationClient(ScriptedRegistrar(authority).token("fax1@office.lan", url)).register(25)
    server.close()
    await server.wait_closed()


async def test_a_silent_server_is_given_up_in_time(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrar_http, "EXCHANGE_SECONDS", 0.2)
    async with ScriptedRegistrar(authority, hangs=True) as server:
        with pytest.raises(RegistrarUnreachable, match="does not answer"):
            await RegistrationClient(server.token()).register(25)


async def test_want_of_a_way_is_told_from_a_silent_server(authority: Authority) -> None:
    token = ScriptedRegistrar(authority).token("fax1@office.lan", "https://127.0.0.1:9")
    with pytest.raises(RegistrarUnreachable) as failed:
        await RegistrationClient(token, source="192.0.2.77").register(25)
    assert failed.value.no_way
    with pytest.raises(RegistrarUnreachable, match="IP version"):
        await RegistrationClient(token, source="::1").register(25)


@pytest.mark.parametrize("status", [204, 404])
async def test_goodbye_is_content_when_nothing_is_bound_any_more(authority: Authority, status: int) -> None:
    async with ScriptedRegistrar(authority, lambda _: (status, {})) as server:
        await RegistrationClient(server.token()).unregister()
    assert server.requests[0].method == "DELETE"
