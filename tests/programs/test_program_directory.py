"""`lanpost directory` as its administrator runs it, and the chart's LDAP face of a server of two processes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bench.processes import free_port
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram
from tests.directory_running import Client
from tests.program import HOST, PATIENCE, Program

from lanpost.net.own_addresses import own_addresses
from lanpost.wire import ldap_filter as f
from lanpost.wire.ldap_client import State
from lanpost.wire.ldap_controls import SYNC_REQUEST_OID, SyncMode, SyncRequest
from lanpost.wire.ldap_messages import (
    AddRequest,
    Control,
    Modification,
    ModificationKind,
    ModifyRequest,
    Scope,
    SearchEntry,
    SearchRequest,
)

FOLLOW = Control(SYNC_REQUEST_OID, value=SyncRequest(SyncMode.REFRESH_AND_PERSIST).encode())


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryProgram]:
    settings = {"ldap": {"anonymous": "read"}, "registrar": {"lifetime": "2h"}}
    with DirectoryProgram(tmp_path_factory.mktemp("directory"), settings) as running:
        yield running


def administrator(port: int) -> Client:
    client = Client(port)
    assert client.bind(ADMIN, PASSWORD.encode()) == 0
    return client


def addition(name: str, host: str = "") -> AddRequest:
    located = (("ipHostNumber", (host.encode(),)),) if host else ()
    return AddRequest(f"cn={name},{BASE}", (("objectClass", (b"device",)), ("cn", (name.encode(),)), *located))


def moved(name: str, host: str) -> ModifyRequest:
    change = Modification(ModificationKind.REPLACE, "ipHostNumber", (host.encode(),))
    return ModifyRequest(f"cn={name},{BASE}", (change,))


def found(client: Client, searched: f.Filter, *names: str) -> dict[str, tuple[tuple[str, tuple[bytes, ...]], ...]]:
    """Attributes of what matches, by cn."""
    entries = [each.operation for each in client.ask(SearchRequest(BASE, Scope.ONE, searched, names))]
    return {
        each.name.partition(",")[0].removeprefix("cn="): each.attributes
        for each in entries
        if isinstance(each, SearchEntry)
    }


# -- its administrator


def test_it_tells_of_itself(directory: DirectoryProgram) -> None:
    with Client(directory.port) as client:
        found(client, f.Present("cn"))
        status = directory.lanpost_json("status")
    assert status["running"] is True
    assert status["listeners"]["ldap"] == [f"{HOST}:{directory.port}"]
    assert status["listeners"]["http"] == [f"{HOST}:{directory.ports['http']}"]
    assert status["clients"] >= 1
    assert f"ldap {HOST}:{directory.port}" in directory.lanpost("status")


def test_other_machines_are_told_how_to_ask_it(tmp_path: Path, directory: DirectoryProgram) -> None:
    assert "no chart is served here that another machine could ask" in directory.lanpost("chart", "offer", status=1)
    if not own_addresses():
        pytest.skip("this machine has no address but its own loopback")
    everywhere = DirectoryProgram(tmp_path)
    everywhere.settings["ldap"]["listen"] = [f"0.0.0.0:{everywhere.port}"]
    everywhere.write_settings()
    with everywhere:
        offer = everywhere.lanpost_json("chart", "offer")
        shown = everywhere.lanpost("chart", "offer")
    assert [own_addresses()[0], everywhere.port] in offer["places"]
    assert offer["urls"][0] == f"ldaps://{own_addresses()[0]}:{everywhere.port}/{BASE}"
    assert offer["ca"] == everywhere.ca_file.read_text("ascii")
    assert (offer["open"], offer["domain"]) == (True, "office.lan")
    assert f'url = "{offer["urls"][0]}"' in shown
    assert "no server is running" in everywhere.lanpost("chart", "offer", status=1)


def test_a_mail_server_without_an_account_there_is_told_where_to_do_it(
    tmp_path: Path, directory: DirectoryProgram
) -> None:
    asking = tmp_path / "lanpost.toml"
    asking.write_text(f'data = "data"\n[chart]\nurl = "{directory.url}/{BASE}"\n')
    said = directory.lanpost("chart", "set", "fax9", "10.0.5.9", config=asking, status=1)
    assert "name an account in chart.bind_dn, or do it at the directory itself" in said


def test_what_the_commands_write_is_found_by_those_who_are_connected(directory: DirectoryProgram) -> None:
    with Client(directory.port) as client:
        one = f.Equals("mail", b"hand1@office.lan")
        assert found(client, one) == {}
        directory.bind("hand1", ("10.0.5.1", 25))
        assert found(client, one, "ipHostNumber") == {"hand1": (("ipHostNumber", (b"10.0.5.1",)),)}
        directory.bind("hand1", ("10.0.5.2", 25))
        assert found(client, one, "ipHostNumber") == {"hand1": (("ipHostNumber", (b"10.0.5.2",)),)}
        directory.lanpost("chart", "remove", "hand1")
        assert found(client, one) == {}


def test_sighup_takes_over_what_can_be_and_names_the_rest(directory: DirectoryProgram) -> None:
    def lease(name: str) -> int:
        with administrator(directory.port) as client:
            classes = (b"device", b"dynamicObject")
            attributes = (("objectClass", classes), ("cn", (name.encode(),)), ("ipHostNumber", (b"10.0.5.3",)))
            assert client.result(AddRequest(f"cn={name},{BASE}", attributes))[0] == 0
            ((told, (seconds,)),) = found(client, f.Equals("cn", name.encode()), "entryTtl")[name]
            assert told == "entryTtl"
            return int(seconds)

    with Client(directory.port) as stays:
        assert 7100 < lease("lease1") <= 7200
        settings = directory.settings
        before = settings["registrar"], settings["ldap"]["anonymous"]
        settings["registrar"] = {"lifetime": "10m"}
        settings["ldap"]["anonymous"] = "none"
        directory.reload()
        directory.wait_until(lambda: "settings reloaded" in directory.log(), "the new settings")
        assert 500 < lease("lease2") <= 600
        assert '"at_next_start": ["ldap.anonymous"]' in directory.log()
        assert len(found(stays, f.Substrings("cn", b"lease", (), b""))) == 2  # who is connected stays so
        settings["registrar"] = {"lifetime": "never"}
        directory.reload()
        directory.wait_until(lambda: "settings not reloaded" in directory.log(), "the refusal")
        assert "registrar.lifetime" in directory.log()
        assert 500 < lease("lease3") <= 600
        settings["registrar"], settings["ldap"]["anonymous"] = before
        directory.write_settings()


def test_sigterm_takes_leave_and_ends_well(tmp_path: Path) -> None:
    with DirectoryProgram(tmp_path) as directory:
        with administrator(directory.port) as client, Client(directory.port) as follower:
            follower.send(SearchRequest(BASE, Scope.ONE, f.Present("cn")), controls=[FOLLOW])
            assert follower.next() is not None
            names = [f"last{number}" for number in range(20)]
            asked = dict(zip(client.send(*[addition(name) for name in names]), names, strict=True))
            directory.wait_until(lambda: "last0" in directory.log(), "the first of them")
            assert directory.stop() == 0
            answered: list[str] = []
            while (message := client.next()) is not None and message.id:
                answered.append(asked[message.id])
            assert message is not None, "no notice of disconnection"
            assert client.session.state is State.CLOSED
            while (message := follower.next()) is not None and message.id:
                pass
            assert message is not None, "no notice of disconnection"
        assert '"event": "stopped"' in directory.log()
        known = {entry["address"] for entry in directory.lanpost_json("chart", "list")}
        assert {f"{name}@office.lan" for name in answered} <= known


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ldap": {"listen": ["nowhere:389"]}}, "ldap.listen"),
        ({"ldap": {"suffix": "no name"}}, "ldap.suffix"),
        ({"ldap": {"anonymous": "maybe"}}, "ldap.anonymous"),
        ({"ldap": {"admin_password_file": "not-there"}}, "ldap.admin_password_file"),
        ({"ldap": {"client_ca_file": "admin.password"}}, "ldap.client_ca_file"),
        ({"ldap": {"entries": 0}}, "ldap.entries"),
        ({"ldap": {"listen": [f"{HOST}:{{}}"]}, "http": {"listen": [f"{HOST}:{{}}"]}}, "both name port"),
        ({"authentication": {"networks_without_tls": ["0.0.0.0/0"]}}, "authentication.networks_without_tls"),
        ({"chart": {"url": "gopher://x"}}, "chart.url"),
    ],
    ids=lambda each: "" if isinstance(each, Mapping) else each,
)
def test_a_configuration_that_cannot_be_is_refused_in_a_line(
    tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    port = free_port()
    for table in settings.values():
        if "listen" in table:
            table["listen"] = [each.format(port) for each in table["listen"]]
    directory = DirectoryProgram(tmp_path, settings)
    said = directory.lanpost("directory", status=1)
    assert told in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_a_second_one_at_the_same_port_says_who_has_it(directory: DirectoryProgram, tmp_path: Path) -> None:
    other = DirectoryProgram(tmp_path, {"ldap": {"listen": [f"{HOST}:{directory.port}"]}})
    assert f"cannot listen on {HOST}:{directory.port}" in other.lanpost("directory", status=1)
    assert directory.lanpost_json("status")["running"] is True
    assert directory.lanpost_json("status", "--ready") == {"ready": True, "state": "ready"}


# -- killed


@dataclass
class Writer:
    """Adds terminals and moves them, many at a time, for as long as somebody answers."""

    port: int
    prefix: str
    added: dict[str, str] = field(default_factory=dict)  # answered: names, and where each was said to be last
    asked: dict[str, set[str]] = field(default_factory=dict)  # where each may be besides

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        try:
            with administrator(self.port) as client:
                number = 0
                while True:
                    names = [f"{self.prefix}{number + each}" for each in range(16)]
                    self._ask(client, {name: addition(name, "10.0.6.1") for name in names}, "10.0.6.1")
                    self._ask(client, {name: moved(name, "10.0.6.2") for name in names[::2]}, "10.0.6.2")
                    number += len(names)
        except OSError:
            pass  # it has been killed

    def _ask(self, client: Client, requests: dict[str, Any], host: str) -> None:
        for name in requests:
            self.asked.setdefault(name, set()).add(host)
        names = dict(zip(client.send(*requests.values()), requests, strict=True))
        while names:
            message = client.next()
            if message is None:
                raise ConnectionResetError
            answer: Any = message.operation
            assert answer.result.code == 0, answer
            name = names.pop(message.id)
            self.added[name] = host
            self.asked[name] = set()


def test_no_change_that_was_answered_is_lost_when_it_is_killed(tmp_path: Path) -> None:
    """SIGKILL in the midst of writes, three times."""
    with DirectoryProgram(tmp_path) as directory:
        everybody: list[Writer] = []
        for kill in range(3):
            writers = [Writer(directory.port, f"w{kill}-{number}-") for number in range(4)]
            directory.wait_until(lambda: sum(len(each.added) for each in writers) > 200, "answers")  # noqa: B023
            directory.kill()
            for writer in writers:
                writer.join()
            everybody += writers
            directory.start()
        with administrator(directory.port) as client:
            there = {
                name: dict(attributes)["ipHostNumber"][0].decode()
                for name, attributes in found(client, f.Present("ipHostNumber"), "ipHostNumber").items()
            }
    for writer in everybody:
        for name, host in writer.added.items():
            assert there.get(name) in {host, *writer.asked[name]}, f"{name} was answered and is lost"


# -- several processes


def test_processes_of_one_server_answer_as_one(tmp_path: Path) -> None:
    """What is written on one connection is found on every other as soon as it is answered."""
    port = free_port()
    program = Program(tmp_path, {"workers": 2, "ldap": {"listen": [f"{HOST}:{port}"]}})
    with program:
        program.wait_until(lambda: '"ready"' in program.log(), "all processes")
        token = (tmp_path / "data/admin.token").read_text("ascii").strip()
        clients: list[Client] = []
        try:
            while (
                len(clients) < 6 or len(processes(program, clients)) < 2
            ):  # who serves whom is the kernel's choice
                assert len(clients) < 100, "one process never gets a connection"
                clients.append(Client(port))
                assert clients[-1].bind(ADMIN, token.encode()) == 0
            for number, writer in enumerate(clients):
                name = f"fax{number}"
                assert writer.result(addition(name, "10.0.7.1"))[0] == 0
                for host in ("10.0.7.2", "10.0.7.3"):
                    assert writer.result(moved(name, host))[0] == 0
                    for reader in clients:
                        for searched in (
                            f.Equals("mail", f"{name}@office.lan".encode()),
                            f.Equals("cn", name.encode()),
                        ):
                            at = found(reader, searched, "ipHostNumber")
                            assert at == {name: (("ipHostNumber", (host.encode(),)),)}
            assert program.lanpost_json("lookup", "fax3")["endpoint"] == "10.0.7.3:25"
        finally:
            for client in clients:
                client.close()


def test_who_follows_the_chart_is_told_whichever_process_has_changed_it(tmp_path: Path) -> None:
    port = free_port()
    program = Program(tmp_path, {"workers": 2, "ldap": {"listen": [f"{HOST}:{port}"]}})
    with program:
        program.wait_until(lambda: '"ready"' in program.log(), "all processes")
        token = (tmp_path / "data/admin.token").read_text("ascii").strip()
        clients = [Client(port) for _ in range(8)]
        followers = [Client(port) for _ in range(8)]
        try:
            for follower in followers:
                follower.send(SearchRequest(BASE, Scope.ONE, f.Present("cn"), ("cn",)), controls=[FOLLOW])
                assert follower.next() is not None  # nothing is there
            for number, client in enumerate(clients):
                assert client.bind(ADMIN, token.encode()) == 0
                assert client.result(addition(f"fax{number}"))[0] == 0
            for follower in followers:
                told: list[str] = []
                while len(told) < len(clients):
                    message = follower.next()
                    assert message is not None
                    assert isinstance(message.operation, SearchEntry)
                    told.append(message.operation.name)
                assert told == [f"cn=fax{number},{BASE}" for number in range(len(clients))]
        finally:
            for client in (*clients, *followers):
                client.close()


def processes(program: Program, clients: list[Client]) -> set[int]:
    """Which processes of the program serve those clients."""
    assert program.process
    first = program.process.pid
    children = Path(f"/proc/{first}/task/{first}/children").read_text("ascii").split()
    ours = {client.socket.getsockname()[1] for client in clients}
    inodes: dict[str, int] = {}
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) in ours:
            inodes[fields[9]] = int(fields[2].rpartition(":")[2], 16)
    serving = set()
    for pid in (first, *map(int, children)):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            if match and match[1] in inodes:
                serving.add(pid)
    return serving
