"""The hook as a DHCP server starts it: quick, never two at the sending, and patient with the registrar."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.sessions.api_server import serving
from tests.sessions.scripted_registrar import ScriptedRegistrar, make_authority

import lanpost
from lanpost.app.enrolment import recognised, save
from lanpost.cli.main import lanpost as command
from lanpost.model.account import Terminal
from lanpost.model.address import MailAddress
from lanpost.model.device import Device
from lanpost.model.token import EnrolmentToken
from lanpost.net.registrar_access import pin_of
from lanpost.store.lease_spool import LeaseSpool

SOURCE = str(Path(lanpost.__file__).parent.parent)
MAC = "02:00:0a:4d:00:02"
PATIENCE = 30.0


def hook(folder: Path, event: str, address: str = "10.77.0.10", *more: str) -> subprocess.Popen[str]:
    """As dnsmasq does: an environment of its own, and nothing of ours in it."""
    return subprocess.Popen(
        [sys.executable, "-m", "lanpost", "dhcp-hook", "dnsmasq", "--folder", folder, event, MAC, address, *more],
        env={"DNSMASQ_TIME_REMAINING": "3600", "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def finished(*hooks: subprocess.Popen[str]) -> None:
    """All have ended well, and nobody holds their output any more: dnsmasq waits for that."""
    for each in hooks:
        assert await asyncio.to_thread(each.communicate, timeout=PATIENCE) == ("", "")
        assert each.returncode == 0


async def enrol(folder: Path, token: str) -> None:
    save(folder, (await recognised(token))[0])


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not done():  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.01)


def is_idle(folder: Path) -> bool:
    """Nothing waits, and nobody sends."""
    spool = LeaseSpool(str(folder))
    if spool.waiting() or (right := spool.claim()) is None:
        return False
    os.close(right)
    return True


def named(name: str) -> MailAddress:
    return MailAddress.parse(name, "office.lan")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "hook"
    folder.mkdir()
    return folder


@pytest.fixture
async def registrar(tmp_path: Path, folder: Path) -> AsyncIterator[ScriptedRegistrar]:
    """One that says "heard" to everything, and whose token the hook has."""
    server = ScriptedRegistrar(make_authority(tmp_path), answer=lambda _: (204, None))
    async with server:
        await enrol(folder, server.token("dhcp@office.lan").encode())
        yield server


def told(registrar: ScriptedRegistrar) -> list[tuple[str, str]]:
    return [(request.body["event"], request.body["address"]) for request in registrar.requests]


async def test_a_lease_becomes_a_binding_and_its_end_takes_it_away(tmp_path: Path, folder: Path) -> None:
    async with serving(tmp_path) as api:
        secret = await api.enrol("dhcp", speaks_for_others=True)
        url = f"https://{api.host}:{api.port}"
        token = EnrolmentToken((url,), pin_of(api.authority.ca_pem.decode()), named("dhcp"), secret)
        await enrol(folder, token.encode())
        scanner = Terminal(named("scanner"), b"", datetime.now(UTC), device=Device.of(mac=MAC))
        api.accounts.put_terminal(scanner)
        await finished(hook(folder, "add"))
        await until(lambda: is_idle(folder))
        entry = await api.chart.look_up(scanner.address)
        assert entry
        assert entry.binding
        assert (str(entry.binding.endpoint), entry.binding.owner) == ("10.77.0.10:25", "dhcp@office.lan")
        await finished(hook(folder, "del"))
        await until(lambda: is_idle(folder))
        entry = await api.chart.look_up(scanner.address)
        assert entry
        assert entry.binding is None


async def test_what_is_sent_is_what_the_api_takes(registrar: ScriptedRegistrar, folder: Path) -> None:
    await finished(hook(folder, "add", "10.77.0.10", "Scanner.office.lan"))
    (request,) = await registrar.arrived(1)
    age = request.body.pop("age")
    assert 0 <= age < 5
    assert (request.method, request.path) == ("POST", "/v1/leases")
    assert request.headers["authorization"] == "Bearer s3cret"
    assert request.body == {
        "event": "bound",
        "address": "10.77.0.10",
        "mac": MAC,
        "hostname": "scanner",
        "lifetime": 3600,
    }


@pytest.mark.parametrize("name", ["$(touch pwned)", "a;b", "x" * 300, "a\nevent=released", "-rf", "\udcff\udcfe"])
async def test_a_host_name_that_is_none_is_left_out_and_nothing_else_happens(
    registrar: ScriptedRegistrar, folder: Path, name: str
) -> None:
    await finished(hook(folder, "add", "10.77.0.10", name))
    (request,) = await registrar.arrived(1)
    assert "hostname" not in request.body
    assert (request.body["event"], request.body["mac"]) == ("bound", MAC)


@pytest.mark.parametrize("address", ["../x", "10.77.0.10/24", "999.1.1.1", "::::"])
async def test_what_is_no_address_is_not_sent(registrar: ScriptedRegistrar, folder: Path, address: str) -> None:
    await finished(hook(folder, "add", address))
    await until(lambda: is_idle(folder))
    assert registrar.requests == []


async def test_one_sends_for_all_and_of_an_address_the_last_word_counts(
    registrar: ScriptedRegistrar, folder: Path
) -> None:
    registrar.hangs = True
    await finished(hook(folder, "add", "10.77.0.1"))
    await registrar.arrived(1)
    await finished(*(hook(folder, "add", f"10.77.0.{number}") for number in range(2, 25)))
    await finished(hook(folder, "old", "10.77.0.2"), hook(folder, "del", "10.77.0.3"))
    assert len(registrar.requests) == 1  # the others have left it to the first one's process
    registrar.hangs = False
    registrar.let_go()
    await until(lambda: is_idle(folder))
    words = {address: event for event, address in told(registrar)[1:]}
    assert len(words) == len(registrar.requests) - 1 == 24
    assert (words["10.77.0.2"], words["10.77.0.3"], words["10.77.0.4"]) == ("renewed", "released", "bound")


async def test_while_the_registrar_is_away_words_wait_and_age(tmp_path: Path, folder: Path) -> None:
    authority = make_authority(tmp_path)
    async with ScriptedRegistrar(authority, answer=lambda _: (204, None)) as registrar:
        await enrol(folder, registrar.token("dhcp@office.lan").encode())
        port = registrar.port
    await finished(hook(folder, "add"))
    await finished(hook(folder, "add", "10.77.0.11"))
    await until((folder / ".trouble").exists)
    shown = await asyncio.to_thread(
        CliRunner().invoke, command, ["dhcp-hook", "status", "--folder", str(folder), "--json"]
    )
    status = json.loads(shown.stdout)
    assert shown.exit_code == 1
    assert [item["address"] for item in status["waiting"]] == ["10.77.0.10", "10.77.0.11"]
    assert "refused" in status["trouble"].lower()
    await finished(hook(folder, "del", "10.77.0.11"))
    async with ScriptedRegistrar(authority, answer=lambda _: (204, None), port=port) as registrar:
        await until(lambda: is_idle(folder))
        assert told(registrar) == [("bound", "10.77.0.10"), ("released", "10.77.0.11")]
        assert registrar.requests[0].body["age"] > registrar.requests[1].body["age"] > 0
    shown = await asyncio.to_thread(CliRunner().invoke, command, ["dhcp-hook", "status", "--folder", str(folder)])
    assert (shown.exit_code, "waiting   0" in shown.stdout) == (0, True)


async def test_what_the_registrar_refuses_is_not_said_again(registrar: ScriptedRegistrar, folder: Path) -> None:
    registrar.answer = lambda request: (422 if request.body["address"].endswith(".10") else 204, {"detail": "no"})
    await finished(hook(folder, "add"), hook(folder, "add", "10.77.0.11"))
    await until(lambda: is_idle(folder))
    assert len(registrar.requests) == 2


async def test_an_account_that_may_not_speak_keeps_its_words(registrar: ScriptedRegistrar, folder: Path) -> None:
    registrar.answer = lambda _: (403, {"detail": "it speaks for itself only"})
    await finished(hook(folder, "add"))
    await until((folder / ".trouble").exists)
    assert "speaks for itself only" in (folder / ".trouble").read_text()
    assert len(LeaseSpool(str(folder)).waiting()) == 1


def test_a_folder_that_is_not_there_is_complained_of(tmp_path: Path) -> None:
    late = hook(tmp_path / "nowhere", "add")
    _, complaint = late.communicate(timeout=PATIENCE)
    assert late.returncode == 1
    assert "nowhere" in complaint
    assert "lanpost dhcp-hook enrol" in complaint


def test_enrolling_says_what_comes_next(tmp_path: Path) -> None:
    token = ScriptedRegistrar(make_authority(tmp_path), port=9).token("dhcp@office.lan").encode()
    folder = tmp_path / "new"
    shown = CliRunner().invoke(command, ["dhcp-hook", "enrol", "-", "--folder", str(folder)], input=token)
    assert "enrolled as dhcp@office.lan" in shown.stdout
    assert "not reached" in shown.stderr
    assert folder.stat().st_mode & 0o77 == 0
    assert CliRunner().invoke(command, ["dhcp-hook", "status", "--folder", str(folder)]).exit_code == 0


def test_a_hook_loads_next_to_nothing() -> None:
    """It is started for each lease, and dnsmasq does one after the other."""
    program = "import sys; from lanpost.app import lease_hook; print(*sys.modules)"
    words = [sys.executable, "-S", "-c", program]
    shown = subprocess.run(words, env={"PYTHONPATH": SOURCE}, capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert len(loaded) < 50
    assert not loaded & {"click", "re", "json", "asyncio", "ssl", "socket", "dataclasses", "pathlib"}
