"""Two versions of lanpost in one network, and one after the other on one machine: this one and a real older one."""

from __future__ import annotations

import json
import mailbox
import poplib
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.agent_program import AgentProgram
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram
from tests.enrolled import Enrolled
from tests.old_version import unpacked
from tests.program import HOST, PATIENCE, SOURCE, Program, as_toml, environment_of, run_lanpost
from tests.terminals import Terminals, subjects

from lanpost.app.queue_access import QueueAccess
from lanpost.cli.main import main

MAC = "00:11:22:33:44:55"
BIG = "x" * 70 + "\r\n"
REFUSED = "{data} is of format 2, made by lanpost 9.1.0; this is lanpost "
COMMANDS = (
    "agent --once",
    "agent status",
    "agent forget",
    "check",
    "chart list",
    "lookup fax1",
    "terminal add fax9",
    "terminal list",
    "user list",
    "queue list",
    "ca show",
)


@dataclass(frozen=True)
class Pair:
    """Where the packages of two versions lie; `who` of each is who runs it in the test."""

    first: Path
    second: Path


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(tmp_path_factory.mktemp("old"))


@pytest.fixture(params=["old-new", "new-old"])
def pair(request: pytest.FixtureRequest, old: Path) -> Pair:
    sources = {"old": old, "new": SOURCE}
    return Pair(*(sources[name] for name in request.param.split("-")))


def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def send(program: Program, to: str, subject: str, body: str = "x\r\n") -> None:
    with program.smtp() as client:
        assert not client.sendmail("anna@office.lan", [to], f"Subject: {subject}\r\n\r\n{body}")


def inbox(agent: AgentProgram) -> list[str]:
    """Subjects of what the agent took, in order."""
    folder = agent.folder / "inbox"
    if not all((folder / part).exists() for part in ("new", "cur", "tmp")):
        return []  # the agent is about to make it
    return sorted(str(mail["subject"]) for mail in mailbox.Maildir(folder))


def registrations(program: Program, address: str) -> list[dict[str, Any]]:
    """What the server's log says of them."""
    lines = [json.loads(line) for line in program.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "terminal registered" and line["address"] == address]


def test_the_older_version_is_the_older_version(tmp_path: Path, old: Path) -> None:
    """Else all that follows shows nothing."""
    program = Program(tmp_path, source=old)
    program.lanpost("ca", "show")
    assert not (tmp_path / "data/format.json").exists()
    program.use(SOURCE)
    program.lanpost("ca", "show")
    assert program.lanpost("user", "list")


# In one network.


def test_an_agent_and_a_server_of_two_versions(tmp_path: Path, pair: Pair) -> None:
    """Enrolment over TLS, proof, renewal, the refresh request, a move, a new name, a goodbye."""
    heard = udp_port()
    settings = {"registrar": {"lifetime": "4s", "refresh_port": heard}}
    with Program(tmp_path / "server", settings, source=pair.second) as server:
        at, moved = server.new_endpoint(), server.new_endpoint()
        token = server.lanpost_json("terminal", "add", "fax1")["token"]
        send(server, "fax1", "held")
        own = {"receive": "../inbox", "refresh_port": heard}
        agent = AgentProgram(tmp_path / "agent", token, at, own, source=pair.first)
        with agent.running():
            agent.wait_until(lambda: inbox(agent) == ["held"], "the held mail")
            shown = server.lanpost_json("terminal", "show", "fax1")
            assert (shown["endpoint"], shown["proof"][:4]) == (f"{at[0]}:{at[1]}", "tls:")
            count = len(registrations(server, "fax1@office.lan"))
            server.wait_until(lambda: len(registrations(server, "fax1@office.lan")) > count, "the renewal")

            server.lanpost("refresh", "fax1")
            agent.wait_until(lambda: "the registrar asks for a registration" in agent.log(), "the request")

            agent.says_it_is_at(moved)
            place = f"{moved[0]}:{moved[1]}"
            server.wait_until(
                lambda: registrations(server, "fax1@office.lan")[-1]["endpoint"] == place, "the registration there"
            )
            send(server, "fax1", "moved")
            agent.wait_until(lambda: inbox(agent) == ["held", "moved"], "the mail there")

            server.lanpost("terminal", "rename", "fax1", "fax2")
            agent.wait_until(lambda: "fax1@office.lan is fax2@office.lan now" in agent.log(), "its new name")
            send(server, "fax2", "renamed")
            agent.wait_until(lambda: inbox(agent) == ["held", "moved", "renamed"], "the mail for its new name")
            assert json.loads(agent.lanpost("agent", "status", "--json"))["address"] == "fax2@office.lan"
        assert server.lanpost_json("lookup", "fax2")["outcome"] == "hold"  # it has said goodbye


