"""The agent, as it is, against the registration service, as it is: enrolled, pinned, registered."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.memory_stores import MemoryMailboxes

from lanpost.app.certificates import Certificates
from lanpost.app.charts import open_chart
from lanpost.app.config import parse
from lanpost.app.registration import ACCOUNTS_FILE, RegistrationService, enrol, enrol_anew
from lanpost.model.address import MailAddress
from lanpost.service.metrics import Metrics
from lanpost.store.accounts import SqliteAccounts

SOURCE = Path(__file__).parents[2] / "src"
FAX = MailAddress.parse("fax1@office.lan")


async def run(*words: str) -> tuple[int, str]:
    """A command's status, and what it said on stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lanpost",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    _, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stderr.decode()


async def test_an_enrolled_agent_registers_and_a_stranger_does_not(tmp_path: Path) -> None:
    server, terminal = tmp_path / "server", tmp_path / "terminal"
    server.mkdir()
    terminal.mkdir()
    settings = parse('data = "data"\n[http]\nlisten = ["127.0.0.1:0"]', server / "lanpost.toml")
    chart, accounts = open_chart(settings), SqliteAccounts(settings.data / ACCOUNTS_FILE)
    certificates = Certificates(settings)
    metrics = Metrics()
    service = RegistrationService(settings, chart, accounts, MemoryMailboxes(), certificates, metrics=metrics)
    await service.start()
    try:
        port = service.addresses[0][1]
        reached = parse(f'data = "data"\n[http]\nlisten = ["127.0.0.1:{port}"]', server / "lanpost.toml")
        token = await enrol(reached, FAX)
        config = terminal / "lanpost.toml"
        config.write_text('data = "data"\n')
        status, said = await run("agent", "enrol", token.encode(), "--config", str(config))
        assert status == 0, said
        status, said = await run("agent", "--once", "--config", str(config))
        assert status == 0, said
        entry = await chart.look_up(FAX)
        assert entry
        assert entry.binding
        assert str(entry.binding.endpoint) == "127.0.0.1:25"
        assert "lanpost_registrations_total 1" in metrics.text()
        await enrol_anew(reached, FAX)
        status, said = await run("agent", "--once", "--config", str(config))
        assert status == 1
        assert "secret" in said
    finally:
        await service.stop(5)
        await chart.close()
        accounts.close()
