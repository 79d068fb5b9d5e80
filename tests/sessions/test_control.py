"""The control socket, and `lanpost queue` and `status` through it or, without a server, straight on the files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.queue_bench import QueueBench, address, queue_bench

from lanpost.app.control import ControlServer
from lanpost.cli.main import main
from lanpost.errors import LanpostError, ServerNotRunning
from lanpost.net.control import MAX_REQUEST, ControlListener, ask


@pytest.fixture
def data(tmp_path: Path) -> Path:
    deep = tmp_path / ("a-long-name-" * 12)  # longer than a socket's name may be
    deep.mkdir()
    (deep / "lanpost.toml").write_text('data = "."\n')
    return deep


@pytest.fixture
async def bench(data: Path) -> AsyncIterator[QueueBench]:
    async with queue_bench(data, spool="spool/0") as made:
        status = {"version": "9", "queue": 0}
        control = ControlServer(data / "control.sock", made.queue, lambda: status)
        await control.start()
        with capture_logs():  # they would be printed among what the commands print
            yield made
        await control.stop()


async def lanpost(data: Path, *arguments: str) -> tuple[int, str, str]:
    """Status, output and complaints of a command."""
    out, err = io.StringIO(), io.StringIO()

    def run() -> int:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([*arguments, "--config", str(data / "lanpost.toml")])
            except SystemExit as stop:
                return int(stop.code or 0)
        return 0

    return await asyncio.to_thread(run), out.getvalue(), err.getvalue()


async def held(bench: QueueBench, name: str) -> str:
    await bench.chart.add(address(name))
    mail = await bench.accept(name)
    count = bench.queue.counters.held
    await bench.until(lambda: bench.queue.counters.held > count or bool(_reply(bench, mail.id)))
    return mail.id


def _reply(bench: QueueBench, mail_id: str) -> str:
    mail = bench.queue.show(mail_id)
    return mail.recipients[0].last_reply if mail else ""


async def test_the_queue_is_shown(bench: QueueBench, data: Path) -> None:
    mail_id = await held(bench, "fax1")
    status, out, _ = await lanpost(data, "queue", "list", "--json")
    (mail,) = json.loads(out)
    assert (status, mail["id"], mail["sender"], mail["on_hold"]) == (0, mail_id, "a@office.lan", False)
    assert mail["recipients"][0]["state"] == "held"
    _, table, _ = await lanpost(data, "queue", "list")
    assert mail_id in table
    assert "fax1@office.lan" in table
    _, shown, _ = await lanpost(data, "queue", "show", mail_id)
    assert "registered" in shown
    _, one, _ = await lanpost(data, "queue", "show", mail_id, "--json")
    assert json.loads(one) == mail


async def test_the_queue_is_managed(bench: QueueBench, data: Path) -> None:
    mail_id = await held(bench, "fax1")
    assert await lanpost(data, "queue", "hold", mail_id) == (0, f"{mail_id} is on hold\n", "")
    assert (await lanpost(data, "queue", "retry"))[1] == "0 mails tried now\n"
    assert "on hold" in (await lanpost(data, "queue", "list"))[1]
    assert (await lanpost(data, "queue", "retry", mail_id))[1] == "1 mail tried now\n"
    assert (await lanpost(data, "queue", "remove", mail_id))[0] == 0
    assert not bench.queue.list()


@pytest.mark.parametrize("command", ["show", "hold", "remove", "retry"])
async def test_an_unknown_mail_is_refused_in_one_line(bench: QueueBench, data: Path, command: str) -> None:
    status, out, err = await lanpost(data, "queue", command, "x1")
    assert (status, out) == (1, "")
    assert err == "lanpost: no mail x1 is waiting; `lanpost queue list` shows those that are\n"


async def test_without_a_server_the_files_are_used(bench: QueueBench, data: Path) -> None:
    first, second = await held(bench, "fax1"), await held(bench, "fax2")
    await bench.stop()
    (data / "control.sock").unlink()
    _, out, _ = await lanpost(data, "queue", "list", "--json")
    assert [mail["id"] for mail in json.loads(out)] == [first, second]
    assert (await lanpost(data, "queue", "hold", first))[0] == 0
    assert "on hold" in (await lanpost(data, "queue", "show", first))[1]
    assert (await lanpost(data, "queue", "remove", second))[0] == 0
    assert (await lanpost(data, "queue", "remove", second))[0] == 1
    status, _, err = await lanpost(data, "queue", "retry")
    assert status == 1
    assert "no server is running" in err
    bench.start()
    assert [(mail.id, mail.frozen) for mail in bench.queue.list()] == [(first, True)]


async def test_a_busy_spool_without_a_socket_is_left_alone(bench: QueueBench, data: Path) -> None:
    (data / "control.sock").unlink()
    status, _, err = await lanpost(data, "queue", "list")
    assert status == 1
    assert f"in use by process {os.getpid()}" in err


async def test_an_empty_installation_has_an_empty_queue(data: Path) -> None:
    assert (await lanpost(data, "queue", "list", "--json"))[:2] == (0, "[]\n")


async def test_status_says_whether_a_server_runs(bench: QueueBench, data: Path) -> None:
    _, out, _ = await lanpost(data, "status", "--json")
    assert json.loads(out) == {"running": True, "version": "9", "queue": 0}
    assert (await lanpost(data, "status"))[1].startswith("running\nversion: 9\n")
    (data / "control.sock").unlink()
    status, out, err = await lanpost(data, "status")
    assert (status, out) == (1, "")
    assert "no server is running" in err


# The socket itself.


async def refuse(_arguments: Mapping[str, Any]) -> Iterable[Any]:
    raise LanpostError("no")


async def count(arguments: Mapping[str, Any]) -> Iterable[Any]:
    return range(int(arguments["to"]))


@pytest.fixture
async def socket_path(tmp_path: Path) -> AsyncIterator[Path]:
    listener = ControlListener(tmp_path / "c.sock", {"count": count, "refuse": refuse})
    await listener.start()
    yield tmp_path / "c.sock"
    await listener.stop()
    assert not (tmp_path / "c.sock").exists()


async def test_many_items_come_one_by_one(socket_path: Path) -> None:
    found = await asyncio.to_thread(lambda: list(ask(socket_path, "count", to=20_000)))
    assert found == list(range(20_000))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_only_its_owner_may_ask(socket_path: Path) -> None:
    assert mode(socket_path) == 0o600


@pytest.mark.parametrize("command", ["refuse", "unheard of"])
async def test_a_refusal_is_an_error(socket_path: Path, command: str) -> None:
    with pytest.raises(LanpostError):
        await asyncio.to_thread(lambda: list(ask(socket_path, command)))


async def test_nobody_there_is_said_as_such(tmp_path: Path) -> None:
    for path in (tmp_path / "c.sock", tmp_path / "no" / "c.sock"):
        with pytest.raises(ServerNotRunning):
            list(ask(path, "x"))


async def test_a_killed_servers_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "c.sock"))
    with pytest.raises(ServerNotRunning):
        list(ask(tmp_path / "c.sock", "x"))
    listener = ControlListener(tmp_path / "c.sock", {"count": count})
    await listener.start()
    assert await asyncio.to_thread(lambda: list(ask(tmp_path / "c.sock", "count", to=1))) == [0]
    await listener.stop()


@pytest.mark.parametrize(
    "request_line", [b'{"command": {}}\n', b'{"command": []}\n', b'{"command": "count", "arguments": 1}\n', b"[]\n"]
)
async def test_a_request_of_the_wrong_shape_is_answered(socket_path: Path, request_line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket_path))
    writer.write(request_line)
    assert json.loads(await reader.readline()) == {"error": "not a control request"}
    writer.close()


@pytest.mark.parametrize(
    "request_line", [b"\n", b"nonsense\n", b"[]\n", b'{"command": {}}\n', b"x" * (2 * MAX_REQUEST), b""]
)
async def test_nonsense_harms_nobody(socket_path: Path, request_line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket_path))
    writer.write(request_line)
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    assert await asyncio.to_thread(lambda: list(ask(socket_path, "count", to=2))) == [0, 1]