def test_a_claim_and_a_dhcp_servers_word_in_two_versions(tmp_path: Path, pair: Pair) -> None:
    """An agent without a token, and a hook that speaks for a device."""
    settings = {"registrar": {"policy": "claim", "networks": ["127.0.0.0/8"]}, "discovery": {"advertise": False}}
    with Program(tmp_path / "server", settings, source=pair.second) as server:
        at = server.new_endpoint()
        file = tmp_path / "agent/agent.toml"
        file.parent.mkdir()
        registrar = f"https://{HOST}:{server.ports['http']}"
        own = {"name": "fax1", "port": at[1], "address": at[0], "registrar": [registrar]}
        file.write_text(as_toml({"data": "agent", "agent": own}))
        there = environment_of(pair.first)
        for _ in range(2):  # claimed, and then known by the key
            assert f"{at[0]}:{at[1]}" in run_lanpost(there, file, "agent", "--once")
        assert server.lanpost_json("lookup", "fax1")["endpoint"] == f"{at[0]}:{at[1]}"

        _, told = server.lanpost_together(
            ("terminal", "add", "scanner", "--mac", MAC, "--port", str(server.endpoint_port)),
            ("terminal", "add", "dhcp", "--speaks-for-others", "--json"),
        )
        hook = [sys.executable, "-m", "lanpost", "dhcp-hook"]
        folder = ["--folder", str(tmp_path / "hook")]
        told_by = {**there, "DNSMASQ_TIME_REMAINING": "3600"}
        for words in (["enrol", json.loads(told)["token"], *folder], ["dnsmasq", *folder, "add", MAC, "127.9.9.8"]):
            subprocess.run([*hook, *words], env=told_by, check=True, capture_output=True, timeout=PATIENCE)
        server.wait_until(lambda: bool(registrations(server, "scanner@office.lan")), "the DHCP server's word")
        assert registrations(server, "scanner@office.lan")[0]["endpoint"] == f"127.9.9.8:{server.endpoint_port}"


@pytest.mark.parametrize("replica", [False, True], ids=["asked", "copied"])
def test_a_directory_and_a_mail_server_of_two_versions(
    tmp_path: Path, pair: Pair, terminals: Terminals, replica: bool
) -> None:
    """The chart over LDAP, asked for each mail or copied (RFC 4533); an agent that registers with the directory."""
    directory = DirectoryProgram(tmp_path / "directory", source=pair.first)
    chart = {"url": f"{directory.url}/{BASE}", "bind_dn": ADMIN, "password_file": "password", "replica": replica}
    mail = Program(tmp_path / "mail", {"chart": chart}, source=pair.second)
    (mail.folder / "password").write_text(PASSWORD, "ascii")
    directory.settings["delivery"]["endpoint_ports"] = [mail.endpoint_port]
    directory.write_settings()
    with directory, mail:
        at, by_hand = mail.new_endpoint(), mail.new_endpoint()
        here, there = terminals.listen(at), terminals.listen(by_hand)
        token = directory.lanpost_json("terminal", "add", "fax1", "--ldap")["token"]
        if replica:
            mail.wait_until(lambda: "chart copy complete" in mail.log(), "the copy")
        mail.wait_until(lambda: is_known(mail, "fax1"), "the terminal")
        send(mail, "fax1", "held")
        agent = AgentProgram(tmp_path / "agent", token, at, source=pair.second)
        with agent.running():
            mail.wait_until(lambda: subjects(here.mails) == ["held"], "the held mail")
        directory.bind("fax2", by_hand)
        mail.wait_until(lambda: is_known(mail, "fax2"), "the other one")
        send(mail, "fax2", "by hand")
        mail.wait_until(lambda: subjects(there.mails) == ["by hand"], "the mail to it")


