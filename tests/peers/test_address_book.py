"""docs/address-book.md holds: its commands, typed as they stand there, print what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.directory_program import PASSWORD, DirectoryProgram
from tests.program import PATIENCE

pytestmark = pytest.mark.peer
PAGE = (Path(__file__).parents[2] / "docs/address-book.md").read_text("utf-8")
STEPS = re.findall(r"```sh\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryProgram:
    if shutil.which("ldapsearch") is None:
        pytest.skip("ldapsearch is not installed: scripts/install-peers")
    return DirectoryProgram(tmp_path / "directory")


def test_its_commands_print_what_it_says(directory: DirectoryProgram, tmp_path: Path) -> None:
    lanpost = f'{sys.executable} -m lanpost "$@" --config {shlex.quote(str(directory.file))}'
    setup = f"set -eu; lanpost() {{ {lanpost}; }}; export LDAPTLS_CACERT={directory.ca_file}\n"
    environment = {**directory.environment, "LDAPCONF": "/dev/null", "HOME": os.devnull}
    (tmp_path / "admin.password").write_text(PASSWORD, "ascii")
    (tmp_path / "admin.password").chmod(0o600)
    assert len(STEPS) > 5
    with directory:
        for commands, expected in STEPS:
            done = subprocess.run(
                ["bash", "-c", setup + commands.replace("ldap://10.0.0.5", directory.url)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert done.returncode == 0, f"{commands}{done.stdout}{done.stderr}"
            assert done.stdout == expected, commands


def test_a_device_that_must_log_in_does_so_as_it_says(tmp_path: Path) -> None:
    with DirectoryProgram(tmp_path, {"ldap": {"anonymous": "none"}}) as directory:
        secret = directory.enrol("copier")
        searched = ["ldapsearch", "-b", "ou=chart,dc=office,dc=lan", "(cn=copier)", "mail"]
        assert "bind first" in directory.tool(*searched, "-x", status=50)
        as_copier = ["-x", "-D", "cn=copier,ou=chart,dc=office,dc=lan", "-w", secret]
        for words, url in ((["-ZZ"], directory.url), ([], directory.url.replace("ldap:", "ldaps:"))):
            assert "mail: copier@office.lan" in directory.tool(*searched, *as_copier, *words, url=url)
