"""The program on its way to whoever asks: nobody keeps a place for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.datastructures import State

from lanpost.model.endpoint import Endpoint
from lanpost.net.program_download import Offer, ProgramDownload


async def test_who_takes_the_file_too_slowly_is_cut_off_and_gives_up_the_place(tmp_path: Path) -> None:
    file = tmp_path / "lanpost.pyz"
    file.write_bytes(bytes(2**20))

    async def offer() -> Offer:
        return Offer(file, "ab" * 32, "", "", "")

    download = ProgramDownload(offer, longest=0.05)
    held: list[int] = []

    async def takes_the_head_alone(message: Any) -> None:
        if message["type"] == "http.response.body":
            held.append(download.sending.total())
            await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/lanpost.pyz",
        "headers": [],
        "query_string": b"",
        "state": State({"peer": Endpoint.parse("127.0.0.1:4000")}),
    }
    with pytest.raises(TimeoutError):
        await Starlette(routes=download.routes())(scope, lambda: asyncio.sleep(3600, {}), takes_the_head_alone)
    assert held == [1]
    assert download.sending.total() == 0