def is_known(mail: Program, name: str) -> bool:
    """The running server takes mail for it; a copy of the chart is a moment behind."""
    with mail.smtp() as client:
        client.ehlo()
        client.mail("anna@office.lan")
        return client.rcpt(name)[0] == 250


# On one machine.


def waiting(program: Program) -> list[str]:
    """The state of each waiting mail, oldest first."""
    return [each["state"] for mail in QueueAccess(program.folder / "data").mails() for each in mail["recipients"]]


def test_commands_and_a_server_of_two_versions(tmp_path: Path, pair: Pair, terminals: Terminals) -> None:
    """While an upgrade is half done: questions through the control socket, and work on the files beside."""
    settings = {"workers": 2, "delivery": {"first_retry": "1m", "last_retry": "1m"}}
    with Program(tmp_path, settings, source=pair.second) as program:
        program.use(pair.first)
        at = program.new_endpoint()
        program.bind("fax1", at)
        send(program, "fax1", "first")
        send(program, "fax1", "second")
        program.wait_until(lambda: waiting(program) == ["due", "due"], "the first tries")
        listed, running, asked = program.lanpost_together(
            ("queue", "list", "--json"), ("status", "--json"), ("refresh",)
        )
        status = json.loads(running)
        assert (status["running"], status["received"]) == (True, 2)
        assert "asked" in asked
        first, second = (mail["id"] for mail in json.loads(listed))
        fax1 = terminals.listen(at)
        *_, shown, _, tried = program.lanpost_together(
            ("queue", "hold", first),
            ("queue", "show", first, "--json"),
            ("queue", "remove", second),
            ("queue", "retry", first),
        )
        assert json.loads(shown)["on_hold"]
        assert "1 mail tried" in tried
        program.wait_until(lambda: not waiting(program), "an empty queue")
        assert subjects(fax1.mails) == ["first"]

        program.add_user("bert", "secret words")
        fax2 = Enrolled.new(program)
        fax2.register(program.new_endpoint())
        send(program, "bert", "for a person")
        people, devices = program.lanpost_together(("user", "list", "--json"), ("terminal", "list", "--json"))
        assert json.loads(people)[0]["mails"] == 1
        assert [each["state"] for each in json.loads(devices)] == ["live"]


def all_of(program: Program) -> dict[str, Any]:
    """What a stopped server's folder holds, as its version tells it."""
    file = program.folder / "export.csv"
    *told, _ = program.lanpost_together(
        ("terminal", "list", "--json"),
        ("user", "list", "--json"),
        ("ca", "show", "--json"),
        ("queue", "list", "--json"),
        ("chart", "export", str(file)),
    )
    terminals, people, authority, queue = map(json.loads, told)
    return {
        "terminals": terminals,
        "people": people,
        "authority": authority,
        "queue": queue,
        "chart": file.read_text(),
    }


def as_far_as_told(newer: Any, older: Any) -> Any:
    """The same without the fields that only the newer version tells."""
    if isinstance(newer, dict) and isinstance(older, dict):
        return {name: as_far_as_told(value, older[name]) for name, value in newer.items() if name in older}
    if isinstance(newer, list) and isinstance(older, list) and len(newer) == len(older):
        return list(map(as_far_as_told, newer, older))
    return newer


