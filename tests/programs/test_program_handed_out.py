"""A running server hands out the program itself; curl, sha256sum and ssh-keygen are the judges."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.enrolled import Enrolled
from tests.installed import InstalledProgram
from tests.program import HOST, Program

from lanpost.net.program_download import PER_CLIENT

INSTALL = Path(__file__).parents[2] / "docs" / "operations" / "install.md"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not (shutil.which("curl") and shutil.which("ssh-keygen")), reason="no curl or no ssh-keygen"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pyz: Path) -> Iterator[InstalledProgram]:
    with InstalledProgram(tmp_path_factory.mktemp("handing-out"), pyz) as running:
        yield running


def url(server: Program, name: str = "lanpost.pyz") -> str:
    return f"https://{HOST}:{server.ports['http']}/{name}"


def curl(*words: str, folder: Path, status: int = 0) -> str:
    done = subprocess.run(
        ["curl", "-sSk", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def fetched(server: Program, folder: Path, *names: str) -> None:
    for name in names:
        curl("-f", "-O", url(server, name), folder=folder)


def line(server: Program) -> str:
    """What is pasted at the terminal; the server's own address is one that this machine reaches anyway."""
    server.settings["http"]["urls"] = [f"https://{HOST}:{server.ports['http']}"]
    server.write_settings()
    return server.lanpost("terminal", "fetch")


def straight_from_the_file(folder: Path, *words: str) -> str:
    """As at a terminal where nothing but Python is installed."""
    command = ["python3", "-I", "-S", "lanpost.pyz", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_terminal_with_nothing_but_python_and_curl_registers(server: InstalledProgram, tmp_path: Path) -> None:
    subprocess.run(["sh", "-ec", line(server)], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "lanpost.pyz").read_bytes() == server.archive.read_bytes()
    fax = Enrolled.new(server)
    (tmp_path / "lanpost.toml").write_text(f'data = "data"\n[agent]\nport = {server.endpoint_port}\n')
    straight_from_the_file(tmp_path, "agent", "enrol", fax.token)
    straight_from_the_file(tmp_path, "agent", "--once")
    assert server.lanpost_json("lookup", fax.name)["endpoint"] == f"{HOST}:{server.endpoint_port}"


def test_the_line_believes_no_other_file(server: InstalledProgram, tmp_path: Path) -> None:
    pasted = line(server)
    whole = server.archive.stat().st_size
    with server.archive.open("ab") as file:
        file.write(b"more")
    try:
        pasting = subprocess.run(["sh", "-c", pasted], cwd=tmp_path, capture_output=True, text=True, check=False)
    finally:
        os.truncate(server.archive, whole)
    assert pasting.returncode != 0
    assert "lanpost.new: FAILED" in pasting.stdout
    assert not (tmp_path / "lanpost.pyz").exists()


def test_the_digest_is_one_that_sha256sum_checks(server: Program, tmp_path: Path) -> None:
    fetched(server, tmp_path, "lanpost.pyz", "lanpost.pyz.sha256")
    subprocess.run(["sha256sum", "--check", "--quiet", "lanpost.pyz.sha256"], cwd=tmp_path, check=True)


def verify(folder: Path, signers: str, signature: str, *, namespace: str = "lanpost") -> bool:
    with (folder / "lanpost.pyz").open("rb") as file:
        command = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "lanpost", "-n", namespace, "-s", signature]
        return subprocess.run(command, cwd=folder, stdin=file, capture_output=True, check=False).returncode == 0


def test_ssh_keygen_verifies_the_servers_signature(server: Program, tmp_path: Path) -> None:
    fetched(server, tmp_path, "lanpost.pyz", "lanpost.pyz.sig", "lanpost.pyz.signers")
    assert verify(tmp_path, "lanpost.pyz.signers", "lanpost.pyz.sig")
    assert not verify(tmp_path, "lanpost.pyz.signers", "lanpost.pyz.sig", namespace="file")
    with (tmp_path / "lanpost.pyz").open("ab") as file:
        file.write(b"x")
    assert not verify(tmp_path, "lanpost.pyz.signers", "lanpost.pyz.sig")


