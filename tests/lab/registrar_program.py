"""A registrar for the lab that prints a token, and then a line for each registration that it is told of."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from tests.sessions.scripted_registrar import Request, ScriptedRegistrar, make_authority


async def serve(host: str, folder: Path) -> None:
    registrar = ScriptedRegistrar(make_authority(folder), host=host)

    def answer(request: Request) -> tuple[int, Any]:
        print(request.method, request.peer, flush=True)
        return registrar.bound(request)

    registrar.answer = answer
    async with registrar:
        print("token", registrar.token().encode(), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
