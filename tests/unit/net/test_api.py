"""Who reaches the API at all, without a socket: the answer to plain HTTP must not hang on what network there is."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.memory_stores import MemoryAccounts, MemoryChart, MemoryMailboxes

from lanpost.model.endpoint import Endpoint
from lanpost.net.api import Api
from lanpost.service.metrics import Metrics
from lanpost.service.registrar import Registrar, Rules


async def ask(peer: str, *, tls: bool) -> tuple[int, bytes]:
    """The status and body of GET /healthz."""
    registrar = Registrar(
        MemoryChart(), MemoryAccounts(), MemoryMailboxes(), Rules("office.lan"), durably=asyncio.to_thread
    )
    api = Api(registrar, domain="office.lan", ca_pem=b"", clock=lambda: datetime.now(UTC), metrics=Metrics())
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/healthz",
        "raw_path": b"/healthz",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "scheme": "http",
        "state": {"peer": Endpoint.of(peer, 4000), "tls": tls},
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await api.application()(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_plain_http_is_for_loopback(peer: str) -> None:
    assert (await ask(peer, tls=False))[0] == 200


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.0.2.7", "2001:db8::7", "fe80::7", "::ffff:10.0.0.7"])
async def test_others_are_told_to_use_https(peer: str) -> None:
    status, body = await ask(peer, tls=False)
    assert status == 403
    assert "use https" in json.loads(body)["detail"]
    assert (await ask(peer, tls=True))[0] == 200