def test_the_lines_of_the_documentation_fetch_and_verify_it(server: Program, tmp_path: Path) -> None:
    section = INSTALL.read_text("utf-8").split("## From the network")[1].split("\n## ")[0]
    told = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[-1]
    assert told.count("\n") == 5
    lines = told.replace("https://10.0.0.2:8025", f"https://{HOST}:{server.ports['http']}")
    done = subprocess.run(["sh", "-ec", lines], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 'Good "lanpost" signature for lanpost' in done.stdout
    assert server.lanpost_json("ca", "show")["program_signer"] in done.stdout.split()


def test_a_publishers_signature_is_passed_on_as_it_came(server: InstalledProgram, tmp_path: Path) -> None:
    assert "404" in curl("-o/dev/null", "-w%{http_code}", url(server, "lanpost.pyz.publisher.sig"), folder=tmp_path)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    with server.archive.open("rb") as file:
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "lanpost", "-f", str(tmp_path / "key")]
        made = subprocess.run(command, stdin=file, capture_output=True, check=True)
    beside = server.archive.with_name("lanpost.pyz.publisher.sig")
    beside.write_bytes(made.stdout)
    try:
        fetched(server, tmp_path, "lanpost.pyz", "lanpost.pyz.publisher.sig")
    finally:
        beside.unlink()
    (tmp_path / "signers").write_text("lanpost " + (tmp_path / "key.pub").read_text())
    assert verify(tmp_path, "signers", "lanpost.pyz.publisher.sig")


def test_a_broken_download_goes_on_where_it_stopped(server: InstalledProgram, tmp_path: Path) -> None:
    whole = server.archive.read_bytes()
    (tmp_path / "lanpost.pyz").write_bytes(whole[: len(whole) - 1000])
    said = curl("-f", "-C", "-", "-O", "-w", "%{http_code} %{size_download}", url(server), folder=tmp_path)
    assert said == "206 1000"
    assert (tmp_path / "lanpost.pyz").read_bytes() == whole


def test_who_has_the_file_already_is_sent_nothing(server: InstalledProgram, tmp_path: Path) -> None:
    head = curl("--head", url(server), folder=tmp_path)
    assert f"content-length: {server.archive.stat().st_size}" in head.lower()
    curl("--etag-save", "tag", "-o/dev/null", url(server), folder=tmp_path)
    code = curl("--etag-compare", "tag", "-o/dev/null", "-w%{http_code}", url(server), folder=tmp_path)
    assert code == "304"


@pytest.mark.parametrize("range_", ["bytes=99999999999-", "lines=1-2", "bytes=9-1", "bytes=--1", "x" * 9000])
def test_a_range_that_is_none_is_refused(server: Program, tmp_path: Path, range_: str) -> None:
    code = curl("-o/dev/null", "-w%{http_code}", "-H", f"Range: {range_}", url(server), folder=tmp_path)
    assert code in ("400", "416")
    assert "x" * 1000 not in server.log(), "a client fills the log"


@pytest.mark.parametrize(
    "path", ["lanpost.pyz/../../etc/passwd", "lanpost.pyz%2f..%2f..%2fetc%2fpasswd", "lanpost.pyz."]
)
def test_no_other_path_leads_to_a_file(server: Program, tmp_path: Path, path: str) -> None:
    said = curl("--path-as-is", "-w%{http_code}", url(server, path), folder=tmp_path)
    assert said.endswith("404")
    assert "root:" not in said


def test_slow_takers_keep_neither_mail_nor_memory_and_one_too_many_is_told_to_come_again(
    server: InstalledProgram, tmp_path: Path
) -> None:
    context = ssl._create_unverified_context()
    taking = []
    try:
        for _ in range(PER_CLIENT):
            plain = socket.create_connection((HOST, server.ports["http"]), timeout=30)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client = context.wrap_socket(plain)
            client.sendall(b"GET /lanpost.pyz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            taking.append(client)
        resident = memory_of(server)
        said = json.loads(curl(url(server), folder=tmp_path))
        assert said["status"] == 503
        assert "come again in 10 s" in said["detail"]
        with server.smtp() as smtp:
            assert smtp.sendmail("me@office.lan", ["postmaster@office.lan"], "Subject: x\r\n\r\nx\r\n") == {}
        assert memory_of(server) < max(resident, 1) + 40 * 2**20
    finally:
        for client in taking:
            client.close()
    server.wait_until(
        lambda: curl("-o/dev/null", "-w%{http_code}", url(server), folder=tmp_path) == "200", "a place"
    )


def test_a_stick_written_at_the_server_bears_its_signature(server: InstalledProgram, tmp_path: Path) -> None:
    assert "signed by this server" in server.lanpost("bundle", str(tmp_path / "stick"))
    assert verify(tmp_path / "stick", "lanpost.pyz.signers", "lanpost.pyz.sig")
    fetched(server, tmp_path, "lanpost.pyz.signers")
    assert (tmp_path / "lanpost.pyz.signers").read_text() == (tmp_path / "stick/lanpost.pyz.signers").read_text()


def memory_of(server: Program) -> int:
    """Octets that the first process holds in memory."""
    assert server.process
    status = Path(f"/proc/{server.process.pid}/status").read_text("ascii")
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def test_a_server_run_from_its_source_says_what_to_do(program: Program, tmp_path: Path) -> None:
    said = json.loads(curl(url(program), folder=tmp_path))
    assert said["status"] == 404
    assert "make dist" in said["detail"]
    assert "make dist" in program.lanpost("terminal", "fetch", status=1)
