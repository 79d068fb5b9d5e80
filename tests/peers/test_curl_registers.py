"""curl as the terminal: what a device without an agent, or a person, would type."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest
from tests.sessions.api_server import ADMINISTRATOR, ApiServer, serving

pytestmark = pytest.mark.peer


async def curl(api: ApiServer, *words: str, ca: bool = True, plain: bool = False) -> tuple[int, str]:
    """curl's own status, and what it printed."""
    if shutil.which("curl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("curl is not installed")
        pytest.skip("curl is not installed")
    *options, path = words
    url = f"{'http' if plain else 'https'}://{api.host}:{api.port}{path}"
    trust = ["--cacert", str(api.authority.ca_file)] if ca else []
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-m", "20", *trust, *options, url, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def test_curl_registers_by_the_servers_address_and_ca(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        secret = await api.enrol("fax1")
        bearer = ["-H", f"Authorization: Bearer {secret}"]
        body = ["-X", "PUT", "-d", '{"port": 2525, "lifetime": "1h"}']
        status, printed = await curl(api, *bearer, *body, "/v1/bindings/fax1")
        assert status == 0
        assert json.loads(printed)["endpoint"] == "127.0.0.1:2525"
        status, printed = await curl(api, *bearer, "-H", "Expect: 100-continue", *body, "/v1/bindings/fax1")
        assert (status, json.loads(printed)["live"]) == (0, True)
        status, printed = await curl(api, *bearer, "-0", "/v1/bindings/fax1")
        assert (status, json.loads(printed)["source"]) == (0, "agent")
        status, printed = await curl(api, "-w", "%{http_code}", "-X", "DELETE", *bearer, "/v1/bindings/fax1")
        assert (status, printed) == (0, "204")
        bearer = ["-H", f"Authorization: Bearer {ADMINISTRATOR}"]
        status, printed = await curl(api, *bearer, "/v1/bindings", plain=True)
        assert json.loads(printed) == {"bindings": [{"address": "fax1@office.lan", "endpoint": None}]}


async def test_curl_without_the_ca_does_not_trust_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        status, printed = await curl(api, "/healthz", ca=False)
        assert (status, printed) == (60, "")  # CURLE_PEER_FAILED_VERIFICATION


@pytest.mark.parametrize("version", ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"])
async def test_curl_with_either_tls(tmp_path: Path, version: str) -> None:
    async with serving(tmp_path) as api:
        status, printed = await curl(api, *version.split(), "/v1/openapi.json")
        assert (status, json.loads(printed)["openapi"]) == (0, "3.1.0")
