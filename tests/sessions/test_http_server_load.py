"""A crowd at the registration API: what it leaves behind, and what it leaves others of the event loop."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from pathlib import Path

from tests.sessions.api_server import serving
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from lanpost.net.tls_transport import TlsTransport

KINDS = (TlsTransport, H11Protocol, RequestResponseCycle)


def alive() -> Counter[str]:
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, KINDS))


async def test_connections_that_are_over_need_no_garbage_collection(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        secret = await api.enrol("fax1")
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                answer = await api.ask("PUT", "/v1/bindings/fax1", {}, secret)
                assert answer.status == 200
            async with asyncio.timeout(5):
                while api.server.count:  # noqa: ASYNC110 - a closed connection is told of by nobody else
                    await asyncio.sleep(0)
            assert alive() == {}
        finally:
            gc.enable()
