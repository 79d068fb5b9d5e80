"""python-ldap against our directory: all that it can do here, and its copy of the chart kept by RFC 4533."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.directory_program import ADMIN, BASE, PASSWORD, DirectoryProgram

from lanpost.store.authority import Authority

pytestmark = pytest.mark.peer
PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).parent / "python_ldap_client.py"
PATIENCE = 30.0


def command(directory: DirectoryProgram, certificate: Path, what: str) -> list[str]:
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", "import ldap"], capture_output=True).returncode:
        pytest.skip("python3-ldap is not installed: scripts/install-peers")
    return [PYTHON, "-I", str(SCRIPT), directory.url, str(directory.ca_file), str(certificate), PASSWORD, what]


def environment() -> dict[str, str]:
    return {**os.environ, "LDAPCONF": "/dev/null", "HOME": "/nonexistent"}


def test_everything_that_python_ldap_can_do_here(tmp_path: Path) -> None:
    with DirectoryProgram(tmp_path) as directory:
        for number in range(1, 10):
            directory.add(f"scan{number}")
        directory.enrol("judge9")
        now = datetime.now(UTC)
        certificate = tmp_path / "judge9.pem"
        certificate.write_bytes(
            Authority.open(directory.folder / "data/tls", now).issue_client("judge9@office.lan", now)
        )
        done = subprocess.run(
            command(directory, certificate, "dialogue"),
            capture_output=True,
            text=True,
            env=environment(),
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        log = directory.log()
    told: dict[str, Any] = dict(json.loads(line) for line in done.stdout.splitlines())
    entry = f"cn=judge1,{BASE}"
    assert told == {
        "who": f"dn:{ADMIN}",
        "schema": [[], ["cn", "commonName", "ipHostNumber", "objectClass"], True],
        "added": [[entry, {"cn": ["judge1"], "mailHost": ["[10.0.7.1]"], "telephoneNumber": ["+49 30 1"]}]],
        "modified": [[entry, {"ipHostNumber": ["10.0.7.2"], "telephoneNumber": ["+49 30 1", "+49 30 2"]}]],
        "compared": [True, False],
        "refreshed": 5000,
        "pages": [[f"scan{number}" for number in page] for page in ((1, 2, 3, 4), (5, 6, 7, 8), (9,))],
        "renamed": "UNWILLING_TO_PERFORM",
        "added twice": "ALREADY_EXISTS",
        "found nowhere": "NO_SUCH_OBJECT",
        "deleted": "",
        "deleted twice": "NO_SUCH_OBJECT",
        "certified": f"dn:cn=judge9,{BASE}",
    }
    assert '"level": "error"' not in log


@contextmanager
def following(directory: DirectoryProgram) -> Iterator[queue.Queue[list[Any]]]:
    """What python-ldap's consumer tells, as it comes."""
    told: queue.Queue[list[Any]] = queue.Queue()
    process = subprocess.Popen(
        command(directory, Path("/dev/null"), "follow"), stdout=subprocess.PIPE, text=True, env=environment()
    )
    stream = process.stdout
    assert stream is not None

    def listen() -> None:
        for line in stream:
            told.put(json.loads(line))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield told
    finally:
        process.kill()
        process.wait()
        thread.join(PATIENCE)
        stream.close()


def test_its_copy_of_the_chart_follows_every_change(tmp_path: Path) -> None:
    with DirectoryProgram(tmp_path) as directory:
        directory.add("judge1", "10.0.7.1")
        directory.add("scan1", "10.0.7.9")
        with following(directory) as told:
            first = [told.get(timeout=PATIENCE) for _ in range(3)]
            assert first == [
                ["entry", [f"cn=judge1,{BASE}", {"ipHostNumber": ["10.0.7.1"]}]],
                ["present", False],  # that is all: whatever was not named is gone
                ["refreshed", True],
            ]
            directory.add("judge2", "10.0.7.2")
            directory.bind("judge1", ("10.0.7.3", 25))
            directory.tool("ldapdelete", f"cn=judge2,{BASE}")
            directory.modify("scan1", "replace: ipHostNumber\nipHostNumber: 10.0.7.8")
            directory.lanpost("chart", "remove", "judge1")
            changes = [told.get(timeout=PATIENCE) for _ in range(4)]
    assert changes == [
        ["entry", [f"cn=judge2,{BASE}", {"ipHostNumber": ["10.0.7.2"]}]],
        ["entry", [f"cn=judge1,{BASE}", {"ipHostNumber": ["10.0.7.3"]}]],
        ["deleted", [f"cn=judge2,{BASE}"]],
        ["deleted", [f"cn=judge1,{BASE}"]],
    ]
