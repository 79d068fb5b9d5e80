"""docs/terminals.md holds: its lines for plain curl and plain ldapmodify, run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.directory_program import BASE, DirectoryProgram
from tests.program import HOST, Program

pytestmark = pytest.mark.peer
PAGE = (Path(__file__).parent.parent.parent / "docs" / "terminals.md").read_text("utf-8")


def line_of(tool: str) -> str:
    """The one line of the page that calls it."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed: scripts/install-peers")
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).splitlines()
    (line,) = (line for line in lines if re.search(rf"\b{tool} -", line))
    return line


def run(line: str, folder: Path, **replaced: str) -> str:
    """In a shell, as pasted; the words that stand for a site's own are replaced, and must be there."""
    for word, own in replaced.items():
        assert word in line, word
        line = line.replace(word, own)
    environment = {**os.environ, "LDAPCONF": "/dev/null", "HOME": "/nonexistent"}
    command = ["sh", "-c", line]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_line_of_curl_registers(program: Program, tmp_path: Path) -> None:
    name = program.new_name("scanner")
    secret = program.lanpost_json("terminal", "add", name)["secret"]
    (tmp_path / "ca.pem").write_text(program.lanpost("ca", "export"))
    line = line_of("curl").replace("10.0.0.2:8025", f"{HOST}:{program.ports['http']}")
    line = line.replace('"port": 25', f'"port": {program.endpoint_port}')
    answer = run(line, tmp_path, SECRET=secret, scanner=name)
    assert '"source":"agent"' in answer
    assert program.lanpost_json("lookup", name)["endpoint"] == f"{HOST}:{program.endpoint_port}"


def test_one_line_of_ldapmodify_registers(tmp_path: Path) -> None:
    with DirectoryProgram(tmp_path / "directory", {"delivery": {"endpoint_ports": [25]}}) as directory:
        secret = directory.enrol("scanner")
        shutil.copy(directory.ca_file, tmp_path / "ca.pem")
        line = line_of("ldapmodify")
        assert line.count(f"cn=scanner,{BASE}") == 2
        line = line.replace("ldap://10.0.0.5", directory.url).replace("10.0.0.9", HOST)
        run(line, tmp_path, SECRET=secret)
        assert directory.lanpost_json("lookup", "scanner")["endpoint"] == f"{HOST}:25"
