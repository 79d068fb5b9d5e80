"""`lanpost agent` as people and service managers start it: real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from tests.sessions.scripted_registrar import Authority, ScriptedRegistrar, make_authority

import lanpost

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(lanpost.__file__).parent.parent)}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "lanpost.toml"
    file.write_text('data = "data"\n[agent]\nport = 2525\naddress = "127.0.0.2"\n')
    return file


def rewrite(config: Path) -> None:
    """As an administrator would: another address, and a goodbye at the end."""
    config.write_text(config.read_text().replace("127.0.0.2", "127.0.0.3") + "goodbye = true\n")


async def start(*arguments: str | Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lanpost", "agent", *map(str, arguments), stdout=PIPE, stderr=PIPE, env=ENVIRONMENT
    )


async def run(*arguments: str | Path) -> tuple[int | None, str, str]:
    process = await start(*arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_enrol_then_register_once(authority: Authority, config: Path) -> None:
    async with ScriptedRegistrar(authority) as server:
        status, out, err = await run("enrol", server.token().encode(), "--config", config)
        assert (status, err) == (0, "")
        assert "enrolled as fax1@office.lan" in out
        assert f"lanpost agent --config {config}" in out
        status, out, _ = await run("--config", config, "--once", "--json")
        assert status == 0
        assert json.loads(out)["endpoint"] == "127.0.0.2:2525"
    status, out, err = await run("--config", config, "--once")
    assert (status, out) == (1, "")
    assert err.startswith("lanpost: https://127.0.0.1:")


async def test_what_is_missing_is_told_in_one_line(config: Path) -> None:
    for command in ([], ["--once"], ["status"]):
        status, _, err = await run("--config", config, *command)
        assert status == 1
        assert len(err.splitlines()) == 1
        assert "lanpost terminal add" in err
    status, _, err = await run("enrol", "lanpost1.abc", "--config", config)
    assert status == 1
    assert "paste it again" in err


async def test_an_impostor_is_refused_at_enrolment(authority: Authority, config: Path, tmp_path: Path) -> None:
    async with ScriptedRegistrar(make_authority(tmp_path)) as impostor:
        token = ScriptedRegistrar(authority).token("fax1@office.lan", impostor.url)
        status, _, err = await run("enrol", token.encode(), "--config", config)
    assert status == 1
    assert "pin" in err
    assert not (tmp_path / "data").exists()


async def test_hup_reads_the_configuration_again_and_term_ends_with_status_0(
    authority: Authority, config: Path
) -> None:
    async with ScriptedRegistrar(authority) as server:
        await run("enrol", server.token().encode(), "--config", config)
        agent = await start("--config", config)
        assert (await server.arrived(1))[0].peer == "127.0.0.2"
        second = await start("--config", config)
        _, err = await second.communicate()
        assert second.returncode == 1
        assert b"another agent" in err
        rewrite(config)
        agent.send_signal(signal.SIGHUP)
        assert (await server.arrived(2))[1].peer == "127.0.0.3"
        assert agent.stderr
        while b"127.0.0.3:2525" not in await agent.stderr.readline():
            pass
        status, out, _ = await run("status", "--json", "--config", config)
        assert (status, json.loads(out)["state"]) == (0, "registered")
        agent.send_signal(signal.SIGTERM)
        await agent.communicate()
        assert agent.returncode == 0
        assert server.requests[-1].method == "DELETE"
    status, out, _ = await run("status", "--config", config)
    assert status == 1
    assert "stopped" in out
