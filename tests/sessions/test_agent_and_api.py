"""The agent's client and the real registration API: what one says, the other understands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
from tests.sessions.api_server import ApiServer, serving

from lanpost.errors import RegistrationRefused
from lanpost.model.address import MailAddress
from lanpost.model.token import EnrolmentToken
from lanpost.net.registration_client import RegistrationClient

FAX = MailAddress.parse("fax1@office.lan")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with serving(tmp_path) as server:
        await server.enrol("fax1")
        yield server


def client(api: ApiServer, scheme: str = "https", secret: str = "", source: str = "") -> RegistrationClient:
    url = f"{scheme}://127.0.0.1:{api.port}"
    token = EnrolmentToken((url,), api.authority.pin, FAX, secret or api.secrets["fax1"])
    return RegistrationClient(token, source=source)


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_terminal_is_bound_moves_and_leaves(api: ApiServer, scheme: str) -> None:
    first = await client(api, scheme).register(2525)
    assert (first.address, first.endpoint) == ("fax1@office.lan", "127.0.0.1:2525")
    assert (
        first.lifetime
        == (datetime.fromisoformat(first.expires) - datetime.fromisoformat(first.updated)).total_seconds()
    )
    second = await client(api, scheme, source="127.0.0.9").register(2525)
    assert second.endpoint == "127.0.0.9:2525"
    entry = await api.chart.look_up(FAX)
    assert entry
    assert entry.binding
    assert entry.binding.endpoint.host == "127.0.0.9"
    for _ in range(2):
        await client(api, scheme).unregister()
    entry = await api.chart.look_up(FAX)
    assert entry
    assert entry.binding is None


async def test_refusals_come_with_their_status_and_the_servers_advice(api: ApiServer) -> None:
    with pytest.raises(RegistrationRefused) as refused:
        await client(api, secret="wrong").register(2525)
    assert refused.value.http_status == 401
    with pytest.raises(RegistrationRefused, match="endpoint_ports") as refused:
        await client(api).register(9)
    assert refused.value.http_status == 422
