"""A terminal registers with a directory of ours over LDAP: the registrar's rules hold there as over HTTPS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.directory_program import BASE, DirectoryProgram
from tests.sessions.scripted_registrar import ScriptedRegistrar, make_authority

from lanpost.app import enrolment
from lanpost.errors import RegistrarUnreachable, RegistrarUntrusted, RegistrationRefused
from lanpost.model.address import MailAddress
from lanpost.model.token import EnrolmentToken
from lanpost.net import ldap_registration
from lanpost.net.registration_client import RegistrationClient

LIFETIME = timedelta(hours=6)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryProgram]:
    settings = {"registrar": {"lifetime": "6h"}, "delivery": {"endpoint_ports": [2525]}}
    with DirectoryProgram(tmp_path_factory.mktemp("directory"), settings) as running:
        yield running


def token_of(
    directory: DirectoryProgram, name: str, secret: str, *urls: str, scheme: str = "ldaps"
) -> EnrolmentToken:
    der = ssl.PEM_cert_to_DER_cert(directory.ca_file.read_text("ascii"))
    pin = directory.lanpost_json("ca", "show")["pin"]
    own = f"{scheme}://127.0.0.1:{directory.port}/cn={name},{BASE}"
    return EnrolmentToken(urls or (own,), pin, MailAddress.parse(name, "office.lan"), secret, der)


@pytest.fixture
def token(directory: DirectoryProgram) -> EnrolmentToken:
    name = directory.new_name()
    return token_of(directory, name, directory.enrol(name))


def endpoint_of(directory: DirectoryProgram, token: EnrolmentToken) -> str | None:
    found = directory.lanpost_json("lookup", str(token.address))["endpoint"]
    return None if found is None else str(found)


@pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
async def test_a_terminal_is_bound_renews_moves_and_leaves(directory: DirectoryProgram, scheme: str) -> None:
    name = directory.new_name()
    token = token_of(directory, name, directory.enrol(name), scheme=scheme)
    first = await RegistrationClient(token).register(2525)
    assert (first.address, first.endpoint) == (str(token.address), "127.0.0.1:2525")
    assert first.lifetime == LIFETIME.total_seconds()
    assert endpoint_of(directory, token) == "127.0.0.1:2525"

    client = RegistrationClient(token, source="127.0.0.9")
    moved = await client.register(2525)
    renewed = await client.register(2525)
    assert moved.endpoint == renewed.endpoint == "127.0.0.9:2525"
    assert renewed.expires > moved.expires > first.expires
    assert endpoint_of(directory, token) == "127.0.0.9:2525"

    for _ in range(2):
        await client.unregister()
        assert endpoint_of(directory, token) is None
    assert (await client.register(2525)).endpoint == "127.0.0.9:2525"


async def test_the_directorys_clock_counts_whatever_the_terminals_says(
    directory: DirectoryProgram, token: EnrolmentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    class In1970(datetime):
        @classmethod
        def now(cls, tz: object = None) -> In1970:
            return cls(1970, 1, 1, 0, 7, tzinfo=UTC)

    monkeypatch.setattr(ldap_registration, "datetime", In1970)
    found = await RegistrationClient(token).register(2525)
    assert abs(datetime.fromisoformat(found.updated) - datetime.now(UTC)) < timedelta(minutes=5)
    assert found.lifetime == LIFETIME.total_seconds()
    assert endpoint_of(directory, token) == "127.0.0.1:2525"


async def test_an_expired_binding_is_renewed(directory: DirectoryProgram, token: EnrolmentToken) -> None:
    client = RegistrationClient(token)
    await client.register(2525)
    past = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y%m%d%H%M%SZ")
    directory.modify(
        str(token.address.local),
        "replace: lanpostUpdated\nlanpostUpdated: 20200101000000Z\n-\n"
        f"replace: lanpostExpires\nlanpostExpires: {past}",
    )
    assert endpoint_of(directory, token) is None
    await client.register(2525)
    assert endpoint_of(directory, token) == "127.0.0.1:2525"


async def test_a_wrong_secret_is_refused_with_what_to_do(
    directory: DirectoryProgram, token: EnrolmentToken
) -> None:
    with pytest.raises(RegistrationRefused, match="terminal rotate --ldap") as refused:
        await RegistrationClient(replace(token, secret="wrong")).register(2525)
    assert refused.value.http_status == 401
    assert endpoint_of(directory, token) is None


async def test_what_the_registrar_refuses_is_told_in_its_words(token: EnrolmentToken) -> None:
    with pytest.raises(RegistrationRefused, match="endpoint_ports"):
        await RegistrationClient(token).register(9)


async def test_the_entry_of_another_terminal_is_not_taken_for_ones_own(
    directory: DirectoryProgram, token: EnrolmentToken
) -> None:
    mixed_up = replace(token, address=MailAddress.parse("another@office.lan"))
    with pytest.raises(RegistrationRefused, match=r"is the entry of fax\d+@office.lan, not of another@office.lan"):
        await RegistrationClient(mixed_up).register(2525)


async def test_a_directory_of_another_authority_is_never_trusted(
    directory: DirectoryProgram, token: EnrolmentToken, tmp_path: Path
) -> None:
    other = make_authority(tmp_path)
    with pytest.raises(RegistrarUntrusted, match="issue-server"):
        await RegistrationClient(
            replace(token, pin=other.pin, authority=ssl.PEM_cert_to_DER_cert(other.pem.decode()))
        ).register(2525)


async def test_a_client_certificate_does_not_make_a_directory(directory: DirectoryProgram, tmp_path: Path) -> None:
    """Every terminal may have one of our authority: it names no IP address and no registrar."""
    authority = make_authority(tmp_path, "fax2")
    async with ScriptedRegistrar(authority) as server:
        url = f"ldaps://127.0.0.1:{server.port}/cn=fax1,{BASE}"
        der = ssl.PEM_cert_to_DER_cert(authority.pem.decode())
        token = EnrolmentToken((url,), authority.pin, MailAddress.parse("fax1@office.lan"), "s", der)
        with pytest.raises(RegistrarUntrusted):
            await RegistrationClient(token).register(2525)


async def test_a_directory_that_is_away_or_hangs_is_to_be_asked_again(
    directory: DirectoryProgram, token: EnrolmentToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    monkeypatch.setattr(ldap_registration, "EXCHANGE_SECONDS", 0.2)
    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for scheme in ("ldap", "ldaps"):
        hung = f"{scheme}://127.0.0.1:{port}/cn=fax1,{BASE}"
        with pytest.raises(RegistrarUnreachable, match="does not answer"):
            await RegistrationClient(replace(token, urls=(hung,))).register(2525)
    server.close()
    for writer in held:
        writer.transport.abort()
    await server.wait_closed()
    with pytest.raises(RegistrarUnreachable, match="refused") as failed:
        await RegistrationClient(replace(token, urls=(hung,))).register(2525)
    assert not failed.value.no_way


async def test_want_of_a_way_is_told_from_a_silent_directory(token: EnrolmentToken) -> None:
    with pytest.raises(RegistrarUnreachable) as failed:
        await RegistrationClient(token, source="192.0.2.77").register(2525)
    assert failed.value.no_way


async def test_servers_of_both_kinds_are_asked_in_turn(directory: DirectoryProgram, token: EnrolmentToken) -> None:
    (ldap,) = token.urls
    async with ScriptedRegistrar(make_authority(directory.folder)) as gone:
        pass
    https = f"https://127.0.0.1:{directory.ports['http']}"
    client = RegistrationClient(replace(token, urls=(gone.url, ldap, https)))
    assert (await client.register(2525)).url == ldap
    assert (await client.register(2525)).url == ldap
    assert (await RegistrationClient(replace(token, urls=(https, ldap))).register(2525)).url == https


async def test_enrolment_keeps_only_a_token_that_the_directory_takes(token: EnrolmentToken, tmp_path: Path) -> None:
    held, unreachable = await enrolment.enrol(tmp_path, token.encode())
    assert (held.token, unreachable) == (token, "")
    with pytest.raises(RegistrationRefused):
        await enrolment.enrol(tmp_path, replace(token, secret="wrong").encode())
    assert enrolment.load(tmp_path / "agent").token == token
