"""What a later version may say that this one does not know: left aside, or refused with the reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.sessions.api_server import ApiServer, serving

from lanpost import __version__
from lanpost.app import agent_state
from lanpost.app.agent_state import State, Status
from lanpost.errors import StoreError
from lanpost.model.address import MailAddress
from lanpost.model.token import EnrolmentToken
from lanpost.net.control import ask
from lanpost.net.registration_client import RegistrationClient
from lanpost.store.refresh_numbers import RefreshNumbers

LENIENT = {"Prefer": "respond-async, handling=lenient"}
LATER = {"port": 2525, "of a later version": {"x": [1]}}
LATER_PROOF = {"port": 2525, "proof": "passkey:0a1b"}
LEASE = {"event": "bound", "address": "10.0.0.9", "mac": "00:11:22:33:44:55", "of a later version": 1}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with serving(tmp_path) as server:
        await server.enrol("fax1")
        await server.enrol("dhcp", speaks_for_others=True)
        yield server


@pytest.mark.parametrize("body", [LATER, LATER_PROOF])
async def test_what_is_unknown_is_left_aside_for_an_agent_and_told_to_a_person(
    api: ApiServer, body: dict[str, Any]
) -> None:
    secret = api.secrets["fax1"]
    refused = await api.ask("PUT", "/v1/bindings/fax1", body, secret)
    assert refused.status == 422
    taken = await api.ask("PUT", "/v1/bindings/fax1", body, secret, headers=LENIENT)
    assert (taken.status, taken.json["endpoint"]) == (200, "127.0.0.1:2525")
    assert "proof" not in taken.json


async def test_what_is_wrong_is_refused_all_the_same(api: ApiServer) -> None:
    for body in ({"port": "25"}, {"port": 2525, "proof": "tls:0a"}, {"lifetime": "long"}):
        answer = await api.ask("PUT", "/v1/bindings/fax1", body, api.secrets["fax1"], headers=LENIENT)
        assert answer.status == 422, body


async def test_a_dhcp_servers_hook_may_be_of_a_later_version(api: ApiServer) -> None:
    secret = api.secrets["dhcp"]
    assert (await api.ask("POST", "/v1/leases", LEASE, secret)).status == 422
    assert (await api.ask("POST", "/v1/leases", LEASE, secret, headers=LENIENT)).status == 204


async def test_agent_and_server_tell_each_other_their_versions(api: ApiServer) -> None:
    answer = await api.ask("GET", "/healthz")
    assert answer.headers["server"] == f"lanpost/{__version__}"
    url = f"https://127.0.0.1:{api.port}"
    address = MailAddress.parse("fax1@office.lan")
    token = EnrolmentToken((url,), api.authority.pin, address, api.secrets["fax1"])
    with capture_logs() as events:
        await RegistrationClient(token).register(2525)
    (registered,) = [event for event in events if event["event"] == "terminal registered"]
    assert registered["program"] == f"lanpost/{__version__}"


@pytest.mark.parametrize("name", ["x" * 500, "a\tb"])
async def test_a_program_names_itself_and_does_no_harm_to_the_log(api: ApiServer, name: str) -> None:
    with capture_logs() as events:
        headers = {"User-Agent": name}
        assert (await api.ask("PUT", "/v1/bindings/fax1", {}, api.secrets["fax1"], headers=headers)).status == 200
    (registered,) = [event for event in events if event["event"] == "terminal registered"]
    assert registered["program"] == ("x" * 60 if "x" in name else "")


async def test_a_server_may_answer_a_command_with_more_than_it_knows(tmp_path: Path) -> None:
    lines = [{"note": "of a later version"}, {"item": 7, "more": 1}, {"done": True, "took": 0.1}]

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        writer.close()

    path = tmp_path / "control.sock"
    server = await asyncio.start_unix_server(later, str(path))
    assert await asyncio.to_thread(lambda: list(ask(path, "status"))) == [7]
    server.close()


def test_the_status_of_a_later_agent_can_be_read(tmp_path: Path) -> None:
    status = Status(State.REGISTERED, "fax1@office.lan", "2026-01-01", "10.0.0.7:25")
    with agent_state.only_agent(tmp_path):
        agent_state.write_status(tmp_path, status)
        file = tmp_path / agent_state.STATUS_FILE
        file.write_text(json.dumps(json.loads(file.read_text()) | {"of a later version": 1}))
        assert agent_state.read_status(tmp_path) == status


def test_refresh_numbers_of_a_later_version_are_not_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "refresh.json").write_text('{"version": 2, "epoch": 9, "sequence": 1}')
    with pytest.raises(StoreError, match=r"newer lanpost \(version 2, known here: 1\); install that, or restore"):
        RefreshNumbers(tmp_path, 1000)