def fill(program: Program) -> None:
    """Something of every kind that is kept."""
    program.add_user("bert", "secret words")
    program.lanpost_together(
        ("terminal", "add", "scanner", "--mac", MAC, "--learn", "--port", str(program.endpoint_port)),
        ("terminal", "add", "dhcp", "--speaks-for-others"),
        ("terminal", "add", "former"),
        ("terminal", "rename", "former", "latter"),
        ("terminal", "add", "awaited"),
        ("chart", "set", "by-hand", f"127.9.9.9:{program.endpoint_port}"),
    )
    send(program, "bert", "for a person")
    away = Enrolled.new(program)
    away.register(program.new_endpoint())
    send(program, away.address, "deferred")
    for number in range(3):
        send(program, "awaited", f"held {number}", BIG * 4000 if number == 1 else "x\r\n")
    program.wait_until(lambda: waiting(program) == ["due", "held", "held", "held"], "the tries")
    held = [mail["id"] for mail in QueueAccess(program.folder / "data").mails()][1]
    program.lanpost("queue", "hold", held)


def uidl(program: Program) -> list[bytes]:
    client = poplib.POP3(HOST, program.ports["pop3"], timeout=30)
    try:
        client.user("bert")
        client.pass_("secret words")
        return client.uidl()[1]
    finally:
        client.quit()


@pytest.mark.parametrize(
    ("chart", "end"),
    [("sqlite:chart.sqlite3", Program.kill), ("xml:chart.xml", Program.stop)],
    ids=["sqlite-killed", "xml-stopped"],
)
def test_a_server_goes_on_with_what_another_version_left(
    tmp_path: Path, old: Path, terminals: Terminals, chart: str, end: Callable[[Program], object]
) -> None:
    """Up and back down: as long as both are of one format, nothing is lost and nothing is done twice."""
    settings = {"chart": {"url": chart}, "delivery": {"first_retry": "1m", "last_retry": "1m"}}
    program = Program(tmp_path, settings, source=old)
    with program:
        fill(program)
        known = uidl(program)
        end(program)
    before = all_of(program)
    assert [len(before[kind]) for kind in ("terminals", "people", "queue")] == [5, 1, 4]

    program.use(SOURCE)
    assert as_far_as_told(all_of(program), before) == before
    with program:
        assert uidl(program) == known
        at = program.new_endpoint()
        awaited = terminals.listen(at)
        program.bind("awaited", at)
        program.wait_until(lambda: len(awaited.mails) == 2 and len(waiting(program)) == 2, "the held mail")
        end(program)
    after = all_of(program)

    program.use(old)
    told = all_of(program)
    assert as_far_as_told(after, told) == told
    with program:
        assert uidl(program) == known
        program.lanpost("queue", "retry", next(mail["id"] for mail in after["queue"] if mail["on_hold"]))
        program.wait_until(lambda: len(awaited.mails) == 3, "the mail that was on hold")
        assert sorted(subjects(awaited.mails)) == ["held 0", "held 1", "held 2"]
        assert max(len(mail.content) for mail in awaited.mails) > 4000 * len(BIG)


# A store of a later version.


@pytest.fixture(scope="module")
def from_later(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A folder in which there is something of everything, and which says that a later version made it."""
    program = Program(tmp_path_factory.mktemp("later"))
    with program:
        fill(program)
    (program.folder / "data/format.json").write_text('{"format": 2, "program": "9.1.0"}')
    return program


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_a_later_version_is_refused_and_not_touched(from_later: Program) -> None:
    data = from_later.folder / "data"
    before = contents(data)
    for words in ("serve", "serve --worker 1", "directory", "agent"):
        said = from_later.lanpost(*words.split(), status=1).strip().splitlines()[-1]
        assert REFUSED.format(data=data) in said, words
    assert contents(data) == before


@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_works_on_a_folder_of_a_later_version(
    from_later: Program, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = from_later.folder / "data"
    before = contents(data)
    with pytest.raises(SystemExit) as stopped:
        main([*words.split(), "--config", str(from_later.file)])
    assert stopped.value.code == 1
    assert REFUSED.format(data=data) in capsys.readouterr().err
    assert contents(data) == before


def test_a_server_of_a_later_version_can_still_be_asked(
    from_later: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing runs here; the answer shows that the folder was not what stopped the question."""
    with pytest.raises(SystemExit):
        main(["status", "--config", str(from_later.file)])
    assert "no server is running" in capsys.readouterr().err
